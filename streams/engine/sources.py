"""What was fetched of one source topic's partition and waits to be decided."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from streams.engine.exits import EngineError, ExitCode

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from aiokafka.structs import ConsumerRecord
    from faust.types import TP

# As much as one verification thread takes at a time, and the loop is held between two yields.
CHUNK_RECORDS = 64
_PENDING_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """The records of one partition from one poll: all there are from offset `start` up to, not including, `end`.

    Between them may lie offsets without a record: transaction markers, aborted or compacted records. There may be no
    record at all.
    """

    tp: TP
    start: int
    end: int
    records: Sequence[ConsumerRecord]
    epoch: int
    more: bool = False
    """Whether the same poll brought more for the same lane: it decides when it has all."""


@dataclass(slots=True)
class Chunk:
    """Some consecutive records, their preparation, and the offset that follows them."""

    records: Sequence[ConsumerRecord]
    prepared: asyncio.Future[list[object]]
    end: int
    size_bytes: int


Prepare: TypeAlias = "Callable[[Sequence[ConsumerRecord]], asyncio.Future[list[object]]]"


class SourceQueue:
    """One topic's records on the way into a lane."""

    def __init__(self, urgency: int, *, chunk_records: int = CHUNK_RECORDS) -> None:
        self.urgency = urgency
        self._chunk_records = chunk_records
        self.taken = 0
        """Offset after the last record handed to a micro-batch."""
        self.committed: int | None = None
        """Offset that this process last committed."""
        self._where = ""
        self._next = 0
        self._chunks: deque[Chunk] = deque()
        self._records = 0
        self._bytes = 0

    def reset(self, offset: int, *, where: str) -> None:
        """Start at an offset.

        Raises:
            EngineError: this process's state is at another one.
        """
        if self._where and offset != self.taken:
            raise EngineError(
                ExitCode.POSITION_BROKEN,
                f"{where}: asked to go on at offset {offset}, this worker's state is at {self.taken}",
            )
        self.clear()
        self._where = where
        self._next = self.taken = offset

    def clear(self) -> None:
        """Forget what waits; it will be fetched again."""
        for chunk in self._chunks:
            chunk.prepared.cancel()
        self._chunks.clear()
        self._records = self._bytes = 0

    def room(self, records_max: int) -> int:
        """Return how many more records may be fetched."""
        return max(0, records_max - self._records) if self._bytes < _PENDING_BYTES_MAX else 0

    def put(self, batch: SourceBatch, prepare: Prepare) -> None:
        """Append fetched records.

        Raises:
            EngineError: they do not start where the ones before ended.
        """
        if batch.start != self._next:
            raise EngineError(
                ExitCode.POSITION_BROKEN,
                f"{self._where}: records from offset {batch.start} follow those up to {self._next};"
                " were records deleted by age before they were read?",
            )
        self._next = batch.end
        records = batch.records
        for first in range(0, len(records), self._chunk_records):
            piece = records[first : first + self._chunk_records]
            size = sum(record.serialized_value_size for record in piece)
            self._chunks.append(Chunk(piece, prepare(piece), piece[-1].offset + 1, size))
            self._records += len(piece)
            self._bytes += size
        if self._chunks:
            self._chunks[-1].end = batch.end
        else:
            self.taken = batch.end

    def take(self, records_max: int, into: list[Chunk]) -> int:
        """Move waiting chunks into a micro-batch, up to a number of records; return how many records."""
        count = 0
        while self._chunks and count + len(self._chunks[0].records) <= max(records_max, 0):
            chunk = self._chunks.popleft()
            into.append(chunk)
            count += len(chunk.records)
            self._bytes -= chunk.size_bytes
            self.taken = chunk.end
        self._records -= count
        return count
