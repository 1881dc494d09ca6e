"""What follows a change of a bot's trading state: it is logged, published, cancelled at the venues and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.agents.alerts import CRITICAL, INFO, WARNING
from streams.core.alert_kinds import AlertKind
from streams.core.breaker import Signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.names import Topic
from streams.wire.avro import DecodeError, Schema, decode, encode
from streams.wire.commands import Scope
from streams.wire.headers import SEQUENCE, cloud_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Cause, Lane
    from streams.core.breaker import Breaker
    from streams.core.policy import Policy
    from streams.core.state import BotState
    from streams.wire.decisions import ScoreDetail

ISSUER: Final = "anomaly-agent"
_SEVERITY: Final = {
    TradingState.ACTIVE: INFO,
    TradingState.REDUCING: WARNING,
    TradingState.HALTED: CRITICAL,
}


class BreakersAgent:
    """Acts on what the rules decided about a bot's state."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._topic = lane.services.topic(Topic.RISK_CIRCUIT_BREAKERS)

    def after_order(
        self, record: ConsumerRecord, policy: Policy, bot: BotState, before: TradingState, score: ScoreDetail | None
    ) -> None:
        """Act on what an order of the bot has changed."""
        if bot.trading_state is not before:
            self.changed(record, policy.agent_id, bot, before, score=score)
        if score is not None and not score.value <= policy.breaker_threshold:
            self._lane.incidents.on_score(record, policy, score)
            if not score.value <= policy.kill_threshold:
                self._lane.suspensions.on_kill_score(record, policy, bot, score)

    def changed(
        self,
        record: Cause,
        agent_id: str,
        bot: BotState,
        before: TradingState,
        *,
        score: ScoreDetail | None = None,
    ) -> None:
        """Log, publish and tell a change that the rules made, and cancel what is open where they halted."""
        lane = self._lane
        lane.record_event(
            record,
            "BREAKER_CHANGED",
            agent_id,
            bot,
            score=score,
            state_before=before.value,
            outcome=_reason(bot),
            details=breaker_details(bot, ISSUER),
        )
        self.tell(record, agent_id, bot, before, score=score)

    def tell(
        self,
        record: Cause,
        agent_id: str,
        bot: BotState,
        before: TradingState,
        *,
        score: ScoreDetail | None = None,
    ) -> None:
        """Publish a change whose event is the log's last one, and cancel what is open where it halted."""
        lane, after, reason = self._lane, bot.trading_state, _reason(bot)
        shown = score if reason is Reason.CIRCUIT_BREAKER_ACTIVE else None
        self.publish(Scope.BOT, agent_id, before, after, reason, score=shown)
        if after is TradingState.HALTED:
            cause_id = str(lane.journal.next_index - 1)
            self.mass_cancel(Scope.BOT, agent_id, reason, ISSUER, cause_id)
        message = _sentence(agent_id, before, after, reason, shown)
        lane.alerts.raise_alert(
            _SEVERITY[after],
            AlertKind(f"BREAKER_{after}"),
            message,
            agent_id=agent_id,
            cause_us=record.timestamp * 1000,
        )

    def on_event(self, record: ConsumerRecord) -> None:
        """Apply a breaker event that somebody else wrote, where it makes things stricter; only people loosen."""
        lane = self._lane
        try:
            event = decode(Schema.BREAKER_EVENT, record.value or b"")
        except DecodeError as error:
            details = {"text": error.text[:500]}
            lane.record_event(record, "RECORD_DEAD_LETTERED", "", None, outcome=error.reason, details=details)
            return
        own = event["event_id"].startswith(f"lane-{lane.partition}-")
        if own or event["scope"] != "BOT" or (record.key or b"") != event["target"].encode():
            return
        bot = lane.bots.get(event["target"])
        if bot is None or event["state"] == TradingState.ACTIVE:
            return
        before = bot.trading_state
        if event["state"] == TradingState.HALTED:
            bot.halt(Signal.PERSON_HALT, Reason.CIRCUIT_BREAKER_ACTIVE)
        else:
            bot.stop(Signal.PERSON_REDUCE)
        if bot.trading_state is before:
            return
        lane.record_event(
            record,
            "BREAKER_CHANGED",
            event["target"],
            bot,
            subject=record.value,
            state_before=before.value,
            outcome=Reason.CIRCUIT_BREAKER_ACTIVE,
            details={"issued_by": event["issued_by"][:100], "reason": event["reason"][:100]},
        )

    def publish(
        self,
        scope: Scope,
        target: str,
        before: TradingState,
        after: TradingState,
        reason: Reason,
        *,
        issued_by: str = ISSUER,
        score: ScoreDetail | None = None,
    ) -> None:
        """Write a change of a trading state to `risk.circuit-breakers`."""
        lane = self._lane
        if scope is Scope.BOT:
            lane.tally.note_state(target, after)
        event_id = f"lane-{lane.partition}-{lane.journal.next_index - 1}"
        features: Mapping[str, float] = {} if score is None else score.features
        value = encode(
            Schema.BREAKER_EVENT,
            {
                "event_id": event_id,
                "scope": str(scope),
                "target": target,
                "previous": before.value,
                "state": after.value,
                "reason": reason.value,
                "score": None if score is None else score.value,
                "threshold": None,
                "features": dict(features),
                "issued_by": issued_by,
                "event_time": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.breaker", f"/lanes/{lane.partition}", event_id)
        lane.outputs.send(self._topic, target.encode(), value, headers)

    def mass_cancel(self, scope: Scope, target: str, reason: Reason, issued_by: str, cause_id: str) -> None:
        """Tell the venues to cancel what is open. Source: RTS 6 Art. 12(1)."""
        lane = self._lane
        agent_id = target if scope is Scope.BOT else ""
        mass_cancel_id = f"{lane.name}-{cause_id}"
        value = encode(
            Schema.MASS_CANCEL,
            {
                "mass_cancel_id": mass_cancel_id,
                "scope": str(scope),
                "target": target,
                "agent_id": agent_id,
                "reason": str(reason),
                "issued_by": issued_by,
                "event_time": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.mass-cancel", f"/lanes/{lane.partition}", mass_cancel_id)
        # An approval that the lane logged before may reach the venue after this.
        headers = (*headers, (SEQUENCE, str(lane.journal.next_index).encode()))
        lane.outputs.send(lane.services.topic(Topic.VENUE_COMMANDS), agent_id.encode(), value, headers)


def _reason(bot: BotState) -> Reason:
    if bot.trading_state is TradingState.ACTIVE:
        return Reason.NONE
    return bot.halt_reason or Reason.CIRCUIT_BREAKER_ACTIVE


def breaker_details(breaker: Breaker, issued_by: str) -> dict[str, str]:
    """Return what an event says of a breaker beside its state."""
    return {
        "issued_by": issued_by,
        "open_until_us": str(breaker.breaker_open_until_us),
        "trips": str(breaker.breaker_trips),
    }


def _sentence(
    agent_id: str, before: TradingState, after: TradingState, reason: Reason, score: ScoreDetail | None
) -> str:
    if score is None:
        return f"{agent_id}: {before} to {after}, {reason}"
    top = ", ".join(f"{name} {share:.2f}" for name, share in _largest(score.features)[:3])
    return f"{agent_id}: {before} to {after}, score {score.value:.2f} ({top})"


def _largest(features: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(features.items(), key=lambda feature: -feature[1])
