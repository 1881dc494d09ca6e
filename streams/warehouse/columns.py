"""What a row of `audit_events` must say, from its leaf alone: decoded here, compared with the columns stored.

The sink has ClickHouse decode the leaf's bytes; this is the other decoder, so that one cannot err unseen.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import PRICE_SCALE, decimal_text
from streams.warehouse.tables import AUDIT_EVENTS
from streams.wire.avro import Schema, decode, decode_body, from_decimal, schema_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clickhouse_connect.driver.client import Client

Row = dict[str, Any]

_PLACE: Final = frozenset({"kafka_partition", "kafka_offset", "kafka_time", "leaf"})
_IN_BOTH: Final = ("policy_sha256", "signature")
_FROM_VERDICT: Final = (
    *("cl_ord_id", "decision", "reason", "failures", "order_value", "daily_value", "score", "certificate_sha256"),
    *("request_partition", "request_offset", "request_time", "decision_time"),
)
_FROM_ORDER: Final = (
    *("orig_cl_ord_id", "msg_type", "symbol", "ex_destination", "region", "side", "ord_type", "time_in_force"),
    *("order_qty", "price", "transact_time", "expire_time"),
)
_REFERENCE: Final = ("reference_price", "reference_price_time", "reference_partition", "reference_offset")
_NO_VERDICT: Final[Row] = {**dict.fromkeys((*_FROM_VERDICT, *_REFERENCE, *_FROM_ORDER)), "failures": []}


def expected_row(leaf: bytes) -> Row:
    """Return the columns that a leaf says: times in microseconds, decimals as text, texts as bytes.

    Raises:
        DecodeError: the leaf, its verdict or its order cannot be read.
    """
    event = decode(Schema.AUDIT_EVENT, leaf)
    score, body = event.pop("score"), event.pop("verdict")
    row = {**_NO_VERDICT, **event}
    row |= {f"score_{name}": None if score is None else score[name] for name in ("model", "value")}
    row["score_features"] = {} if score is None else score["features"]
    if body is not None:
        verdict = decode_body(Schema.VERDICT, body)
        row |= _verdict_columns(verdict, event)
    return {name: _plain(value) for name, value in row.items()}


def read_rows(client: Client, partition: int) -> Iterator[tuple[bytes, Row]]:
    """Yield each leaf of a partition's log and its row's columns, as `expected_row` has them."""
    names, expressions = _select(client)
    sql = (
        f"SELECT leaf, {', '.join(expressions)} FROM {AUDIT_EVENTS.name}"  # noqa: S608 - our own names
        " WHERE kafka_partition = {partition:Int32} ORDER BY kafka_partition, kafka_offset"
    )
    with client.query_row_block_stream(sql, {"partition": partition}, query_formats={"String": "bytes"}) as blocks:
        for block in blocks:
            for leaf, *values in block:
                yield leaf, {name: _plain(value) for name, value in zip(names, values, strict=True)}


def differences(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns that differ, or that only one side has."""
    return sorted(
        name for name in expected.keys() | stored.keys() if expected.get(name, _MISSING) != stored.get(name, _MISSING)
    )


_MISSING: Final = object()


def _verdict_columns(verdict: Row, event: Row) -> Row:
    verdict = _with_decimal_texts(Schema.VERDICT, verdict)
    order = _with_decimal_texts(Schema.ORDER, decode_body(Schema.ORDER, verdict["order"]))
    reference: Row = verdict["reference"] or {}
    price = reference.get("price")
    return {
        **{name: verdict[name] for name in _FROM_VERDICT},
        **{name: event[name] if verdict[name] is None else verdict[name] for name in _IN_BOTH},
        "reference_price": None if price is None else decimal_text(from_decimal("price", price), PRICE_SCALE),
        "reference_price_time": reference.get("price_time"),
        "reference_partition": reference.get("partition"),
        "reference_offset": reference.get("offset"),
        **{name: order[name] for name in _FROM_ORDER},
    }


def _with_decimal_texts(schema: Schema, record: Row) -> Row:
    scales = decimal_scales(schema)
    return {
        name: decimal_text(from_decimal(name, value), scales[name]) if name in scales and value is not None else value
        for name, value in record.items()
    }


@cache
def decimal_scales(schema: Schema) -> dict[str, int]:
    """Return the fraction digits of a schema's decimal fields, nullable ones too."""
    types = {field["name"]: field["type"] for field in schema_document(schema)["fields"]}
    plain = {name: kind[-1] if isinstance(kind, list) else kind for name, kind in types.items()}
    return {
        name: kind["scale"]
        for name, kind in plain.items()
        if isinstance(kind, dict) and kind.get("logicalType") == "decimal"
    }


def _select(client: Client) -> tuple[list[str], list[str]]:
    """Return the names of the stored columns that a leaf determines, and the expressions that ask for them."""
    sql = (
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " AND default_kind != 'EPHEMERAL' ORDER BY position"
    )
    columns = [row for row in client.query(sql, {"table": AUDIT_EVENTS.name}).result_rows if row[0] not in _PLACE]
    return [name for name, _ in columns], [_expression(name, kind) for name, kind in columns]


def _expression(name: str, kind: str) -> str:
    """Return what asks for a column so that it comes as an integer or as text."""
    plain = kind.removeprefix("Nullable(")
    for beginning, function in (("DateTime64(6", "toUnixTimestamp64Micro"), ("Decimal(", "toString")):
        if plain.startswith(beginning):
            return f"{function}({name})"
    return name


def _plain(value: Any) -> Any:  # noqa: ANN401 - any column's value
    """Return texts as bytes, as ClickHouse has them, and what holds texts likewise."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
