"""Verdicts and audit events: written once per order, so their writers put the bytes together by hand.

A property test holds the writers against fastavro, byte for byte.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.orders import Failure, ReferencePrice
from streams.core.reasons import DeadLetterReason, Reason
from streams.wire.avro import DecodeError, Schema, decode, decode_body, from_decimal, prefix
from streams.wire.binary import (
    NULL,
    VALUE,
    write_decimal,
    write_double,
    write_long,
    write_name,
    write_text,
    write_time,
)
from streams.wire.scores import write_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ReferenceUsed(NamedTuple):
    """The reference price that a decision used, and its place in `markets.reference`."""

    price_e13: int
    price_time_us: int
    partition: int
    offset: int

    @classmethod
    def of(cls, price: ReferencePrice) -> ReferenceUsed:
        """Return what a verdict says of a reference price."""
        return cls(price.price_e13, price.price_time_us, price.partition, price.offset)


class Verdict(NamedTuple):
    """The decision on one message; see `schemas/avro/verdict.v1.avsc`."""

    agent_id: str
    cl_ord_id: str
    approved: bool
    reason: Reason
    failures: tuple[Failure, ...]
    policy_sha256: bytes | None
    reference: ReferenceUsed | None
    order_value_e5: int | None
    daily_value_e5: int | None
    score: float | None
    request_partition: int
    request_offset: int
    request_time_us: int
    decision_time_us: int
    log_index: int
    order: bytes
    signature: bytes | None
    certificate_sha256: bytes | None


class ScoreDetail(NamedTuple):
    """What an anomaly score was made of."""

    model: str
    value: float
    features: Mapping[str, float]


class AuditEvent(NamedTuple):
    """One leaf of a log; see `schemas/avro/audit-event.v1.avsc`."""

    event_type: str
    agent_id: str
    agent_seq: int | None
    log_index: int
    partition: int
    event_time_us: int
    clock_divergence_us: int
    clock_source: str
    source_topic: str
    source_offset: int
    source_time_us: int
    subject: bytes | None
    signature: bytes | None
    signer: str | None
    score: ScoreDetail | None
    state_before: str
    state_after: str
    policy_sha256: bytes | None
    authorised_by: str | None
    verified_by: str
    approved_by: str | None
    outcome: str
    details: Mapping[str, str]


EVENT_TYPES: Final = (
    "ORDER_APPROVED",
    "ORDER_REJECTED",
    "ORDER_DEAD_LETTERED",
    "TRADE_EXECUTED",
    "BREAKER_CHANGED",
    "AGENT_REGISTERED",
    "AGENT_REFUSED",
    "COMMAND_APPLIED",
    "COMMAND_REFUSED",
    "RECORD_DEAD_LETTERED",
    "LOG_CLOSED",
    "CERTIFICATE_SUSPENDED",
    "DEADLINE_PASSED",
    "INCIDENT_CHANGED",
    "HEARTBEAT_REFUSED",
    "TRUST_CHANGED",
    "LOG_BEGUN",
)
_EVENT_TYPE_INDEX: Final = {name: write_long(place) for place, name in enumerate(EVENT_TYPES)}
_APPROVED: Final = write_long(0)
_REJECTED: Final = write_long(1)
_SIZES_MAX: Final = 256
_SIZES: Final = tuple(VALUE + write_long(size) for size in range(_SIZES_MAX))


def _optional_bytes(data: bytes | None) -> bytes:
    if data is None:
        return NULL
    size = len(data)
    return (_SIZES[size] if size < _SIZES_MAX else VALUE + write_long(size)) + data


def _optional_name(text: str | None) -> bytes:
    return NULL if text is None else VALUE + write_name(text)


def _failures(failures: Sequence[Failure]) -> bytes:
    parts = [write_long(len(failures))]
    for failure in failures:
        parts += (
            write_name(failure.reason),
            write_text(failure.limit),
            write_text(failure.observed),
            write_name(failure.unit),
        )
    parts.append(NULL)
    return b"".join(parts)


def encode_verdict_body(verdict: Verdict) -> bytes:
    """Return a verdict's Avro body."""
    (
        agent_id,
        cl_ord_id,
        approved,
        reason,
        failures,
        policy_sha256,
        reference,
        order_value_e5,
        daily_value_e5,
        score,
        partition,
        offset,
        request_time_us,
        decision_time_us,
        log_index,
        order,
        signature,
        certificate_sha256,
    ) = verdict
    return b"".join(
        (
            write_name(agent_id),
            write_text(cl_ord_id),
            _APPROVED if approved else _REJECTED,
            write_name(reason),
            _failures(failures) if failures else NULL,
            _optional_bytes(policy_sha256),
            NULL if reference is None else _reference(reference),
            NULL if order_value_e5 is None else VALUE + write_decimal(order_value_e5),
            NULL if daily_value_e5 is None else VALUE + write_decimal(daily_value_e5),
            NULL if score is None else VALUE + write_double(score),
            write_long(partition),
            write_long(offset),
            write_time(request_time_us),
            write_time(decision_time_us),
            write_long(log_index),
            write_long(len(order)),
            order,
            _optional_bytes(signature),
            _optional_bytes(certificate_sha256),
        )
    )


@lru_cache(1024)
def _reference(reference: ReferenceUsed) -> bytes:
    price_e13, price_time_us, partition, offset = reference
    where = write_long(partition) + write_long(offset)
    return VALUE + write_decimal(price_e13) + write_long(price_time_us) + where


def encode_verdict(body: bytes) -> bytes:
    """Return a verdict's body as a framed value."""
    return _verdict_prefix() + body


@cache
def _verdict_prefix() -> bytes:
    return prefix(Schema.VERDICT)


def _details(details: Mapping[str, str]) -> bytes:
    parts = [write_long(len(details))]
    for name, text in details.items():
        parts += (write_name(name), write_text(text))
    parts.append(NULL)
    return b"".join(parts)


@lru_cache(65536)
def _standing(before: str, after: str, policy: bytes | None, by: str | None, *others: str | None) -> bytes:
    """Return the fields that hardly change from one event of a bot to its next."""
    verified_by, approved_by, outcome = others
    return b"".join(
        (
            write_name(before),
            write_name(after),
            _optional_bytes(policy),
            _optional_name(by),
            write_name(verified_by or ""),
            _optional_name(approved_by),
            write_name(outcome or ""),
        )
    )


@cache
def _event_start(event_type: str) -> bytes:
    return prefix(Schema.AUDIT_EVENT) + _EVENT_TYPE_INDEX[event_type]


def encode_audit_head(event: AuditEvent, verdict_bytes: int | None) -> bytes:
    """Return an event's framed value up to its verdict, whose length in bytes (None: no verdict) it ends with."""
    (
        event_type,
        agent_id,
        agent_seq,
        log_index,
        partition,
        event_time_us,
        clock_divergence_us,
        clock_source,
        source_topic,
        source_offset,
        source_time_us,
        subject,
        signature,
        signer,
        score,
        state_before,
        state_after,
        policy_sha256,
        authorised_by,
        verified_by,
        approved_by,
        outcome,
        details,
    ) = event
    return b"".join(
        (
            _event_start(event_type),
            write_name(agent_id),
            NULL if agent_seq is None else VALUE + write_long(agent_seq),
            write_long(log_index),
            write_long(partition),
            write_time(event_time_us),
            write_long(clock_divergence_us),
            write_name(clock_source),
            write_name(source_topic),
            write_long(source_offset),
            write_time(source_time_us),
            NULL if subject is None else _optional_bytes(subject),
            NULL if signature is None else _optional_bytes(signature),
            NULL if signer is None else _optional_name(signer),
            NULL if score is None else write_score(score),
            _standing(state_before, state_after, policy_sha256, authorised_by, verified_by, approved_by, outcome),
            _details(details) if details else NULL,
            NULL if verdict_bytes is None else VALUE + write_long(verdict_bytes),
        )
    )


def verdict_of(record: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a decoded record. Raises: DecodeError where a decimal or reason is none of ours."""
    reference = record["reference"]
    return Verdict(
        agent_id=record["agent_id"],
        cl_ord_id=record["cl_ord_id"],
        approved=record["decision"] == "APPROVED",
        reason=_reason(record["reason"]),
        failures=tuple(
            Failure(_reason(item["reason"]), item["limit"], item["observed"], item["unit"])
            for item in record["failures"]
        ),
        policy_sha256=record["policy_sha256"],
        reference=None
        if reference is None
        else ReferenceUsed(
            from_decimal("price", reference["price"]),
            reference["price_time"],
            reference["partition"],
            reference["offset"],
        ),
        order_value_e5=_decimal(record, "order_value"),
        daily_value_e5=_decimal(record, "daily_value"),
        score=record["score"],
        request_partition=record["request_partition"],
        request_offset=record["request_offset"],
        request_time_us=record["request_time"],
        decision_time_us=record["decision_time"],
        log_index=record["log_index"],
        order=record["order"],
        signature=record["signature"],
        certificate_sha256=record["certificate_sha256"],
    )


def _reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        raise DecodeError(DeadLetterReason.NOT_AVRO, f"reason: a known code required, is {text[:40]!a}") from None


def _decimal(record: Mapping[str, Any], name: str) -> int | None:
    data = record[name]
    return None if data is None else from_decimal(name, data)


def decode_verdict(value: bytes) -> Verdict:
    """Read a framed verdict. Raises: DecodeError."""
    return verdict_of(decode(Schema.VERDICT, value))


def decode_verdict_body(body: bytes) -> Verdict:
    """Read a verdict's body, as an audit event carries it. Raises: DecodeError."""
    return verdict_of(decode_body(Schema.VERDICT, body))


def decode_audit_event(value: bytes) -> tuple[AuditEvent, bytes | None]:
    """Read a framed audit event and the body of its verdict. Raises: DecodeError."""
    record = decode(Schema.AUDIT_EVENT, value)
    score = record["score"]
    event = AuditEvent(
        event_type=record["event_type"],
        agent_id=record["agent_id"],
        agent_seq=record["agent_seq"],
        log_index=record["log_index"],
        partition=record["partition"],
        event_time_us=record["event_time"],
        clock_divergence_us=record["clock_divergence"],
        clock_source=record["clock_source"],
        source_topic=record["source_topic"],
        source_offset=record["source_offset"],
        source_time_us=record["source_time"],
        subject=record["subject"],
        signature=record["signature"],
        signer=record["signer"],
        score=None if score is None else ScoreDetail(score["model"], score["value"], score["features"]),
        state_before=record["state_before"],
        state_after=record["state_after"],
        policy_sha256=record["policy_sha256"],
        authorised_by=record["authorised_by"],
        verified_by=record["verified_by"],
        approved_by=record["approved_by"],
        outcome=record["outcome"],
        details=record["details"],
    )
    return event, record["verdict"]
