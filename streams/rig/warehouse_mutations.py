"""Single changes of the warehouse's rows by somebody who may do anything there: statements on the real table."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from streams.rig.mutations import LIST_CHANGES, Mutation, Target, any_log, first_wrong, flipped, place_for
from streams.warehouse.columns import read_rows
from streams.warehouse.tables import AUDIT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from clickhouse_connect.driver.client import Client

    from streams.rig.evidence import Evidence
    from streams.warehouse.columns import Row

WAREHOUSE_KINDS: Final = ("edit", "flip", *LIST_CHANGES)
_TABLE: Final = AUDIT_EVENTS.name
_SOUND: Final = "audit_events_sound"
_WHERE: Final = "WHERE kafka_partition = {log:Int32} AND log_index"
_OFFSET_OF: Final = f"(SELECT kafka_offset FROM {_SOUND} {_WHERE} = {{at:Int64}})"  # noqa: S608 - our own names
# A change waits until it is done, and rows that were there before may come again.
_AT_ONCE: Final = {"mutations_sync": 2, "insert_deduplicate": 0}
# Where a row stands: these cannot be updated, and swapping rows changes them.
_PLACE: Final = frozenset({"kafka_partition", "kafka_offset"})
# What makes another value of a column's type, by how the type begins.
_EDITS: Final = (
    ("String", "concat({0}, 'x')"),
    ("Map(String, String)", "mapConcat({0}, map('x', 'y'))"),
    ("Map(String, Float64)", "mapConcat({0}, map('x', 1.))"),
    ("Array(", "arrayPushBack({0}, ('x', 'x', 'x', 'x'))"),
    ("DateTime64(", "addMicroseconds({0}, 1000)"),
    ("", "{0} + 1"),
)
_FIRST: Final = {"String": "'x'", "DateTime64(": "toDateTime64('2026-01-01', 6, 'UTC')", "": "1"}


class WarehouseTable:
    """The rows of the audit log in a warehouse, and a copy that a change is undone from."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._rows: dict[int, list[tuple[bytes, Row]]] = {}
        self._command(f"DROP TABLE IF EXISTS {_SOUND}")
        self._command(f"CREATE TABLE {_SOUND} AS {_TABLE}")
        # Parts are linked, not copied.
        self._command(f"ALTER TABLE {_SOUND} ATTACH PARTITION tuple() FROM {_TABLE}")
        sql = (
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
            " AND default_kind != 'EPHEMERAL' ORDER BY position"
        )
        self.columns = {name: kind for name, kind in client.query(sql, {"table": _TABLE}).result_rows}  # noqa: C416 - typed

    def rows(self, log: int) -> list[tuple[bytes, Row]]:
        """Return a log's rows as they were before any change."""
        if log not in self._rows:
            self._rows[log] = list(read_rows(self.client, log))
        return self._rows[log]

    def restore(self) -> None:
        """Bring back every row as it was."""
        self._command(f"ALTER TABLE {_TABLE} REPLACE PARTITION tuple() FROM {_SOUND}")

    def update(self, log: int, index: int, column: str, expression: str, **values: object) -> None:
        """Write another value into a row."""
        wanted = {"log": log, "index": index, **values}
        self._command(f"ALTER TABLE {_TABLE} UPDATE {column} = {expression} {_WHERE} = {{index:Int64}}", wanted)

    def delete(self, log: int, first: int, end: int) -> None:
        """Delete rows."""
        wanted = {"log": log, "first": first, "end": end}
        self._command(f"ALTER TABLE {_TABLE} DELETE {_WHERE} >= {{first:Int64}} AND log_index < {{end:Int64}}", wanted)

    def insert(self, log: int, index: int, *, at: int | None = None) -> None:
        """Insert a sound row again, in its own place or in another's."""
        offset = "kafka_offset" if at is None else _OFFSET_OF
        chosen = ", ".join(offset if name == "kafka_offset" else name for name in self.columns)
        names = ", ".join(self.columns)
        sql = f"INSERT INTO {_TABLE} ({names}) SELECT {chosen} FROM {_SOUND} {_WHERE} = {{index:Int64}}"  # noqa: S608
        self._command(sql, {"log": log, "index": index, "at": at})

    def _command(self, sql: str, values: dict[str, Any] | None = None) -> None:
        self.client.command(sql, values, settings=_AT_ONCE)


@contextmanager
def change_warehouse(evidence: Evidence, rng: Random, kind: str) -> Iterator[Mutation]:
    """Change a log's rows: a column of one, its leaf, or which rows there are."""
    number, log = any_log(evidence, rng)
    table, rows = evidence.warehouse, log.leaves
    place = place_for(kind, rows, rng)
    what = f"log {number} leaf {place}"
    if kind == "edit":
        column = rng.choice(sorted(table.columns.keys() - _PLACE - {"kafka_time", "leaf", "log_index"}))
        what += f" {column}"
        table.update(number, place, column, edited(column, table.columns[column]))
    elif kind == "flip":
        table.update(number, place, "leaf", "unhex({leaf:String})", leaf=flipped(rows[place], rng).hex())
    elif kind == "repeat":
        table.insert(number, place)
    elif kind == "swap":
        table.delete(number, place, place + 2)
        table.insert(number, place, at=place + 1)
        table.insert(number, place + 1, at=place)
    else:
        table.delete(number, place, place + 1 if kind == "drop" else len(rows))
    try:
        check = partial(evidence.check_rows, number)
        yield Mutation(Target.WAREHOUSE, kind, what, check, (number, first_wrong(kind, place)))
    finally:
        table.restore()


def edited(column: str, kind: str) -> str:
    """Return an expression for another value of a column of this type."""
    plain = kind.removeprefix("LowCardinality(").removeprefix("Nullable(")
    change = next(text for beginning, text in _EDITS if plain.startswith(beginning)).format(column)
    if plain == kind or not kind.startswith(("Nullable(", "LowCardinality(Nullable(")):
        return change
    first = next(text for beginning, text in _FIRST.items() if plain.startswith(beginning))
    return f"ifNull({change}, {first})"
