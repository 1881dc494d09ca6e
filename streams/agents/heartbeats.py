"""Heartbeats: a bot whose policy asks for them and that falls silent is halted, and its open orders are cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.agents.alerts import WARNING
from streams.agents.deadlines import LATE_US, Kind
from streams.core.alert_kinds import AlertKind
from streams.core.breaker import Signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.wire.avro import DecodeError, body_of
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers
from streams.wire.heartbeats import Heartbeat, decode_heartbeat
from streams.wire.signatures import HEARTBEAT_TYPE, is_valid

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.agents.deadlines import Due
    from streams.agents.lane import Lane
    from streams.core.policy import Policy
    from streams.core.state import BotState
    from streams.wire.registration import Registration

_INTERVALS: Final = 2
"""So many without a sign, and the bot counts as dead. Source: FIX session protocol, Heartbeat and TestRequest."""


@dataclass(slots=True)
class PreparedHeartbeat:
    """What the verification threads found out."""

    heartbeat: Heartbeat | None
    verified: bool | None = None  # None: the certificate was not known yet
    problem: str = ""


class HeartbeatsAgent:
    """Knows which bots must give a sign of life, and until when."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def prepare(self, record: ConsumerRecord) -> PreparedHeartbeat:
        """Decode a heartbeat and check its signature; changes nothing, raises nothing."""
        signature, thumbprint = find_headers(record.headers, SIGNATURE, THUMBPRINT)
        value = record.value or b""
        try:
            heartbeat = decode_heartbeat(value)
        except DecodeError as error:
            return PreparedHeartbeat(None, problem=error.text)
        if record.key != heartbeat.agent_id.encode():
            return PreparedHeartbeat(None, problem="key: the agent_id required")
        key = self._lane.registry.key_of(thumbprint)
        verified = None if key is None else is_valid(key, HEARTBEAT_TYPE, body_of(value), signature)
        return PreparedHeartbeat(heartbeat, verified)

    def on_record(self, record: ConsumerRecord, prepared: PreparedHeartbeat) -> None:
        """Take a sign of life, or refuse it and say why."""
        lane, heartbeat = self._lane, prepared.heartbeat
        if heartbeat is None:
            self._refuse(record, prepared.problem)
            return
        agent_id = heartbeat.agent_id
        registered = lane.registry.get(agent_id)
        registration = None if registered is None else registered.registration
        bot = lane.bots.get(agent_id)
        if registration is None or bot is None:
            self._refuse(record, "agent_id: a registered bot required")
            return
        problem = _problem(record, prepared, registration, bot)
        if problem:
            self._refuse(record, problem)
            return
        bot.heartbeat_us = max(bot.heartbeat_us, record.timestamp * 1000)
        bot.heartbeat_sent_us = heartbeat.transact_time_us
        lane.bots.touch(agent_id)
        self.watch(agent_id, registration.policy, bot)

    def watch(self, agent_id: str, policy: Policy, bot: BotState) -> None:
        """Begin to wait for the next sign of a bot that has just given one."""
        lane = self._lane
        if not policy.heartbeat_interval_ms or bot.trading_state is TradingState.HALTED:
            return
        if lane.deadlines.get(Kind.HEARTBEAT, agent_id) is None:
            lane.deadlines.set(Kind.HEARTBEAT, agent_id, lane.now_us + _patience_us(policy))

    def on_silence(self, due: Due) -> None:
        """Halt a bot that gave no sign; where it gave one since the clock was set, set it again."""
        lane, agent_id = self._lane, due.key
        registered = lane.registry.get(agent_id)
        bot = lane.bots.get(agent_id)
        if registered is None or registered.registration is None or bot is None:
            return
        policy = registered.registration.policy
        if not policy.heartbeat_interval_ms or bot.trading_state is TradingState.HALTED:
            return
        next_us = max(bot.heartbeat_us, bot.received_us) + _patience_us(policy)
        if lane.now_us - max(next_us, due.due_us) > LATE_US:
            next_us = lane.now_us + _patience_us(policy)  # nobody listened meanwhile: it may have lived
        if next_us > lane.now_us:
            lane.deadlines.set(Kind.HEARTBEAT, agent_id, next_us)
            return
        before = bot.trading_state
        bot.halt(Signal.HEARTBEAT_LOST, Reason.TRADING_HALTED)
        lane.clock_event(
            due,
            agent_id,
            bot,
            state_before=before.value,
            outcome=Reason.TRADING_HALTED,
            details={"deadline": due.kind, "last_sign_us": str(max(bot.heartbeat_us, bot.received_us))},
        )
        lane.breakers.tell(lane.clock(due.due_us), agent_id, bot, before)

    def _refuse(self, record: ConsumerRecord, problem: str) -> None:
        lane, name = self._lane, (record.key or b"")[:64].decode(errors="replace")
        details = {"key": name, "problem": problem[:500]}
        lane.record_event(record, "HEARTBEAT_REFUSED", "", None, outcome="HEARTBEAT_REFUSED", details=details)
        message = f"a heartbeat in the name of {name!a} was refused: {problem}"[:1000]
        cause_us = record.timestamp * 1000
        lane.alerts.raise_once(WARNING, AlertKind.HEARTBEAT_REFUSED, message, agent_id="", cause_us=cause_us)


def _problem(
    record: ConsumerRecord, prepared: PreparedHeartbeat, registration: Registration, bot: BotState
) -> str | None:
    """Return why a heartbeat is not the bot's own, or not a new one."""
    signature, thumbprint = find_headers(record.headers, SIGNATURE, THUMBPRINT)
    verified = prepared.verified
    if verified is None:  # registered since, or not used before in this worker's life
        verified = is_valid(registration.public_key, HEARTBEAT_TYPE, body_of(record.value), signature)
    if not verified or thumbprint != registration.thumbprint:
        return "signature: of the registered certificate required"
    sent_us = 0 if prepared.heartbeat is None else prepared.heartbeat.transact_time_us
    age_us, limit_us = record.timestamp * 1000 - sent_us, registration.policy.max_order_age_ms * 1000
    if sent_us <= bot.heartbeat_sent_us:
        return f"transact_time: after {bot.heartbeat_sent_us} us required, is {sent_us} us"
    if abs(age_us) > limit_us:
        return f"transact_time: at most {limit_us} us old required, is {age_us} us"
    return None


def _patience_us(policy: Policy) -> int:
    return _INTERVALS * policy.heartbeat_interval_ms * 1000
