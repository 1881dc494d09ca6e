"""One section of a log: its leaves read, hashed and turned into lines, to write a batch or to check one.

A section's work needs nothing of the others, so sections are shared out among processes; what is left to do in order is
to put their roots together (`Join`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.core.merkle import Frontier, hash_leaf
from streams.reports.layout import RECORD_FILES, SECTION_BITS, SECTION_LEAVES, pack_item
from streams.reports.leaves import LeafReader
from streams.wire.avro import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.reports.facts import Facts
    from streams.reports.forms import Forms
    from streams.reports.leaves import Selection

# What a leaf that is none of ours raises, whatever its bytes.
UNREADABLE: Final = (DecodeError, KeyError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a section stands: its log, its first leaf, and which leaves of the log are in the batch's range."""

    partition: int
    start: int
    first: int
    last: int


@dataclass(slots=True)
class ReadSection:
    """What a section's leaves say: lines by file, with the place of each line's leaf; times; hashes; registrations."""

    lines: tuple[list[str], ...] = field(default_factory=lambda: tuple([] for _ in RECORD_FILES))
    owners: tuple[list[int], ...] = field(default_factory=lambda: tuple([] for _ in RECORD_FILES))
    times_us: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    registrations: list[tuple[int, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def blobs(self) -> tuple[bytes, ...]:
        """Return the lines of each file as they are written."""
        return tuple("".join(lines).encode() for lines in self.lines)


def read_section(leaves: Sequence[bytes], extent: Extent, reader: LeafReader) -> ReadSection:
    """Read a section's leaves; what cannot be read is a problem that names the leaf."""
    read = ReadSection()
    first, last = extent.first, extent.last
    times, hashes = read.times_us.append, read.hashes.append
    here = f"log {extent.partition} leaf"
    for index, leaf in enumerate(leaves, extent.start):
        try:
            place, lines, registration = reader.read(leaf)
        except UNREADABLE as error:
            read.problems.append(f"{here} {index}: cannot be read ({error})")
            times(-1)
            hashes(hash_leaf(leaf))
            continue
        times(place.event_time.us)
        hashes(place.leaf_sha256)
        if place.log_index != index or place.partition != extent.partition:
            read.problems.append(f"{here} {index}: says it is leaf {place.log_index} of log {place.partition}")
        if first <= index < last:
            for file, line in lines:
                read.lines[file].append(line)
                read.owners[file].append(index)
        if registration is not None:
            read.registrations.append((index, registration))
    return read


@dataclass(frozen=True, slots=True)
class MadeSection:
    """A section as it is written: bytes of leaves and lines, counts, the tree over it, registrations in it."""

    leaf_count: int
    leaf_blob: bytes
    blobs: tuple[bytes, ...]
    counts: tuple[int, ...]
    local: Frontier
    registrations: tuple[tuple[int, bytes], ...]
    problems: tuple[str, ...]
    markets: frozenset[str]


class SectionMaker:
    """Makes sections of one batch; one for each process."""

    def __init__(self, facts: Facts, selection: Selection, forms: Forms) -> None:
        self._reader = LeafReader(facts, selection)
        self._forms = forms

    def make(self, leaves: Sequence[bytes], extent: Extent, before: Frontier) -> MadeSection:
        """Return a section; `before` is the tree over the leaves of its 4,096 that the batch does not hold."""
        read = read_section(leaves, extent, self._reader)
        blobs = read.blobs()
        return MadeSection(
            leaf_count=len(leaves),
            leaf_blob=b"".join(map(pack_item, leaves)),
            blobs=blobs,
            counts=tuple(map(len, read.lines)),
            local=before.extend(read.hashes),
            registrations=tuple(read.registrations),
            problems=(*read.problems, *self._forms.check(blobs)),
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
