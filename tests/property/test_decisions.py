"""The writers by hand put down the same bytes as fastavro, for every verdict and audit event, and read them back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.orders import Failure
from streams.core.reasons import Reason
from streams.wire.avro import DECIMAL_MAX, DecodeError, Schema, decode, encode, encode_body, to_decimal
from streams.wire.binary import write_decimal, write_long, write_text
from streams.wire.decisions import (
    EVENT_TYPES,
    AuditEvent,
    ReferenceUsed,
    ScoreDetail,
    Verdict,
    decode_audit_event,
    decode_verdict,
    decode_verdict_body,
    encode_audit_head,
    encode_verdict,
    encode_verdict_body,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70) | st.sampled_from([8191, 8192, 2**31, -(2**31)])
INT = st.integers(-(2**31), 2**31 - 1)
BYTES = st.binary(max_size=80)
DECIMAL = st.integers(-DECIMAL_MAX, DECIMAL_MAX) | st.integers(-300, 300)
DOUBLE = st.floats(allow_nan=False)
REASON = st.sampled_from(Reason)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


VERDICTS = st.builds(
    Verdict,
    agent_id=TEXT,
    cl_ord_id=TEXT,
    approved=st.booleans(),
    reason=REASON,
    failures=st.lists(st.builds(Failure, REASON, TEXT, TEXT, TEXT), max_size=4).map(tuple),
    policy_sha256=optional(BYTES),
    reference=optional(st.builds(ReferenceUsed, DECIMAL, LONG, INT, LONG)),
    order_value_e5=optional(DECIMAL),
    daily_value_e5=optional(DECIMAL),
    score=optional(DOUBLE),
    request_partition=INT,
    request_offset=LONG,
    request_time_us=LONG,
    decision_time_us=LONG,
    log_index=LONG,
    order=BYTES,
    signature=optional(BYTES),
    certificate_sha256=optional(BYTES),
)
EVENTS = st.builds(
    AuditEvent,
    event_type=st.sampled_from(EVENT_TYPES),
    agent_id=TEXT,
    agent_seq=optional(LONG),
    log_index=LONG,
    partition=INT,
    event_time_us=LONG,
    clock_divergence_us=LONG,
    clock_source=TEXT,
    source_topic=TEXT,
    source_offset=LONG,
    source_time_us=LONG,
    subject=optional(BYTES),
    signature=optional(BYTES),
    signer=optional(TEXT),
    score=optional(st.builds(ScoreDetail, TEXT, DOUBLE, st.dictionaries(TEXT, DOUBLE, max_size=4))),
    state_before=TEXT,
    state_after=TEXT,
    policy_sha256=optional(BYTES),
    authorised_by=optional(TEXT),
    verified_by=TEXT,
    approved_by=optional(TEXT),
    outcome=TEXT,
    details=st.dictionaries(TEXT, TEXT, max_size=4),
)


def optional_decimal(value: int | None) -> bytes | None:
    return None if value is None else to_decimal(value)


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Return what the schema calls the fields of a verdict."""
    record = verdict._asdict()
    reference = verdict.reference
    for name in ("request_time_us", "decision_time_us"):
        record[name.removesuffix("_us")] = record.pop(name)
    record["decision"] = "APPROVED" if record.pop("approved") else "REJECTED"
    record["reason"] = str(verdict.reason)
    record["failures"] = [
        {"reason": str(item.reason), "limit": item.limit, "observed": item.observed, "unit": item.unit}
        for item in verdict.failures
    ]
    record["order_value"] = optional_decimal(record.pop("order_value_e5"))
    record["daily_value"] = optional_decimal(record.pop("daily_value_e5"))
    record["reference"] = reference and {
        "price": to_decimal(reference.price_e13),
        "price_time": reference.price_time_us,
        "partition": reference.partition,
        "offset": reference.offset,
    }
    return record


def event_record(event: AuditEvent, verdict: bytes | None) -> dict[str, Any]:
    """Return what the schema calls the fields of an event."""
    record = event._asdict()
    for name in ("event_time_us", "clock_divergence_us", "source_time_us"):
        record[name.removesuffix("_us")] = record.pop(name)
    score = event.score
    record["score"] = score and {"model": score.model, "value": score.value, "features": dict(score.features)}
    record["details"] = dict(event.details)
    return record | {"verdict": verdict}


@settings(deadline=None)
@given(VERDICTS)
def test_verdicts_have_fastavros_bytes_and_come_back(verdict: Verdict) -> None:
    body = encode_verdict_body(verdict)
    assert body == encode_body(Schema.VERDICT, verdict_record(verdict))
    value = encode_verdict(body)
    assert value == encode(Schema.VERDICT, verdict_record(verdict))
    assert decode_verdict(value) == decode_verdict_body(body) == verdict


@settings(deadline=None)
@given(EVENTS, st.none() | VERDICTS)
def test_audit_events_have_fastavros_bytes_and_come_back(event: AuditEvent, verdict: Verdict | None) -> None:
    body = None if verdict is None else encode_verdict_body(verdict)
    value = encode_audit_head(event, None if body is None else len(body)) + (body or b"")
    assert value == encode(Schema.AUDIT_EVENT, event_record(event, body))
    assert decode_audit_event(value) == (event, body)


@given(LONG)
def test_integers_are_zigzag(number: int) -> None:
    data = write_long(number)
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * place)
    assert (value >> 1) ^ -(value & 1) == number
    assert all(byte & 0x80 for byte in data[:-1])
    assert not data[-1] & 0x80


@given(DECIMAL)
def test_decimals_are_those_of_the_slow_writer(value: int) -> None:
    data = to_decimal(value)
    assert write_decimal(value) == write_long(len(data)) + data


@given(TEXT)
def test_texts_have_their_length_in_bytes(text: str) -> None:
    data = text.encode()
    assert write_text(text) == write_long(len(data)) + data


@pytest.mark.parametrize("place", ["reason", "failures"])
def test_a_verdict_with_an_unknown_reason_is_none(place: str) -> None:
    body = b"\x0abot-1\x06o-1\x02\x16STALE_ORDER" + bytes(14)
    verdict = decode_verdict_body(body)
    assert (verdict.agent_id, verdict.cl_ord_id, verdict.reason) == ("bot-1", "o-1", Reason.STALE_ORDER)
    record = verdict_record(verdict)
    if place == "reason":
        record["reason"] = "BECAUSE"
    else:
        record["failures"] = [{"reason": "BECAUSE", "limit": "", "observed": "", "unit": ""}]
    value = encode(Schema.VERDICT, record)
    assert decode(Schema.VERDICT, value) == record
    with pytest.raises(DecodeError, match="reason: a known code required, is 'BECAUSE'"):
        decode_verdict(value)
