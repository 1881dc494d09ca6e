"""One section of a log: its leaves read, hashed and turned into lines, to write a batch or to check one.

A section's work needs nothing of the others, so sections are shared out among processes; what is left to do in order is
to put their roots together (`Join`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from streams.core.merkle import Frontier
from streams.reports.layout import RECORD_FILES, SECTION_BITS, SECTION_LEAVES, Extent, pack_items
from streams.reports.leaves import LeafReader
from streams.wire.avro import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.reports.bulk import BulkReader
    from streams.reports.facts import Facts
    from streams.reports.forms import Forms
    from streams.reports.leaves import Selection

# What a leaf that is none of ours raises, whatever its bytes.
UNREADABLE: Final = (DecodeError, KeyError, ValueError, IndexError)


@dataclass(slots=True)
class ReadSection:
    """What a section's leaves say: by file the lines, the index of each line's leaf, and the lines as a table.

    A table is there for a file that has lines, where pyarrow is.
    """

    hashes: list[bytes]
    times_us: list[int]
    lines: list[bytes] = field(default_factory=list)
    owners: list[list[int]] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    registrations: list[tuple[int, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class SectionReader:
    """Reads sections with a batch's facts: most leaves thousands at once where pyarrow is, the others one by one."""

    def __init__(self, facts: Facts, selection: Selection) -> None:
        self._reader = LeafReader(facts, selection)
        # Whom the records name: codes of venues that reported, markets that orders went to.
        self.venues, self.markets = self._reader.venues, self._reader.markets
        self._bulk: BulkReader | None = None
        with suppress(ImportError):
            from streams.reports.bulk import BulkReader  # noqa: PLC0415 - a regulator may go without pyarrow

            self._bulk = BulkReader(facts, selection, self.venues, self.markets)

    def read(self, leaves: Sequence[bytes], extent: Extent) -> ReadSection:
        """Read a section's leaves; what cannot be read is a problem that names the leaf."""
        read = ReadSection([sha256(b"\x00" + leaf).digest() for leaf in leaves], [-1] * len(leaves))
        if self._bulk is None:
            plain = self._read_plainly(leaves, range(len(leaves)), extent, read)
            read.lines = ["".join(lines).encode() for lines, _ in plain]
            read.owners = [owners for _, owners in plain]
            read.tables = [None] * len(plain)
            return read
        from streams.reports.bulk import merge  # noqa: PLC0415 - see above

        bulk = self._bulk.read(leaves, extent, read.hashes)
        read.times_us = bulk.times_us
        for file, (lines, owners) in enumerate(self._read_plainly(leaves, bulk.rest, extent, read)):
            merged = merge(file, bulk.lines, lines, owners)
            read.lines.append(merged.lines)
            read.owners.append(merged.owners)
            read.tables.append(merged.table)
            read.problems += filter(None, [merged.problem])
        return read

    def _read_plainly(
        self, leaves: Sequence[bytes], places: Iterable[int], extent: Extent, read: ReadSection
    ) -> list[tuple[list[str], list[int]]]:
        """Read leaves one by one; return the lines of each file with the indexes of their leaves."""
        found = [(list[str](), list[int]()) for _ in RECORD_FILES]
        here = f"log {extent.partition} leaf"
        for offset in places:
            index = extent.start + offset
            try:
                place, lines, registration = self._reader.read(leaves[offset], read.hashes[offset])
            except UNREADABLE as error:
                read.problems.append(f"{here} {index}: cannot be read ({error})")
                continue
            read.times_us[offset] = place.event_time.us
            if place.log_index != index or place.partition != extent.partition:
                read.problems.append(f"{here} {index}: says it is leaf {place.log_index} of log {place.partition}")
            if extent.first <= index < extent.last:
                for file, line in lines:
                    found[file][0].append(line)
                    found[file][1].append(index)
            if registration is not None:
                read.registrations.append((index, registration))
        return found


@dataclass(frozen=True, slots=True)
class MadeSection:
    """A section as it is written: bytes of leaves and lines, tables, counts, its tree, registrations in it."""

    leaf_count: int
    leaf_blob: bytes
    lines: tuple[bytes, ...]
    tables: tuple[Any, ...]
    counts: tuple[int, ...]
    local: Frontier
    registrations: tuple[tuple[int, bytes], ...]
    problems: tuple[str, ...]
    markets: frozenset[str]


class SectionMaker:
    """Makes sections of one batch; one for each process."""

    def __init__(self, facts: Facts, selection: Selection, forms: Forms) -> None:
        self._reader = SectionReader(facts, selection)
        self._forms = forms

    def make(self, leaves: Sequence[bytes], extent: Extent, before: Frontier) -> MadeSection:
        """Return a section; `before` is the tree over the leaves of it that the batch does not hold."""
        read = self._reader.read(leaves, extent)
        return MadeSection(
            leaf_count=len(leaves),
            leaf_blob=pack_items(leaves),
            lines=tuple(read.lines),
            tables=tuple(read.tables),
            counts=tuple(map(len, read.owners)),
            local=before.extend(read.hashes),
            registrations=tuple(read.registrations),
            problems=(*read.problems, *self._forms.check(read.lines)),
            markets=frozenset(self._reader.markets),
        )


class Join:
    """Puts the trees of sections together, in order: complete sections by their roots, the last one leaf by leaf."""

    def __init__(self, before: Frontier) -> None:
        rest = before.size & SECTION_LEAVES - 1
        cut = len(before.hashes) - rest.bit_count()
        # The complete sections, counted in sections: what is above their roots is a tree like any other.
        self._whole = Frontier(before.size >> SECTION_BITS, before.hashes[:cut])
        self.part = Frontier(rest, before.hashes[cut:])

    def with_part(self, local: Frontier) -> Frontier:
        """Return the tree with the section that is being read as far as `local`."""
        if local.size == SECTION_LEAVES:
            whole = self._whole.append(local.hashes[0])
            return Frontier(whole.size << SECTION_BITS, whole.hashes)
        return Frontier((self._whole.size << SECTION_BITS) + local.size, self._whole.hashes + local.hashes)

    def add(self, local: Frontier) -> None:
        """Go on to the next section; `local` is the tree over this one."""
        if local.size == SECTION_LEAVES:
            self._whole, self.part = self._whole.append(local.hashes[0]), Frontier()
        else:
            self.part = local

    @property
    def tree(self) -> Frontier:
        """The tree over everything added."""
        return self.with_part(self.part)
