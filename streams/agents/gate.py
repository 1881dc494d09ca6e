"""The gate agent: each message on `orders.requested` becomes a verdict or a dead letter, never neither, never both."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from streams.agents.alerts import CRITICAL, WARNING
from streams.agents.overrides import details_of
from streams.core.alert_kinds import AlertKind
from streams.core.exposure import FLAT
from streams.core.gate import Decision, Situation, apply, counted_value_e5, decide, is_entering, remembered_id
from streams.core.orders import Failure
from streams.core.reasons import DeadLetterReason, Reason
from streams.core.texts import shown
from streams.core.windows import DAY_US, day_start_us
from streams.names import Topic
from streams.wire.avro import DecodeError, body_of
from streams.wire.decisions import (
    AuditEvent,
    ReferenceUsed,
    Verdict,
    encode_audit_head,
    encode_verdict,
    encode_verdict_body,
)
from streams.wire.headers import SIGNATURE, THUMBPRINT, cloud_event, dead_letter_headers, find_headers
from streams.wire.messages import decode_order
from streams.wire.signatures import ORDER_TYPE, is_valid

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Lane
    from streams.agents.registry import Registered
    from streams.core.orders import Order
    from streams.core.override import Override
    from streams.core.state import BotState
    from streams.wire.decisions import ScoreDetail
    from streams.wire.registration import Registration

VERIFIED_BY: Final = "portcullis-gate"
_US: Final = 1_000_000
_DAYS_KEPT: Final = 2
_NO_DETAILS: Final[dict[str, str]] = {}
# Refusals that are not the bot's own doing and end only when a person acts.
_TOLD: Final = {Reason.TESTING_OVERDUE: CRITICAL, Reason.REFERENCE_PRICE_UNAVAILABLE: WARNING}


@dataclass(slots=True)
class Prepared:
    """What the verification threads found out: the order or why there is none, and whether its signature holds."""

    order: Order | None
    error: DecodeError | None
    signature: bytes
    thumbprint: bytes
    verified: bool | None  # None: the certificate was not known yet


class GateAgent:
    """Decides the orders of one partition."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        topic = lane.services.topic
        self._rejected_topic = topic(Topic.ORDERS_REJECTED)
        self._dead_letter_topic = topic(Topic.ORDERS_DEAD_LETTER)
        self._source = f"/lanes/{lane.partition}"
        self._latest_us = 0

    def prepare(self, record: ConsumerRecord) -> Prepared:
        """Decode a record and check its signature; changes nothing, raises nothing."""
        signature, thumbprint = find_headers(record.headers, SIGNATURE, THUMBPRINT)
        value = record.value or b""
        try:
            order = decode_order(value)
        except DecodeError as error:
            return Prepared(None, error, signature, thumbprint, verified=None)
        if record.key != order.agent_id.encode():
            text = f"key {(record.key or b'')[:80]!r}, agent_id {order.agent_id!r}"
            mismatch = DecodeError(DeadLetterReason.KEY_MISMATCH, text)
            return Prepared(None, mismatch, signature, thumbprint, verified=None)
        key = self._lane.registry.key_of(thumbprint)
        verified = None if key is None else is_valid(key, ORDER_TYPE, body_of(value), signature)
        return Prepared(order, None, signature, thumbprint, verified)

    def on_order(self, record: ConsumerRecord, prepared: Prepared) -> None:
        """Decide a message, or dead-letter what is none."""
        if prepared.order is None or prepared.error is not None:
            self._dead_letter(record, prepared)
            return
        order = prepared.order
        registered = self._lane.registry.get(order.agent_id)
        if registered is None or registered.registration is None:
            self._refuse_unregistered(record, prepared, order, registered)
        else:
            self._decide(record, prepared, order, registered.registration)

    def expire(self) -> None:
        """Forget the approved values of days that are over."""
        if self._latest_us:
            self._lane.daily_value.expire(self._latest_us - (_DAYS_KEPT - 1) * DAY_US)

    def _decide(self, record: ConsumerRecord, prepared: Prepared, order: Order, registration: Registration) -> None:
        lane, policy = self._lane, registration.policy
        bot = lane.bot(order.agent_id)
        appended_us = record.timestamp * 1000
        received_us = bot.received_at(appended_us)
        identity = _identity(record, prepared, registration)
        authenticated = not identity
        entering = is_entering(order)
        reference = lane.references.get(order.symbol)
        score, exposure = None, FLAT
        if authenticated and entering:
            exposure = lane.post_trade.positions.get(order.agent_id, order.symbol)
            score = lane.anomaly.score(order, reference, received_us, policy.max_order_qty_e17.get(order.symbol))
        day_us = day_start_us(received_us)
        daily_e5 = lane.daily_value.get(order.agent_id, day_us) or 0
        window_us = policy.duplicate_window_s * _US
        situation = Situation(
            now_us=lane.now_us,
            received_us=received_us,
            policy=policy,
            not_before_us=registration.not_before_us,
            not_after_us=registration.not_after_us,
            identity=identity,
            authenticated=authenticated,
            bot=bot,
            kill=lane.controls.kill_for(order.agent_id, policy.operator, order.symbol, bot),
            market_state=lane.markets.state(order.symbol),
            reference=reference,
            reference_live=lane.references_live,
            daily_value_e5=daily_e5,
            seen=lane.recent.seen(order.agent_id, order.cl_ord_id, received_us, window_us),
            score=None if score is None else score.value,
            exposure=exposure,
        )
        decision, override = decide(order, situation), None
        if not decision.approved:
            decision, override = lane.overrides.lift(order, decision)
        before = bot.trading_state
        apply(order, situation, decision)
        counted_e5 = counted_value_e5(order, decision)
        if counted_e5:
            daily_e5 += counted_e5
            lane.daily_value.put(order.agent_id, day_us, daily_e5)
        remembered = remembered_id(order, situation)
        if remembered is not None:
            lane.recent.remember(order.agent_id, remembered, received_us, window_us)
        self._latest_us = max(self._latest_us, received_us)
        verdict = Verdict(
            order.agent_id,
            order.cl_ord_id,
            decision.approved,
            decision.reason,
            decision.failures,
            policy.policy_id,
            ReferenceUsed.of(reference) if reference is not None and entering else None,
            decision.value_e5,
            daily_e5,
            situation.score,
            record.partition,
            record.offset,
            appended_us,
            lane.now_us,
            lane.journal.next_index,
            body_of(record.value),
            prepared.signature or None,
            prepared.thumbprint or None,
        )
        self._write(record, verdict, bot, before, score, override)
        if override is not None:
            lane.overrides.used(record, order, decision, override)
        if authenticated:
            lane.anomaly.after(order, decision, score)
            lane.breakers.after_order(record, policy, bot, before, score)
            if policy.heartbeat_interval_ms:
                lane.heartbeats.watch(order.agent_id, policy, bot)
        if decision.approved:
            lane.post_trade.on_approval(order, verdict, registration)
            lane.markets.on_approval(record, order.symbol)
        else:
            self._tell(record, order, decision, authenticated=authenticated)

    def _tell(self, record: ConsumerRecord, order: Order, decision: Decision, *, authenticated: bool) -> None:
        """Tell people of a refusal that needs one of them."""
        failure, severity = decision.failures[0], _TOLD.get(decision.reason) if authenticated else WARNING
        if severity is None:
            return
        message = f"a message in the name of {order.agent_id} was not signed by it: {failure.observed}"
        if authenticated:
            what = f"{failure.limit} required, is {failure.observed}"
            message = f"{order.agent_id} does not trade {shown(order.symbol)}: {what}"
        cause_us = record.timestamp * 1000
        kind = AlertKind(decision.reason)
        self._lane.alerts.raise_once(severity, kind, message, agent_id=order.agent_id, cause_us=cause_us)

    def _refuse_unregistered(
        self, record: ConsumerRecord, prepared: Prepared, order: Order, registered: Registered | None
    ) -> None:
        """Refuse a bot without a registration that holds; nothing else can be checked."""
        lane = self._lane
        failure = registered.failure if registered is not None else None
        if failure is None:
            failure = Failure(Reason.ALGO_NOT_AUTHORISED, "registered", order.agent_id, "TEXT")
        decision = Decision(approved=False, reason=failure.reason, failures=(failure,), value_e5=None)
        bot = lane.bots.get(order.agent_id) if registered is not None else None
        verdict = Verdict(
            order.agent_id,
            order.cl_ord_id,
            decision.approved,
            decision.reason,
            decision.failures,
            None,
            None,
            None,
            None,
            None,
            record.partition,
            record.offset,
            record.timestamp * 1000,
            lane.now_us,
            lane.journal.next_index,
            body_of(record.value),
            prepared.signature or None,
            prepared.thumbprint or None,
        )
        self._write(record, verdict, bot, "ACTIVE" if bot is None else bot.trading_state.value, None)

    def _write(
        self,
        record: ConsumerRecord,
        verdict: Verdict,
        bot: BotState | None,
        before: str,
        score: ScoreDetail | None,
        override: Override | None = None,
    ) -> None:
        """Append the decision to the log and send the verdict, an approval once it has its proof."""
        lane, agent_id, approved, log_index = self._lane, verdict.agent_id, verdict.approved, verdict.log_index
        event = AuditEvent(
            "ORDER_APPROVED" if approved else "ORDER_REJECTED",
            agent_id,
            lane.next_sequence(agent_id, bot),
            log_index,
            lane.partition,
            lane.now_us,
            lane.now_us - verdict.request_time_us,
            lane.clock_source,
            record.topic,
            record.offset,
            verdict.request_time_us,
            None,
            None,
            None,
            score,
            before,
            before if bot is None else bot.trading_state,
            None,
            verdict.certificate_sha256.hex()[:64] if verdict.certificate_sha256 else None,
            VERIFIED_BY,
            None if override is None else " ".join(override.signers),
            verdict.reason,
            _NO_DETAILS if override is None else details_of(override),
        )
        lane.tally.decided.append(verdict)
        body = encode_verdict_body(verdict)
        head = encode_audit_head(event, len(body))
        key = agent_id.encode()
        lane.journal.append(key, head + body)
        event_id = f"{lane.partition}-{log_index}"
        value = encode_verdict(body)
        kind = "portcullis.order.approved" if approved else "portcullis.order.rejected"
        headers = cloud_event(kind, self._source, event_id)
        if lane.services.trace is not None:
            headers += lane.services.trace(record.headers, verdict)
        if approved:
            lane.journal.approve(key, value, headers, len(head))
        else:
            lane.outputs.send(self._rejected_topic, key, value, headers)

    def _dead_letter(self, record: ConsumerRecord, prepared: Prepared) -> None:
        """Keep the bytes as received with the reason, and log that they came."""
        error = prepared.error
        if error is None:
            return
        lane, value = self._lane, record.value or b""
        lane.tally.dead_letters[error.reason.value] += 1
        headers = dead_letter_headers(record.headers, error, record.topic, record.offset)
        lane.outputs.send(self._dead_letter_topic, record.key, value, headers)
        details = {"text": error.text[:500], "sha256": sha256(value).hexdigest(), "bytes": str(len(value))}
        lane.record_event(record, "ORDER_DEAD_LETTERED", "", None, outcome=error.reason, details=details)
        message = f"a message on {record.topic} could not be read: {error}"[:1000]
        lane.alerts.raise_once(WARNING, AlertKind.DEAD_LETTER, message, agent_id="", cause_us=record.timestamp * 1000)


def _identity(record: ConsumerRecord, prepared: Prepared, registration: Registration) -> tuple[Failure, ...]:
    """Return why the message is not the registered bot's own; empty where it is."""
    if not prepared.signature or not prepared.thumbprint:
        observed = "missing"
    elif prepared.thumbprint != registration.thumbprint:
        observed = "unknown certificate"
    else:
        verified = prepared.verified
        if verified is None:  # registered since, or not used before in this worker's life
            verified = is_valid(registration.public_key, ORDER_TYPE, body_of(record.value), prepared.signature)
        if verified:
            return ()
        observed = "invalid"
    return (Failure(Reason.SIGNATURE_INVALID, "valid", observed, "TEXT"),)
