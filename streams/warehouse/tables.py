"""Which table keeps which records, and how ClickHouse is to read them.

A table's rows arrive as Avro: the record's own body between a few fields of ours. Avro writes a record's fields one
after the other without marks, so such a row needs no decoding here, only a schema that says what the bytes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from streams.names import Topic
from streams.wire.avro import Schema, prefix, schema_document

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the topic that feeds it, and the schema of that topic's values (none: they are not Avro).

    ``keeps_value`` tables store the value as received beside what it says.
    """

    name: str
    topic: Topic | None
    schema: Schema | None
    keeps_value: bool = False

    @property
    def prefix(self) -> bytes:
        """The first bytes of each value that belongs here; empty where values are not Avro."""
        return b"" if self.schema is None else prefix(self.schema)


AUDIT_EVENTS: Final = Table("audit_events", Topic.AUDIT_EVENTS, Schema.AUDIT_EVENT, keeps_value=True)
AUDIT_CHECKPOINTS: Final = Table("audit_checkpoints", Topic.AUDIT_CHECKPOINTS, None)
REGULATORY_RECORDS: Final = Table("regulatory_records", Topic.REPORTS_REGULATOR, Schema.REGULATORY_RECORD)
UNREADABLE_RECORDS: Final = Table("unreadable_records", None, None)

TABLES: Final = (
    AUDIT_EVENTS,
    AUDIT_CHECKPOINTS,
    Table("executions", Topic.TRADES_EXECUTED, Schema.EXECUTION_REPORT),
    REGULATORY_RECORDS,
    Table("batch_manifests", Topic.REPORTS_REGULATOR, Schema.BATCH_MANIFEST),
    Table("alerts", Topic.RISK_ALERTS, Schema.ALERT),
    Table("breaker_events", Topic.RISK_CIRCUIT_BREAKERS, Schema.BREAKER_EVENT),
    UNREADABLE_RECORDS,
)
STORED_TOPICS: Final = tuple(dict.fromkeys(table.topic for table in TABLES if table.topic is not None))

_PLACE: Final[tuple[Document, ...]] = (
    {"name": "kafka_partition", "type": "int"},
    {"name": "row_begin", "type": "long"},
    {"name": "kafka_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
)
_ROW_END: Final[Document] = {"name": "row_end", "type": "long"}
# Tables whose rows are no Avro values: what their rows are made of.
_OWN_FIELDS: Final[dict[str, tuple[Document, ...]]] = {
    AUDIT_CHECKPOINTS.name: (
        {"name": "note", "type": "bytes"},
        {"name": "origin", "type": "string"},
        {"name": "tree_size", "type": "long"},
        {"name": "root", "type": "bytes"},
    ),
    UNREADABLE_RECORDS.name: (
        {"name": "topic", "type": "string"},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {"name": "error", "type": "string"},
    ),
}
# Fields that an event and its verdict both have, of which the table keeps the one that is there.
_RENAMED: Final = {"policy_sha256": "event_policy_sha256", "signature": "event_signature"}


@cache
def row_schema(table: Table) -> Document:
    """Return the schema of one row: place, value as received where it is kept, what the value says, place again."""
    kept = ({"name": "leaf", "type": "bytes"},) if table.keeps_value else ()
    return {"type": "record", "name": "Row", "fields": [*_PLACE, *kept, *_value_fields(table), _ROW_END]}


def _value_fields(table: Table) -> list[Document]:
    if table.schema is None:
        return list(_OWN_FIELDS[table.name])
    return _unfolded_event() if table.schema is Schema.AUDIT_EVENT else _fields(table.schema)


def _unfolded_event() -> list[Document]:
    """Return an AuditEvent's fields with the Avro bytes in it, a verdict and in that an order, opened."""
    order = _opened("Order", _fields(Schema.ORDER))
    verdict = _opened("Verdict", [{**f, "type": order} if f["name"] == "order" else f for f in _fields(Schema.VERDICT)])
    return [
        {**field, "type": ["null", verdict]}
        if field["name"] == "verdict"
        else {**field, "name": _RENAMED.get(field["name"], field["name"])}
        for field in _fields(Schema.AUDIT_EVENT)
    ]


def _opened(name: str, fields: list[Document]) -> Document:
    """Return the record that stands in a field of type bytes: bytes are a length and then themselves."""
    return {"type": "record", "name": name, "fields": [{"name": "length_bytes", "type": "long"}, *fields]}


def _fields(schema: Schema) -> list[Document]:
    fields: list[Document] = schema_document(schema)["fields"]
    return fields
