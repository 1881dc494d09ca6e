"""The Avro files are a public interface: pinned ids, the field's units, and the code's own words."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from streams.core.executions import ExecType
from streams.core.incident import Cause, Duty, Reporting
from streams.core.orders import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, MsgType, OrdType, Side, TimeInForce, TradingState
from streams.resources import resource
from streams.wire.avro import (
    DECIMAL_MAX,
    DecodeError,
    Schema,
    body_of,
    decode,
    encode,
    from_decimal,
    prefix,
    schema_document,
    schema_ids,
    to_decimal,
)
from streams.wire.commands import Action, Scope
from streams.wire.decisions import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

PINNED_IDS = {
    "order.v1": 1,
    "verdict.v1": 2,
    "execution-report.v1": 3,
    "agent-record.v1": 4,
    "command.v1": 5,
    "reference-price.v1": 6,
    "breaker-event.v1": 7,
    "alert.v1": 8,
    "mass-cancel.v1": 9,
    "audit-event.v1": 10,
    "regulatory-record.v1": 11,
    "batch-manifest.v1": 12,
    "incident.v1": 13,
    "heartbeat.v1": 14,
    "revocation-request.v1": 15,
}
# The scale of a decimal by its name: quantities, prices and rates, money.
SCALES = {
    **dict.fromkeys(
        ("order_qty", "last_qty", "cum_qty", "leaves_qty", "lot_size", "quantity", "remaining", "volume"), QTY_SCALE
    ),
    **dict.fromkeys(("price", "last_px", "tick_size", "eur_rate"), PRICE_SCALE),
    **dict.fromkeys(("order_value", "daily_value", "value"), MONEY_SCALE),
}
ENUMS: dict[str, tuple[str, ...]] = {
    "MsgType": tuple(MsgType),
    "Side": tuple(Side),
    "OrdType": tuple(OrdType),
    "TimeInForce": tuple(TimeInForce),
    "ExecType": tuple(ExecType),
    "TradingState": tuple(TradingState),
    "CommandAction": tuple(Action),
    "CommandScope": tuple(Scope),
    "MassCancelScope": tuple(Scope),
    "BreakerScope": (Scope.BOT, Scope.MARKET),
    "IncidentScope": tuple(Scope),
    "IncidentCause": tuple(Cause),
    "IncidentReporting": tuple(Reporting),
    "Duty": tuple(Duty),
    "AuditEventType": EVENT_TYPES,
    "Decision": ("APPROVED", "REJECTED"),
    "Severity": ("INFO", "WARNING", "CRITICAL"),
}


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a schema."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from parts(value)
    elif isinstance(node, list):
        for item in node:
            yield from parts(item)


def fields_of(schema: Schema) -> Iterator[tuple[str, Any]]:
    for part in parts(schema_document(schema)):
        if "name" in part and "type" in part and part["type"] not in ("record", "enum"):
            yield part["name"], part


def test_ids_are_pinned_for_ever() -> None:
    assert {name: schema_ids()[name] for name in PINNED_IDS} == PINNED_IDS
    assert set(schema_ids()) == set(Schema)
    assert len(set(schema_ids().values())) == len(Schema)


def test_each_file_is_a_schema_and_each_schema_a_file() -> None:
    files = {path.name.removesuffix(".avsc") for path in resource("schemas/avro").glob("*.avsc")}
    assert files == set(Schema)


@pytest.mark.parametrize("schema", Schema)
def test_a_schema_is_valid_avro_with_everything_explained(schema: Schema) -> None:
    document = schema_document(schema)
    fastavro.parse_schema(document)
    assert document["namespace"] == "portcullis.v1"
    assert document["doc"]
    for name, field in fields_of(schema):
        assert field["doc"].endswith((".", ")")), name
        assert name == name.lower()


@pytest.mark.parametrize("schema", Schema)
def test_decimals_and_times_have_the_units_of_their_names(schema: Schema) -> None:
    for name, field in fields_of(schema):
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for kind in (branch for branch in branches if "logicalType" in branch):
            if kind["type"] == "bytes":
                assert kind == {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": SCALES[name]}
            else:
                assert kind == {"type": "long", "logicalType": "timestamp-micros"}, name
        if name.endswith(("_time", "_at")):
            assert {"type": "long", "logicalType": "timestamp-micros"} in branches, name


@pytest.mark.parametrize("schema", Schema)
def test_enums_are_the_codes_own(schema: Schema) -> None:
    for part in parts(schema_document(schema)):
        if part.get("type") == "enum":
            assert tuple(part["symbols"]) == tuple(str(member) for member in ENUMS[part["name"]]), part["name"]


def test_every_enum_of_the_code_is_in_a_schema() -> None:
    found = {part["name"] for schema in Schema for part in parts(schema_document(schema)) if part.get("type") == "enum"}
    assert found == set(ENUMS)


@pytest.mark.parametrize("schema", Schema)
def test_unions_are_optional_values_only(schema: Schema) -> None:
    for name, field in fields_of(schema):
        if isinstance(field["type"], list):
            assert (field["type"][0], len(field["type"])) == ("null", 2), name


@pytest.mark.parametrize("schema", Schema)
def test_a_prefix_is_confluents(schema: Schema) -> None:
    assert prefix(schema) == b"\x00" + schema_ids()[schema].to_bytes(4, "big")


ALERT: dict[str, Any] = {
    "alert_id": "a-1",
    "severity": "INFO",
    "kind": "TEST",
    "agent_id": "bot-1",
    "symbol": "",
    "message": "x",
    "cause_time": 1,
    "raised_at": 2,
}


def test_a_value_is_prefix_and_body() -> None:
    value = encode(Schema.ALERT, ALERT)
    assert value[:5] == prefix(Schema.ALERT)
    assert body_of(value) == value[5:]
    assert decode(Schema.ALERT, value) == ALERT


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "EMPTY: no bytes"),
        (
            b"\x00\x00\x00\x00\x09" + encode(Schema.ALERT, ALERT)[5:],
            "UNKNOWN_SCHEMA: prefix 0000000008 (alert.v1) expected",
        ),
        (encode(Schema.ALERT, ALERT)[:4], "UNKNOWN_SCHEMA: prefix 0000000008 (alert.v1) expected, is 00000000"),
        (encode(Schema.ALERT, ALERT)[:-1], "NOT_AVRO: alert.v1: EOFError"),
        (encode(Schema.ALERT, ALERT) + b"\x00", "NOT_AVRO: alert.v1: 1 bytes left after the record"),
        (encode(Schema.ALERT, ALERT | {"message": "x" * 200}), "TOO_LARGE: at most 100 bytes, has 226"),
    ],
)
def test_a_value_that_is_none_says_why(value: bytes, problem: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(Schema.ALERT, value, bytes_max=100)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("change", [{"extra": 1}, {"severity": "LOW"}, {"raised_at": "now"}])
def test_our_own_wrong_records_are_not_written(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        encode(Schema.ALERT, ALERT | change)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, b"\x00"),
        (1, b"\x01"),
        (-1, b"\xff"),
        (127, b"\x7f"),
        (128, b"\x00\x80"),
        (-128, b"\x80"),
        (-129, b"\xff\x7f"),
        (DECIMAL_MAX, DECIMAL_MAX.to_bytes(16, "big")),
    ],
)
def test_decimals_are_as_short_as_they_go(value: int, data: bytes) -> None:
    assert to_decimal(value) == data
    assert from_decimal("price", data) == value


@pytest.mark.parametrize(
    "data", [b"", bytes(17), (DECIMAL_MAX + 1).to_bytes(16, "big"), (-DECIMAL_MAX - 1).to_bytes(16, "big", signed=True)]
)
def test_decimals_out_of_bounds_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="NOT_AVRO: price: "):
        from_decimal("price", data)


def test_enums_of_the_code_are_text() -> None:
    assert all(issubclass(kind, StrEnum) for kind in (MsgType, Side, OrdType, TimeInForce, ExecType, TradingState))
