"""Records to rows: blocks of one table, as an Avro file that ClickHouse reads column by column.

Source: Avro 1.12, Object Container Files.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from streams.audit.checkpoint import Checkpoint, CheckpointError
from streams.warehouse.tables import AUDIT_CHECKPOINTS, TABLES, UNREADABLE_RECORDS, Table, row_schema
from streams.wire.avro import PREFIX_BYTES, DecodeError, Schema, decode, decode_body, encode_body
from streams.wire.binary import NULL, VALUE, write_bytes, write_long, write_text, write_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SYNC: Final = bytes(16)


class Record(NamedTuple):
    """A record as the consumer gave it.

    ``topic`` is without an installation's prefix, ``time_ms`` the broker's, since 1970 UTC.
    """

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Block:
    """Records that go into one table together: of each partition some that follow each other, in their order.

    ``error`` says why they are not in their topic's own table. ``rewritten``: the values are decoded and encoded again,
    for what our decoder reads and ClickHouse's does not (Avro has more than one spelling of a number).
    """

    table: Table
    records: Sequence[Record]
    error: str = ""
    rewritten: bool = False

    def ends(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Return how many records the block has of each partition (topic, number), and the last one's offset."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for record in self.records:
            place = record.topic, record.partition
            found[place] = found.get(place, (0, 0))[0] + 1, record.offset
        return found


def cut_blocks(lanes: Iterable[Sequence[Record]]) -> Iterator[Block]:
    """Cut partitions' records, each in order, into blocks of one table; in these a partition's order is kept.

    What no table of a topic can read goes to ``unreadable_records``.
    """
    runs = [deque(_cut_runs(records)) for records in lanes]
    while left := [lane for lane in runs if lane]:
        table, error, _ = left[0][0]
        heads = [lane.popleft()[2] for lane in left if lane[0][:2] == (table, error)]
        yield Block(table, [record for head in heads for record in head], error)


def _cut_runs(records: Sequence[Record]) -> Iterator[tuple[Table, str, Sequence[Record]]]:
    """Yield the longest pieces of one partition's records that go into one table for one reason."""
    start, kind = 0, (UNREADABLE_RECORDS, "")
    for position, record in enumerate(records):
        found = _table_of(record)
        if found != kind:
            if position > start:
                yield *kind, records[start:position]
            start, kind = position, found
    if len(records) > start:
        yield *kind, records[start:]


def encode_block(block: Block) -> bytes:
    """Return the block as an Avro file.

    Raises:
        DecodeError: the values are to be rewritten and one cannot be read.
    """
    parts: list[bytes] = []
    add = parts.extend
    # The hot loop: most blocks are values as they are.
    as_it_is = block.table.schema is not None and not block.rewritten
    kept = block.table.keeps_value
    for record in block.records:
        _, partition, offset, time_ms, _, value = record
        place = write_long(offset)
        add((write_long(partition), place, write_time(time_ms)))
        if not as_it_is or value is None:
            add(_fields(block, record))
        elif kept:
            add((write_long(len(value)), value, value[PREFIX_BYTES:]))
        else:
            parts.append(value[PREFIX_BYTES:])
        parts.append(place)
    rows = b"".join(parts)
    return b"".join((_header(block.table), write_long(len(block.records)), write_long(len(rows)), rows, _SYNC))


def read_checkpoint(note: bytes) -> Checkpoint:
    """Return what a note says, unverified.

    Raises:
        CheckpointError: it is no checkpoint.
    """
    return Checkpoint.parse(note.rpartition(b"\n\n")[0] + b"\n")


def _table_of(record: Record) -> tuple[Table, str]:
    """Return the record's table, and why it is not one of its topic's own."""
    if record.value is None:
        return UNREADABLE_RECORDS, "no value"
    tables = _tables_by_prefix(record.topic)
    table = tables.get(record.value[:PREFIX_BYTES]) or tables.get(b"")
    if table is None:
        return UNREADABLE_RECORDS, "not of a schema that this topic's tables take"
    if table is AUDIT_CHECKPOINTS:
        try:
            read_checkpoint(record.value)
        except CheckpointError as error:
            return UNREADABLE_RECORDS, str(error)
    return table, ""


@cache
def _tables_by_prefix(topic: str) -> dict[bytes, Table]:
    return {table.prefix: table for table in TABLES if table.topic == topic}


def _fields(block: Block, record: Record) -> tuple[bytes, ...]:
    """Return what stands between a row's places, where it is more than the value as it is."""
    value, schema = record.value or b"", block.table.schema
    if schema is not None:
        body = _rewritten(schema, value)
        return (write_bytes(value), body) if block.table.keeps_value else (body,)
    if block.table is AUDIT_CHECKPOINTS:
        checkpoint = read_checkpoint(value)
        said = (write_text(checkpoint.origin), write_long(checkpoint.size), write_bytes(checkpoint.root))
        return (write_bytes(value), *said)
    return (write_text(record.topic), _optional(record.key), _optional(record.value), write_text(block.error))


def _rewritten(schema: Schema, value: bytes) -> bytes:
    record = decode(schema, value)
    if schema is Schema.AUDIT_EVENT and record["verdict"] is not None:
        record["verdict"] = _rewritten_verdict(record["verdict"])
    return encode_body(schema, record)


def _rewritten_verdict(body: bytes) -> bytes | None:
    """Return a verdict in our own spelling; None where it cannot be read, so that the event still has its row."""
    try:
        verdict: dict[str, Any] = decode_body(Schema.VERDICT, body)
        verdict["order"] = encode_body(Schema.ORDER, decode_body(Schema.ORDER, verdict["order"]))
    except DecodeError:
        return None
    return encode_body(Schema.VERDICT, verdict)


@cache
def _header(table: Table) -> bytes:
    schema = orjson.dumps(row_schema(table))
    entries = b"".join(map(write_bytes, (b"avro.schema", schema, b"avro.codec", b"null")))
    return b"".join((b"Obj\x01", write_long(2), entries, write_long(0), _SYNC))


def _optional(data: bytes | None) -> bytes:
    return NULL if data is None else VALUE + write_bytes(data)
