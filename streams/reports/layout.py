"""A batch's folder: its files, its manifest, and how a range of a log is proven.

For each log the batch holds the leaves from one checkpoint's size to a later one's, the frontier (the roots of the
complete subtrees) of everything before them, and the signed checkpoints in between. Frontier and leaves together give
the roots that the log has signed, so the leaves are these and no others, at these places; nothing before them need be
shown but the leaf before the first record, which must be outside the range, so that no record can be left out there.
At the other end the batch goes one leaf too far as well; where the log has none yet, it goes up to the newest
checkpoint, and what was appended within the range later shows in the next batch, which begins before it.

Leaves and records are cut into sections at multiples of 16,384 leaves. The manifest has the size of each section in
each file, so that sections are made and checked by as many processes as there are, each in the memory of one section.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FORMAT: Final = "portcullis-report-batch-3"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.note"
README: Final = "README.txt"
ORDERS: Final = "orders"
TRANSACTIONS: Final = "transactions"
REJECTED: Final = "rejected"
INCIDENTS: Final = "incidents"
EVENTS: Final = "events"
RECORD_FILES: Final = (ORDERS, TRANSACTIONS, REJECTED, INCIDENTS, EVENTS)
KEY_NAME: Final = "portcullis.local/reports"
CERTIFICATES: Final = "certificates"
REVOCATIONS: Final = "revocation-lists"
# A section's root is a node of every tree that holds it: sections are hashed apart and put together by their roots.
SECTION_BITS: Final = 14
SECTION_LEAVES: Final = 1 << SECTION_BITS

_LENGTH: Final = struct.Struct(">I")
_LEAF_BYTES_MAX: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024


class BatchError(PortcullisError):
    """A batch cannot be written or read; the text names the file."""


@dataclass(frozen=True, slots=True)
class Section:
    """How many leaves a section has, and its bytes in the leaves and in each record file."""

    leaves: int
    leaf_bytes: int
    record_bytes: tuple[int, ...]

    def as_list(self) -> list[int]:
        """Return it for the manifest."""
        return [self.leaves, self.leaf_bytes, *self.record_bytes]

    @classmethod
    def from_list(cls, numbers: list[int]) -> Section:
        """Read what `as_list` wrote. Raises: BatchError."""
        if len(numbers) != 2 + len(RECORD_FILES) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise BatchError(f"{MANIFEST}: a section needs {2 + len(RECORD_FILES)} numbers, is {numbers!r:.80}")
        return cls(numbers[0], numbers[1], tuple(numbers[2:]))


@dataclass(frozen=True, slots=True)
class LogRange:
    """What a batch holds of one log: leaves `[begin, end)` for the proof, of which `[first, last)` are in its range."""

    partition: int
    origin: str
    begin: int
    first: int
    last: int
    end: int
    sections: tuple[Section, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for the manifest."""
        plain = {name: getattr(self, name) for name in ("partition", "origin", "begin", "first", "last", "end")}
        return {**plain, "sections": [section.as_list() for section in self.sections]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LogRange:
        """Read what `as_dict` wrote. Raises: BatchError."""
        try:
            plain = {name: document[name] for name in ("partition", "begin", "first", "last", "end")}
            if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in plain.values()):
                raise BatchError(f"{MANIFEST}: places in a log are numbers, are {plain!r:.120}")
            sections = tuple(Section.from_list(numbers) for numbers in document["sections"])
            return cls(origin=str(document["origin"]), sections=sections, **plain)
        except (KeyError, TypeError) as error:
            raise BatchError(f"{MANIFEST}: a log's entry cannot be read ({error!r:.80})") from None


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a section stands: its log, its first leaf, and which leaves of the log are in the batch's range."""

    partition: int
    start: int
    first: int
    last: int


def section_size(index: int, end: int) -> int:
    """Return how many leaves the section from this leaf on has: up to a multiple of SECTION_LEAVES, or the end."""
    return min(((index >> SECTION_BITS) + 1 << SECTION_BITS), end) - index


def lines_file(name: str) -> str:
    """Return the name of a kind's records as JSON Lines."""
    return f"{name}.jsonl"


def columns_file(name: str) -> str:
    """Return the name of a kind's records as Parquet."""
    return f"{name}.parquet"


def leaves_file(partition: int) -> str:
    """Return the name of a log's leaves."""
    return f"audit/{partition}.leaves"


def frontier_file(partition: int) -> str:
    """Return the name of a log's frontier before the leaves."""
    return f"audit/{partition}.frontier"


def checkpoints_file(partition: int) -> str:
    """Return the name of a log's checkpoints."""
    return f"audit/{partition}.checkpoints"


def registrations_file(partition: int) -> str:
    """Return the name of a log's registrations from before the leaves: each a leaf and its proof."""
    return f"audit/{partition}.registrations"


def pack_items(items: Sequence[bytes]) -> bytes:
    """Return each item after its length in four bytes, big-endian."""
    heads = struct.pack(f">{len(items)}I", *map(len, items))
    pieces = [b""] * (2 * len(items))
    pieces[::2] = [heads[place : place + _LENGTH.size] for place in range(0, len(heads), _LENGTH.size)]
    pieces[1::2] = items
    return b"".join(pieces)


def write_item(file: BinaryIO, data: bytes) -> None:
    """Write what `pack_items` makes of one item."""
    file.write(pack_items((data,)))


def unpack_items(data: bytes) -> tuple[list[bytes], int]:
    """Return the whole items that these bytes begin with, and where they end."""
    items, place, end = list[bytes](), 0, len(data)
    read, add = _LENGTH.unpack_from, items.append
    while (start := place + _LENGTH.size) <= end:
        (size,) = read(data, place)
        next_place = start + size
        if next_place > end or size > _LEAF_BYTES_MAX:
            break
        add(data[start:next_place])
        place = next_place
    return items, place


def read_items(path: Path) -> Iterator[bytes]:
    """Yield what `write_item` wrote.

    Raises: BatchError where the file ends early or an item is too large.
    """
    rest = b""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                items, end = unpack_items(data := rest + block)
                yield from items
                rest = data[end:]
                if int.from_bytes(rest[: _LENGTH.size], "big") > _LEAF_BYTES_MAX:
                    break
    except OSError as error:
        raise BatchError(f"{path.name}: cannot be read ({error.strerror})") from None
    if rest:
        raise BatchError(f"{path.name}: ends within an item, or holds one over {_LEAF_BYTES_MAX} bytes")


def file_digest(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 in hexadecimal, and its size."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def manifest_text(manifest: bytes) -> bytes:
    """Return the text of the note that signs a manifest."""
    return f"{KEY_NAME}\n{FORMAT}\n{sha256(manifest).hexdigest()}\n".encode()
