"""All tables of a lane in one compacted changelog: a row's key there is its table's name, a zero byte, its own key.

A transaction costs the broker as much for each partition that it writes as for everything else in it together
(`topology/decisions/0012`), so a lane's twelve tables share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.engine.application import Message
from streams.engine.tables import PartitionTable, WindowedPartitionTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from aiokafka.structs import ConsumerRecord

    from streams.engine.tables import RowCodec, Rows

NAME: Final = "tables"
"""What Faust knows the tables of a lane as; part of the changelog's name."""
_AFTER_TABLE: Final = b"\0"


class TableKind(NamedTuple):
    """How a table's rows are written, and the tumbling window of event time that each belongs to, if any."""

    codec: RowCodec[Any]
    window_s: float | None = None


def changelog_topic(app_id: str) -> str:
    """Return the topic of all rows, as Faust names it; `app_id` with the prefix of an isolated run."""
    return f"{app_id}-{NAME}-changelog"


def changelog_key(table: str, key: bytes) -> bytes:
    """Return the key of a table's row in the changelog."""
    return table.encode() + _AFTER_TABLE + key


def table_and_key(data: bytes) -> tuple[str, bytes]:
    """Return table and key of a changelog record's key.

    Raises: ValueError where it names no table.
    """
    table, found, key = data.partition(_AFTER_TABLE)
    if not found:
        raise ValueError(f"changelog key {data!r}: a table's name required")
    return table.decode(), key


def _rows_of(kind: TableKind) -> Rows[Any, Any]:
    if kind.window_s is None:
        return PartitionTable(kind.codec)
    return WindowedPartitionTable(kind.codec, round(kind.window_s * 1_000_000))


class LaneRows:
    """The tables of one partition, and how much of their changelog they include."""

    def __init__(self, kinds: Mapping[str, TableKind]) -> None:
        self.tables: dict[str, Any] = {name: _rows_of(kind) for name, kind in kinds.items()}
        """By name: a `PartitionTable`, or a `WindowedPartitionTable` where its kind has a window."""
        self.position = -1
        """Offset of the last changelog record that these rows include."""
        self._beginnings = [(changelog_key(name, b""), rows) for name, rows in self.tables.items()]

    def keep_on_disk(self, folder: Path, *, in_memory_max: int) -> None:
        """Hold no more than so many rows of each table in memory between two micro-batches, the rest in a folder."""
        for name, rows in self.tables.items():
            rows.keep_on_disk(folder / name, in_memory_max=in_memory_max)

    def close(self) -> None:
        """Give up the rows."""
        for rows in self.tables.values():
            rows.close()

    def take_changes(self) -> list[Message]:
        """Return the changelog records of all rows changed since the last call."""
        return [
            Message(beginning + key, value, [])
            for beginning, rows in self._beginnings
            for key, value in rows.take_changes()
        ]

    def restore(self, records: Iterable[ConsumerRecord]) -> None:
        """Apply changelog records; those that the rows include already are passed over.

        Raises: KeyError, ValueError where a record is of no table of this worker.
        """
        for record in records:
            if record.offset <= self.position or record.key is None:
                continue
            table, key = table_and_key(record.key)
            self.tables[table].restore(((key, record.value),))
            self.position = record.offset
