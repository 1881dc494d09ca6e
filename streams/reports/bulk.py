"""Most of a section's leaves thousands at once, put together with the lines of those that were read one by one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from streams.core.merkle import HASH_BYTES
from streams.reports.columns import table_of
from streams.reports.decided import DecidedReader
from streams.reports.executed import ExecutedReader
from streams.reports.fields import Values
from streams.reports.layout import RECORD_FILES
from streams.reports.leaves import ORDER_FILES, TRADE_EXECUTED
from streams.reports.rows import Lines, Places, Read
from streams.wire.avro import Schema, prefix
from streams.wire.decisions import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.reports.facts import Facts
    from streams.reports.layout import Extent
    from streams.reports.leaves import Selection

# Where an event's type is: the first byte after the framing, twice the type's place.
_KIND_AT: Final = len(prefix(Schema.AUDIT_EVENT))
_KINDS: Final = {kind: EVENT_TYPES.index(kind) << 1 for kind in (*ORDER_FILES, TRADE_EXECUTED)}
# Reading at once begins to pay where there are some hundreds.
_FEWEST: Final = 400


class BulkRead(NamedTuple):
    """When each leaf happened (microseconds UTC, -1 of one that was not read), the others' places, and the lines."""

    times_us: list[int]
    rest: list[int]
    lines: list[Lines]


class Merged(NamedTuple):
    """The lines of a record file, the index of each line's leaf, the lines as a table; why there is none."""

    lines: bytes
    owners: list[int]
    table: Any
    problem: str = ""


class BulkReader:
    """Reads the leaves of the usual kinds with a batch's facts."""

    def __init__(self, facts: Facts, selection: Selection, venues: set[str], markets: set[str]) -> None:
        self.fewest = _FEWEST
        """Of fewer leaves of a kind, each is read by itself."""
        decided, executed = DecidedReader(facts, selection, markets), ExecutedReader(selection, venues)
        self._readers: dict[str, Callable[[Values, Places], Read]] = {TRADE_EXECUTED: executed.read}
        for kind, file in ORDER_FILES.items():
            self._readers[kind] = partial(decided.read, file=file)

    def read(self, leaves: Sequence[bytes], extent: Extent, hashes: Sequence[bytes]) -> BulkRead:
        """Read a section's leaves that are as usual."""
        values, joined = Values.of(leaves), np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
        kinds = values.bytes_at(_KIND_AT)
        times_us, is_read, lines = np.full(len(leaves), -1), np.zeros(len(leaves), bool), list[Lines]()
        for kind, code in _KINDS.items():
            places = np.flatnonzero(kinds == code)
            if len(places) < max(self.fewest, 1):
                continue
            indexes = places + extent.start
            in_range = (indexes >= extent.first) & (indexes < extent.last)
            where = Places(extent.partition, indexes, joined[places], in_range)
            read = self._readers[kind](values.some(places), where)
            done = places[read.good]
            is_read[done], times_us[done] = True, read.times_us[read.good]
            lines += read.lines
        return BulkRead(times_us.tolist(), np.flatnonzero(~is_read).tolist(), lines)


def merge(file: int, bulk: Sequence[Lines], lines: Sequence[str], owners: Sequence[int]) -> Merged:
    """Put the lines of one record file in the order of their leaves; each leaf has one there at most."""
    name, plain = RECORD_FILES[file], "".join(lines).encode()
    parts = [part for part in bulk if part.file == file]
    try:
        tables = [*(part.table for part in parts), *([table_of(name, plain)] if lines else [])]
    except pa.ArrowException as error:
        return Merged(plain, list(owners), None, f"{name}: cannot be columns ({str(error)[:200]})")
    if not parts:
        return Merged(plain, list(owners), tables[0] if tables else None)
    if len(tables) == 1:
        ((_, places, texts, table),) = parts
        return Merged(_bytes_of(texts), places.tolist(), table.combine_chunks())
    places = np.concatenate([*(part.owners for part in parts), np.array(owners, np.int64)])
    order = np.argsort(places, kind="stable")
    texts = pa.concat_arrays([*(part.texts for part in parts), pa.array(lines, pa.string())]).take(pa.array(order))
    table = pa.concat_tables(tables).take(pa.array(order)).combine_chunks()
    return Merged(_bytes_of(texts), places[order].tolist(), table)


def _bytes_of(texts: Any) -> bytes:  # noqa: ANN401 - Arrow's arrays
    """Return texts one after the other."""
    _, cuts, data = texts.buffers()
    ends = np.frombuffer(cuts, np.int32)[texts.offset :][: len(texts) + 1]
    joined: bytes = data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return joined
