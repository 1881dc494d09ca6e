"""Checking one section of a batch: its leaves are read again, and each line is held against what its leaf says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.reports.forms import Forms
from streams.reports.layout import RECORD_FILES, columns_file, leaves_file, lines_file, unpack_items
from streams.reports.sections import SectionReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streams.core.merkle import Frontier
    from streams.reports.columns import ColumnsFile
    from streams.reports.facts import Facts
    from streams.reports.layout import Extent
    from streams.reports.leaves import Selection
    from streams.reports.sections import ReadSection

_PROBLEMS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which bytes of a batch's files a section is: offset and size in the leaves, and in each record file."""

    extent: Extent
    leaves: int
    leaf_span: tuple[int, int]
    record_spans: tuple[tuple[int, int], ...]
    groups: tuple[int, ...]
    """The number of each record file's row group in Parquet; of a file that has no records here, of the next one."""
    before: Frontier
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CheckedSection:
    """What a section turned out to be: the trees at the sizes asked for and at its end; problems, each of a file.

    With each tree goes when its last leaf happened (microseconds UTC, -1 where nobody can say).

    ``differing`` says at which leaf a record file parts from what the leaves say, by file, and ``differing_columns``
    at which a Parquet file does.
    """

    extent: Extent
    leaves: int
    records: int
    trees: tuple[tuple[int, Frontier, int], ...]
    local: Frontier
    registrations: tuple[tuple[int, bytes], ...]
    problems: tuple[str, ...]
    differing: tuple[tuple[int, str], ...]
    differing_columns: tuple[tuple[int, str], ...]
    venues: frozenset[str]


class SectionChecker:
    """Checks sections of one batch; one for each process."""

    def __init__(self, folder: Path, facts: Facts, selection: Selection, span_us: tuple[int, int]) -> None:
        self._folder = folder
        self._reader = SectionReader(facts, selection)
        self._span_us = span_us
        self._forms = Forms()
        self._columns: tuple[ColumnsFile, ...] = ()
        with suppress(ImportError):
            from streams.reports.columns import ColumnsFile  # noqa: PLC0415 - a regulator may go without pyarrow

            self._columns = tuple(ColumnsFile(name, folder / columns_file(name)) for name in RECORD_FILES)

    def check(self, asked: Asked) -> CheckedSection:
        """Return what a section is; it has as many leaves as were asked for, or a problem says so."""
        extent, problems = asked.extent, list[str]()
        file = leaves_file(extent.partition)
        leaf_bytes = _read(self._folder, file, *asked.leaf_span)
        leaves, end = unpack_items(leaf_bytes)
        next_leaf = f"log {extent.partition} leaf {extent.start + len(leaves)}"
        if end < len(leaf_bytes):
            problems.append(f"{next_leaf}: cut off in {file}, or its length is another")
        elif len(leaves) != asked.leaves:
            problems.append(f"{next_leaf}: {asked.leaves} leaves in {file} from {extent.start} on, not {len(leaves)}")
        read = self._reader.read(leaves, extent)
        problems += [*read.problems, *self._left_out(read, extent), *self._forms.check(read.lines)]
        differing = []
        for number, (name, lines) in enumerate(zip(RECORD_FILES, read.lines, strict=True)):
            stored = _read(self._folder, lines_file(name), *asked.record_spans[number])
            if stored != lines:
                differing += [(number, text) for text in _differences(name, extent, read, number, stored)]
        trees, tree, done = [], asked.before, 0
        for size in asked.sizes:
            tree, done = tree.extend(read.hashes[done : size - extent.start]), size - extent.start
            trees.append((size, tree, read.times_us[done - 1] if done <= len(leaves) else -1))
        return CheckedSection(
            extent,
            len(leaves),
            sum(map(len, read.owners)),
            tuple(trees),
            tree.extend(read.hashes[done:]),
            tuple(read.registrations),
            tuple(problems),
            tuple(differing),
            tuple(self._differing_columns(read, extent, asked.groups)),
            frozenset(self._reader.venues),
        )

    def _differing_columns(self, read: ReadSection, extent: Extent, groups: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Name the first record of each Parquet file that is not what its leaf says."""
        for number, (columns, table) in enumerate(zip(self._columns, read.tables, strict=bool(self._columns))):
            row = None if table is None else columns.difference(groups[number], table)
            if row is not None:
                owner = read.owners[number][min(row, len(read.owners[number]) - 1)]
                where = f"{columns_file(RECORD_FILES[number])}: the record of log {extent.partition} leaf {owner}"
                yield number, f"{where} is not what the leaf says"

    def _left_out(self, read: ReadSection, extent: Extent) -> list[str]:
        """Name the leaves that are in the batch's range by their time, and not in its records by their place."""
        low, high = self._span_us
        outside = [*range(extent.start, min(extent.first, extent.start + len(read.times_us)))]
        outside += range(max(extent.last, extent.start), extent.start + len(read.times_us))
        return [
            f"log {extent.partition} leaf {index}: in the range, but left out of the records"
            for index in outside
            if low <= read.times_us[index - extent.start] < high
        ]


def _differences(name: str, extent: Extent, read: ReadSection, number: int, stored: bytes) -> list[str]:
    """Name the records of a file that are not what their leaves say."""
    ours, theirs = (data.splitlines(keepends=True) for data in (read.lines[number], stored))
    owners = read.owners
    where = f"{lines_file(name)}: the record of log {extent.partition} leaf"
    if len(ours) == len(theirs):
        places = [place for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
        return [f"{where} {owners[number][place]} is not what the leaf says" for place in places[:_PROBLEMS_MAX]]
    place = next((p for p, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    if place < len(ours):
        return [f"{where} {owners[number][place]} is missing, or another stands in its place"]
    return [
        f"{lines_file(name)}: a record more than the leaves of log {extent.partition} make, after leaf {extent.start}"
    ]


def _read(folder: Path, name: str, offset: int, size: int) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        # The list of files says what is wrong with it.
        return b""
