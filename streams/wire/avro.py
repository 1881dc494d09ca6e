"""Avro in Confluent framing: a zero byte, the schema's id in four bytes, the body. Strict in what it reads.

Decimals are two's-complement integers with the schema's scale, and stay integers: `Decimal` would double the cost.
A value has more than one Avro spelling. Signatures and leaves are over the bytes as received, and nothing is looked up
by an encoding of ours, so a second spelling never passes for the first. Padded decimals and blocks of any size mean the
same to every reader; padded numbers do not once they pass ten bytes, so orders may have none (`messages`).
"""

from __future__ import annotations

import io
from enum import StrEnum, unique
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import fastavro
import orjson

from streams.core.errors import PortcullisError
from streams.core.reasons import DeadLetterReason
from streams.resources import resource

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"\x00"
PREFIX_BYTES: Final = 5
VALUE_BYTES_MAX: Final = 1 << 20
DECIMAL_BYTES_MAX: Final = 16
DECIMAL_MAX: Final = 10**38 - 1

_INNER: Final = ("type", "items", "values")
_NAMED: Final = "__named_schemas"


@unique
class Schema(StrEnum):
    """Every schema in `schemas/avro/`; a released one is never edited."""

    ORDER = "order.v1"
    VERDICT = "verdict.v1"
    EXECUTION_REPORT = "execution-report.v1"
    AGENT_RECORD = "agent-record.v1"
    COMMAND = "command.v1"
    REFERENCE_PRICE = "reference-price.v1"
    BREAKER_EVENT = "breaker-event.v1"
    ALERT = "alert.v1"
    MASS_CANCEL = "mass-cancel.v1"
    AUDIT_EVENT = "audit-event.v1"
    REGULATORY_RECORD = "regulatory-record.v1"
    BATCH_MANIFEST = "batch-manifest.v1"
    INCIDENT = "incident.v1"
    HEARTBEAT = "heartbeat.v1"
    REVOCATION_REQUEST = "revocation-request.v1"


class DecodeError(PortcullisError):
    """Bytes that are not what they should be; `reason` is stable."""

    def __init__(self, reason: DeadLetterReason, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.text = text


@cache
def schema_ids() -> dict[str, int]:
    """Return the pinned id of each schema."""
    ids: dict[str, int] = orjson.loads(resource("schemas/avro/ids.json").read_bytes())
    return ids


@cache
def prefix(schema: Schema) -> bytes:
    """Return the framing prefix of a schema."""
    return MAGIC + schema_ids()[schema].to_bytes(4, "big")


@cache
def schema_document(schema: Schema) -> dict[str, Any]:
    """Return a schema as its file has it."""
    document: dict[str, Any] = orjson.loads(resource(f"schemas/avro/{schema}.avsc").read_bytes())
    return document


@cache
def _parsed(schema: Schema) -> Any:  # noqa: ANN401 - fastavro's own form
    return fastavro.parse_schema(_plain(schema_document(schema)))


@cache
def _readable(schema: Schema) -> Any:  # noqa: ANN401 - fastavro's own form
    return _without_negatives(_parsed(schema))


def _without_negatives(node: Any) -> Any:  # noqa: ANN401 - a schema is any JSON
    """Return a schema whose enums and unions are looked up in dicts: in a list, index -1 is the last member."""
    if isinstance(node, list):
        return {"type": "union"} | {place: _without_negatives(branch) for place, branch in enumerate(node)}
    if not isinstance(node, dict):
        return node
    copy = {name: _without_negatives(value) if name in _INNER else value for name, value in node.items()}
    if "fields" in node:
        copy["fields"] = [{**field, "type": _without_negatives(field["type"])} for field in node["fields"]]
    if "symbols" in node:
        copy["symbols"] = dict(enumerate(node["symbols"]))
    if _NAMED in node:
        # Where fastavro finds a type that is used a second time.
        copy[_NAMED] = {
            name: _without_negatives({key: value for key, value in named.items() if key != _NAMED})
            for name, named in node[_NAMED].items()
        }
    return copy


def _plain(node: Any) -> Any:  # noqa: ANN401 - a schema is any JSON
    """Strip the logical types: decimals stay bytes, times stay integers."""
    if isinstance(node, dict):
        if node.get("logicalType"):
            return node["type"]
        return {name: _plain(value) for name, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def encode_body(schema: Schema, record: Mapping[str, Any]) -> bytes:
    """Return a record's Avro body. Raises what fastavro raises: our own records are right or we are wrong."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, _parsed(schema), record, strict=True)
    return buffer.getvalue()


def encode(schema: Schema, record: Mapping[str, Any]) -> bytes:
    """Return a record as a framed value."""
    return prefix(schema) + encode_body(schema, record)


def body_of(value: bytes) -> bytes:
    """Return a framed value's body: what signatures cover."""
    return value[PREFIX_BYTES:]


def decode_body(schema: Schema, body: bytes) -> dict[str, Any]:
    """Read an Avro body; every byte must be used.

    Raises: DecodeError whatever is wrong with it.
    """
    buffer = io.BytesIO(body)
    try:
        record: dict[str, Any] = fastavro.schemaless_reader(buffer, _readable(schema), None)
    except Exception as error:  # noqa: BLE001 - fastavro raises EOFError, IndexError, UnicodeDecodeError and more
        raise DecodeError(DeadLetterReason.NOT_AVRO, f"{schema}: {type(error).__name__}") from None
    if buffer.tell() != len(body):
        left = len(body) - buffer.tell()
        raise DecodeError(DeadLetterReason.NOT_AVRO, f"{schema}: {left} bytes left after the record")
    return record


def decode(schema: Schema, value: bytes, *, bytes_max: int = VALUE_BYTES_MAX) -> dict[str, Any]:
    """Read a framed value.

    Raises: DecodeError where it is empty, too large, of another schema, or not exactly one record.
    """
    if value[:PREFIX_BYTES] != prefix(schema) or len(value) > bytes_max:
        raise _misframed(schema, value, bytes_max)
    return decode_body(schema, value[PREFIX_BYTES:])


def _misframed(schema: Schema, value: bytes, bytes_max: int) -> DecodeError:
    if not value:
        return DecodeError(DeadLetterReason.EMPTY, "no bytes")
    if len(value) > bytes_max:
        return DecodeError(DeadLetterReason.TOO_LARGE, f"at most {bytes_max} bytes, has {len(value)}")
    return DecodeError(
        DeadLetterReason.UNKNOWN_SCHEMA,
        f"prefix {prefix(schema).hex()} ({schema}) expected, is {value[:PREFIX_BYTES].hex()}",
    )


def to_decimal(value: int) -> bytes:
    """Return a decimal's bytes: two's complement, big-endian, as short as it goes."""
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


def from_decimal(name: str, data: bytes) -> int:
    """Return a decimal's integer.

    Raises: DecodeError where it has no bytes or more than 38 digits.
    """
    if not 1 <= len(data) <= DECIMAL_BYTES_MAX:
        raise DecodeError(DeadLetterReason.NOT_AVRO, f"{name}: 1 to {DECIMAL_BYTES_MAX} bytes, has {len(data)}")
    value = int.from_bytes(data, "big", signed=True)
    if not -DECIMAL_MAX <= value <= DECIMAL_MAX:
        raise DecodeError(DeadLetterReason.NOT_AVRO, f"{name}: more than 38 digits")
    return value
