"""An order's life, read from the topics when somebody asks: request, decision, leaf, proof, what venues did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streams.core.errors import PortcullisError
from streams.core.merkle import hash_leaf
from streams.core.orders import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, decimal_text
from streams.desk.history import scan, scan_from
from streams.desk.signatures import Checkpoints
from streams.kafka.reading import reader
from streams.names import Topic
from streams.venue.approval import ApprovalRefusedError, ApprovalVerifier
from streams.wire.decisions import decode_audit_event, decode_verdict_body
from streams.wire.executions import decode_execution_report
from streams.wire.log_keys import log_keys
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from confluent_kafka import Consumer

    from streams.desk.facts import Place
    from streams.desk.model import Known
    from streams.settings import Settings
    from streams.wire.decisions import AuditEvent, Verdict

_BEFORE_MS: Final = 500


class OrderLostError(PortcullisError):
    """The log no longer has what the desk remembers of it."""


def order_life(settings: Settings, known: Known) -> dict[str, Any]:
    """Return an order's life, oldest first; what is said of proofs was verified just now.

    Raises: OrderLostError; KafkaException where the cluster does not answer.
    """
    consumer = reader(settings.require_cluster(), settings.kafka_security)
    try:
        value = _value_at(consumer, settings, known.decided)
        event, body = decode_audit_event(value)
        if body is None:
            raise OrderLostError(f"lane {known.decided.partition}, offset {known.decided.offset}: not a verdict")
        verdict = decode_verdict_body(body)
        return {
            "order": _order(verdict),
            "decision": _decision(event, verdict),
            "leaf": _leaf(known.decided, value),
            "proof": _approval_proof(consumer, settings, known.decided, verdict, body)
            if verdict.approved
            else _covering_checkpoint(consumer, settings, known.decided),
            "executions": [_execution(consumer, settings, place) for place in known.executed],
        }
    finally:
        consumer.close()


def _value_at(consumer: Consumer, settings: Settings, place: Place) -> bytes:
    topic = settings.topic_prefix + Topic.AUDIT_EVENTS
    message = next(scan_from(consumer, topic, place.partition, place.offset), None)
    if message is None or message.offset() != place.offset:
        raise OrderLostError(f"lane {place.partition}: the log has nothing at offset {place.offset}")
    return message.value() or b""


def _order(verdict: Verdict) -> dict[str, Any]:
    order = decode_order_body(verdict.order)
    price = None if order.price_e13 is None else decimal_text(order.price_e13, PRICE_SCALE)
    return {
        "agent_id": order.agent_id,
        "cl_ord_id": order.cl_ord_id,
        "msg_type": order.msg_type,
        "symbol": order.symbol,
        "side": order.side,
        "ord_type": order.ord_type,
        "order_qty": decimal_text(order.order_qty_e17, QTY_SCALE),
        "price": price,
        "ex_destination": order.ex_destination,
        "transact_time": order.transact_time_us // 1000,
        "received": verdict.request_time_us // 1000,
        "partition": verdict.request_partition,
        "offset": verdict.request_offset,
        "certificate_sha256": "" if verdict.certificate_sha256 is None else verdict.certificate_sha256.hex(),
    }


def _decision(event: AuditEvent, verdict: Verdict) -> dict[str, Any]:
    reference = verdict.reference
    return {
        "approved": verdict.approved,
        "reason": verdict.reason,
        "failures": [[f.reason, f.limit, f.observed, f.unit] for f in verdict.failures],
        "at": verdict.decision_time_us // 1000,
        "after_ms": (verdict.decision_time_us - verdict.request_time_us) / 1000,
        "order_value": None if verdict.order_value_e5 is None else decimal_text(verdict.order_value_e5, MONEY_SCALE),
        "daily_value": None if verdict.daily_value_e5 is None else decimal_text(verdict.daily_value_e5, MONEY_SCALE),
        "score": verdict.score,
        "features": {} if event.score is None else dict(event.score.features),
        "state_before": event.state_before,
        "state_after": event.state_after,
        "policy_sha256": "" if verdict.policy_sha256 is None else verdict.policy_sha256.hex(),
        "reference": None
        if reference is None
        else {
            "price": decimal_text(reference.price_e13, PRICE_SCALE),
            "age_ms": (verdict.decision_time_us - reference.price_time_us) / 1000,
            "partition": reference.partition,
            "offset": reference.offset,
        },
    }


def _leaf(place: Place, value: bytes) -> dict[str, Any]:
    return {
        "lane": place.partition,
        "index": place.log_index,
        "offset": place.offset,
        "hash": hash_leaf(value).hex(),
    }


def _approval_proof(
    consumer: Consumer, settings: Settings, place: Place, verdict: Verdict, body: bytes
) -> dict[str, Any]:
    """Find the approval as venues get it, and check it as they do."""
    origin = f"{settings.log_origin}/{place.partition}"
    verifier = ApprovalVerifier(key.verifier for key in log_keys(settings.pki, origin))
    topic, key = settings.topic_prefix + Topic.ORDERS_APPROVED, verdict.agent_id.encode()
    for message in scan(consumer, topic, place.partition, verdict.decision_time_us // 1000 - _BEFORE_MS):
        value = message.value() or b""
        if message.key() != key or not value.endswith(body):
            continue
        try:
            approved = verifier.prove(value, message.headers() or [])  # type: ignore[arg-type]
        except ApprovalRefusedError as error:
            return {"kind": "inclusion", "verified": False, "text": str(error)}
        checkpoint = approved.inclusion.checkpoint
        return {
            "kind": "inclusion",
            "verified": approved.inclusion.index == place.log_index,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "text": f"leaf {approved.inclusion.index} is in the tree of {checkpoint.size} leaves under this root",
        }
    return {"kind": "inclusion", "verified": False, "text": "the approval was not found where it should be"}


def _covering_checkpoint(consumer: Consumer, settings: Settings, place: Place) -> dict[str, Any]:
    """Find the first signed checkpoint that covers a refusal's leaf; refusals carry no inclusion proof of their own."""
    topic, checkpoints = settings.topic_prefix + Topic.AUDIT_CHECKPOINTS, Checkpoints(settings.pki, settings.log_origin)
    for message in scan(consumer, topic, place.partition, place.at_us // 1000 - _BEFORE_MS):
        checkpoint = checkpoints.verified(place.partition, message.value() or b"")
        if checkpoint is not None and checkpoint.size > place.log_index:
            return {
                "kind": "checkpoint",
                "verified": True,
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "text": f"signed with {checkpoint.size} leaves, of which this is leaf {place.log_index}; "
                "`portcullis order show --proof FILE` writes its proof",
            }
    return {"kind": "checkpoint", "verified": False, "text": "no signed checkpoint covers the leaf yet"}


def _execution(consumer: Consumer, settings: Settings, place: Place) -> dict[str, Any]:
    event, _ = decode_audit_event(_value_at(consumer, settings, place))
    report = decode_execution_report(event.subject or b"")
    return {
        "exec_id": report.exec_id,
        "exec_type": report.exec_type,
        "last_qty": decimal_text(report.last_qty_e17, QTY_SCALE),
        "last_px": decimal_text(report.last_px_e13, PRICE_SCALE),
        "leaves_qty": decimal_text(report.leaves_qty_e17, QTY_SCALE),
        "last_mkt": report.last_mkt,
        "at": place.at_us // 1000,
        "findings": event.details.get("findings", ""),
        "index": place.log_index,
    }
