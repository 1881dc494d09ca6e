"""Whatever the bytes: every reader gives a value or DecodeError, in little time and little memory."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.wire.avro import (
    VALUE_BYTES_MAX,
    DecodeError,
    Schema,
    decode,
    decode_body,
    encode_body,
    prefix,
    schema_document,
)
from streams.wire.binary import write_long
from streams.wire.decisions import decode_audit_event, decode_verdict
from streams.wire.executions import decode_execution_report
from streams.wire.messages import ORDER_BYTES_MAX, decode_order, decode_reference_price, encode_order
from tests.gate_world import make_order

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[Schema, Callable[[bytes], object]] = {
    Schema.ORDER: decode_order,
    Schema.VERDICT: decode_verdict,
    Schema.AUDIT_EVENT: decode_audit_event,
    Schema.EXECUTION_REPORT: decode_execution_report,
    Schema.REFERENCE_PRICE: lambda value: decode_reference_price(value, 0, 0),
}
SCHEMAS = st.sampled_from(Schema)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "bytes": st.binary(max_size=12),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "null": st.none(),
}
Names = dict[str, st.SearchStrategy[Any]]


def values_of(node: Any, names: Names) -> st.SearchStrategy[Any]:
    """Return any value of a schema's type, as fastavro reads it."""
    if isinstance(node, list):
        return st.one_of([values_of(branch, names) for branch in node])
    if isinstance(node, str):
        return names[node]
    if node["type"] in INNER:
        return INNER[node["type"]](node, names)
    return values_of(node["type"], names)


def record_of(node: Any, names: Names) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({field["name"]: values_of(field["type"], names) for field in node["fields"]})


def symbol_of(node: Any, names: Names) -> st.SearchStrategy[Any]:
    return names.setdefault(node["name"], st.sampled_from(node["symbols"]))


INNER: dict[str, Callable[[Any, Names], st.SearchStrategy[Any]]] = {
    "record": record_of,
    "enum": symbol_of,
    "array": lambda node, names: st.lists(values_of(node["items"], names), max_size=3),
    "map": lambda node, names: st.dictionaries(TEXT, values_of(node["values"], names), max_size=3),
}
RECORDS = {schema: values_of(schema_document(schema), dict(SIMPLE)) for schema in Schema}
BODIES = SCHEMAS.flatmap(
    lambda schema: RECORDS[schema].map(lambda record: (schema, record, encode_body(schema, record)))
)
Case = tuple[Schema, dict[str, Any], bytes]


def read(schema: Schema, body: bytes) -> Any:
    """Return what the readers make of a body: a value, or None for DecodeError; anything else is raised on."""
    record = attempt(lambda: decode_body(schema, body))
    if schema in READERS:
        value = attempt(lambda: READERS[schema](prefix(schema) + body))
        assert value is None or record is not None
    return record


def attempt(reader: Callable[[], Any]) -> Any:
    try:
        return reader()
    except DecodeError:
        return None


@settings(deadline=None)
@given(BODIES)
def test_every_record_comes_back(case: Case) -> None:
    schema, record, body = case
    assert read(schema, body) == record


@settings(deadline=None)
@given(SCHEMAS, st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_decode_error(schema: Schema, body: bytes) -> None:
    record = read(schema, body)
    if record is not None:
        # Another spelling of a value that we can write, never something that we could not.
        assert encode_body(schema, decode_body(schema, encode_body(schema, record))) == encode_body(schema, record)


@settings(deadline=None, max_examples=300)
@given(BODIES, st.data())
def test_changed_bytes_give_a_value_or_a_decode_error(case: Case, data: st.DataObject) -> None:
    schema, _, body = case
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed)))
        changed[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    record = read(schema, bytes(changed))
    if record is not None:
        assert encode_body(schema, decode_body(schema, encode_body(schema, record))) == encode_body(schema, record)


@settings(deadline=None)
@given(BODIES, st.data())
def test_a_body_cut_short_or_too_long_is_refused(case: Case, data: st.DataObject) -> None:
    schema, _, body = case
    for wrong in (body[: data.draw(st.integers(0, len(body) - 1))], body + data.draw(st.binary(min_size=1))):
        assert read(schema, wrong) is None


@given(SCHEMAS, st.binary(max_size=10))
def test_bytes_of_another_schema_are_refused(schema: Schema, value: bytes) -> None:
    if not value.startswith(prefix(schema)):
        with pytest.raises(DecodeError):
            decode(schema, value)


# Numbers that say where or how much: places in enums and unions, lengths, counts of blocks.

ORDER = encode_body(
    Schema.ORDER,
    {
        "agent_id": "bot-1",
        "cl_ord_id": "o-1",
        "orig_cl_ord_id": None,
        "msg_type": "NEW_ORDER_SINGLE",
        "symbol": "BTC_USDT",
        "ex_destination": "XOFF",
        "region": "eu-west-1",
        "side": "BUY",
        "ord_type": "LIMIT",
        "time_in_force": "DAY",
        "order_qty": b"\x01",
        "price": None,
        "transact_time": 0,
        "expire_time": None,
    },
)
# The parts of ORDER, each in the spelling that is changed below.
HEAD, MIDDLE, TAIL = b"\x0abot-1\x06o-1", b"\x10BTC_USDT\x08XOFF\x12eu-west-1", b"\x02\x01"
WRONG_PLACES = (-1, -2, -3, 4, 5, 2**31, -(2**31), 2**63 - 1, -(2**63))


def test_the_order_is_made_of_its_parts() -> None:
    assert ORDER == HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02\x00" + TAIL + b"\x00\x00\x00"


@pytest.mark.parametrize("place", WRONG_PLACES)
def test_a_place_that_no_enum_or_union_has_is_refused(place: int) -> None:
    wrong = write_long(place)
    for body in (
        HEAD + wrong + b"\x00" + MIDDLE + b"\x00\x02\x00" + TAIL + b"\x00\x00\x00",
        HEAD + b"\x00" + wrong + MIDDLE + b"\x00\x02\x00" + TAIL + b"\x00\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + wrong + b"\x02\x00" + TAIL + b"\x00\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + b"\x00" + wrong + b"\x00" + TAIL + b"\x00\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02" + wrong + TAIL + b"\x00\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02\x00" + TAIL + wrong + b"\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02\x00" + TAIL + b"\x00\x00" + wrong,
    ):
        assert read(Schema.ORDER, body) is None


def test_a_place_is_refused_where_a_type_is_used_a_second_time_too() -> None:
    record: dict[str, Any] = {
        "event_id": "e",
        "scope": "BOT",
        "target": "t",
        "previous": "ACTIVE",
        "state": "ACTIVE",
        "reason": "",
        "score": None,
        "threshold": None,
        "features": {},
        "issued_by": "",
        "event_time": 0,
    }
    body = encode_body(Schema.BREAKER_EVENT, record)
    start = body.index(b"\x02t") + 2
    for place in WRONG_PLACES:
        for at in (start, start + 1):
            assert read(Schema.BREAKER_EVENT, body[:at] + write_long(place) + body[at + 1 :]) is None


@pytest.mark.parametrize("length", [-1, -2, -5, -(2**31), -(2**63), 2**20, 2**31, 2**62, 2**63 - 1])
def test_a_length_that_is_not_there_is_refused(length: int) -> None:
    wrong = write_long(length)
    for body in (
        wrong + ORDER[1:],
        HEAD[:6] + wrong + ORDER[7:],
        HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02\x00" + wrong + b"\x01\x00\x00\x00",
        HEAD + b"\x00\x00" + MIDDLE + b"\x00\x02\x00" + TAIL + b"\x02" + wrong + b"\x00\x00",
    ):
        assert read(Schema.ORDER, body) is None
    manifest = {"batch_id": "", "range_from": 0, "range_to": 0, "records": 0, "manifest": b"", "signature": b"abc"}
    body = encode_body(Schema.BATCH_MANIFEST, manifest)
    assert read(Schema.BATCH_MANIFEST, body[:-4] + wrong + b"abc") is None


@pytest.mark.parametrize("count", [1, -1, 2**31, -(2**31), 2**63 - 1, -(2**63)])
def test_a_count_that_is_not_there_is_refused(count: int) -> None:
    record: dict[str, Any] = {
        "agent_id": "",
        "policy": b"",
        "approver_signature": b"",
        "approver_certificate": b"",
        "registration": b"",
        "operator_signature": b"",
        "operator_certificate": b"",
        "certificate_chain": [],
    }
    body = encode_body(Schema.AGENT_RECORD, record)
    for rest in (b"", b"\x00", b"\x00\x00"):
        found = read(Schema.AGENT_RECORD, body[:-1] + write_long(count) + rest)
        assert found is None or len(found["certificate_chain"]) <= 1


@pytest.mark.parametrize("schema", Schema)
def test_the_largest_value_takes_little_time_and_memory(schema: Schema) -> None:
    # Zeros are the cheapest items; a number that goes on; a count of blocks with nothing in them.
    names = [field["name"] for field in schema_document(schema)["fields"]]
    lists = {"failures", "certificate_chain", "details", "features", "findings"}
    before_list = len(names) if not lists & set(names) else min(names.index(name) for name in lists & set(names))
    fills = {
        "zeros": bytes(VALUE_BYTES_MAX - 5),
        "a number without end": b"\x80" * (VALUE_BYTES_MAX - 5),
        "as many items as fit": bytes(before_list) + write_long(2**40) + bytes(VALUE_BYTES_MAX - 5 - before_list - 6),
        "the highest bytes": b"\xff" * (VALUE_BYTES_MAX - 5),
    }
    for name, body in fills.items():
        tracemalloc.start()
        start = time.process_time()
        with pytest.raises(DecodeError):
            decode(schema, prefix(schema) + body)
        seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seconds < 10, name
        assert peak < 128 * VALUE_BYTES_MAX, name


def test_an_order_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(DecodeError, match=f"TOO_LARGE: at most {ORDER_BYTES_MAX} bytes"):
        decode_order(prefix(Schema.ORDER) + bytes(ORDER_BYTES_MAX))


def test_texts_are_bounded_together() -> None:
    room = 256 - sum(len(text) for text in (make_order().symbol, make_order().ex_destination, make_order().region))
    assert decode_order(encode_order(make_order(cl_ord_id="x" * room))).cl_ord_id == "x" * room
    with pytest.raises(DecodeError, match="texts: at most 256 characters together, have 257"):
        decode_order(encode_order(make_order(cl_ord_id="x" * (room + 1))))
