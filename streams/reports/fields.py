"""Finding fields of many Avro values at once: one step of NumPy for a field of all of them. Owner of numpy.

Avro writes a record's fields one after the other, so whoever knows where a field begins in each value knows where the
next one does. A walk over the schema takes all values along: a number is read from eight bytes at once, a text is its
length and a jump. It makes no objects, so a decision in its event takes half a microsecond where a decoder takes 25.
What it does not know (a long text, one that is not ASCII, a number of nine bytes, a map in another order) makes that
value not ``good``, and the caller decodes it as usual. A property test holds what is found against the decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from streams.wire.avro import Schema, prefix, schema_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TEXT_BYTES_MAX: Final = 127
_ITEMS_MAX: Final = 64
# So that a section's leaves (SECTION_LEAVES) have less than the 2 GB within which Arrow's texts begin and end.
_VALUE_BYTES_MAX: Final = 1 << 16
# Eight bytes can be read at any place of a value.
_PAD: Final = 16
_CONTINUED: Final = np.uint64(0x8080808080808080)
_PAYLOAD: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE: Final = np.uint64(1)
_WORD_BYTES: Final = 8
_ONE_BYTE_MAX: Final = 0x7F
# Eight bytes of bits, read from the byte in which one stands, show at least so many from that one on.
_BITS_SEEN: Final = 57
_FIRST_BITS: Final = np.array([(1 << count) - 1 for count in range(_BITS_SEEN + 1)], np.uint64)
_OF_ONE_BYTE: Final = np.array([byte >> 1 ^ -(byte & 1) for byte in range(256)], np.int64)
# Groups of seven bits become groups of 14, of 28, of 56: which bits stay, which move, and by how many places.
_JOINS: Final = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(places))
    for low, high, places in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
_FIXED: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class Column(NamedTuple):
    """A field of all values: numbers (of an enum its places), or where its bytes begin and end; whether it is there."""

    numbers: Any
    start: Any
    end: Any
    present: Any


class Found:
    """What was found: columns by path, items of arrays by path, and which values could be read."""

    def __init__(self, data: bytes, good: Any, columns: dict[str, Column], items: dict[str, list[Found]]) -> None:  # noqa: ANN401 - NumPy's arrays
        self.data = data
        self.good = good
        self.items = items
        self._columns = columns

    def __getitem__(self, path: str) -> Column:
        return self._columns[path]

    def rows(self, chosen: Any) -> Found:  # noqa: ANN401 - NumPy's arrays
        """Return what was found of some of the values, by their places."""
        columns = {path: Column(*(part[chosen] for part in column)) for path, column in self._columns.items()}
        items = {path: [item.rows(chosen) for item in found] for path, found in self.items.items()}
        return Found(self.data, self.good[chosen], columns, items)


class Values(NamedTuple):
    """Values one after the other, with some bytes more than there are at the end, and where each begins and ends.

    ``odd``: a bit for each byte that is not ASCII.
    """

    data: bytes
    starts: Any
    ends: Any
    odd: Any

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Values:
        """Put values together; one that is too long for a field to be found in it stands there as an empty one."""
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        if sizes.max(initial=0) > _VALUE_BYTES_MAX:
            return cls.of([value if len(value) <= _VALUE_BYTES_MAX else b"" for value in values])
        ends = np.cumsum(sizes)
        data = b"".join((*values, bytes(_PAD)))
        odd = np.zeros((len(data) + 7 >> 3) + _WORD_BYTES, np.uint8)
        odd[:-_WORD_BYTES] = np.packbits(np.frombuffer(data, np.uint8) > _ONE_BYTE_MAX, bitorder="little")
        return cls(data, ends - sizes, ends, odd)

    def some(self, places: Any) -> Values:  # noqa: ANN401 - NumPy's arrays
        """Return the values at these places."""
        return self._replace(starts=self.starts[places], ends=self.ends[places])

    def bytes_at(self, offset: int) -> Any:  # noqa: ANN401 - NumPy's arrays
        """Return each value's byte at this offset, 255 where it is too short."""
        found = np.frombuffer(self.data, np.uint8)[np.minimum(self.starts + offset, len(self.data) - 1)]
        return np.where(self.ends - self.starts > offset, found, 0xFF)


def words_of(data: Any, kind: str) -> Any:  # noqa: ANN401 - NumPy's arrays
    """Return the eight bytes that begin at each place of some bytes, as integers of a kind."""
    return np.ndarray((len(data) - _WORD_BYTES + 1,), kind, data, 0, (1,))


class FieldFinder:
    """Finds fields of one schema's framed values, named by path: "verdict.order.symbol".

    ``opened``: fields of type bytes that hold a value of another schema, framed or a bare body. ``maps``: maps of texts
    whose keys are these, in this order; each of their values is found as "details.name". An array of records that is
    asked for is found as items, in each of them its own fields.
    """

    def __init__(
        self,
        schema: Schema,
        wanted: Sequence[str],
        *,
        opened: Mapping[str, tuple[Schema, bool]] | None = None,
        maps: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._schema = schema
        self.wanted = frozenset(wanted)
        self.opened = opened or {}
        self.maps = maps or {}

    def asks(self, path: str) -> bool:
        """Say whether a field, or one within it, is wanted."""
        return any(name == path or name.startswith(f"{path}.") for name in self.wanted)

    def find(self, values: Values) -> Found:
        """Return the fields of these values."""
        walk = _Walk(self, values)
        walk.constant(prefix(self._schema))
        walk.record("", schema_document(self._schema)["fields"])
        walk.require(walk.at == values.ends)
        for item in (item for items in walk.items.values() for item in items):
            item.good = item.good & walk.good
        return Found(values.data, walk.good, walk.columns, walk.items)


class _Walk:
    """One walk over a schema: where each value is being read, and which can no longer be."""

    def __init__(self, finder: FieldFinder, values: Values) -> None:
        self._finder = finder
        data, at = values.data, values.starts
        self._data = data
        self._odd = words_of(values.odd, "<u8")
        self._bytes = np.frombuffer(data, np.uint8)
        self._words = words_of(data, "<u8")
        self._last = len(self._words) - 1
        self._everywhere = np.ones(len(at), bool)
        self._present = self._everywhere
        self.at = at
        self.good = np.ones(len(at), bool)
        self.columns: dict[str, Column] = {}
        self.items: dict[str, list[Found]] = {}

    def require(self, holds: Any) -> None:  # noqa: ANN401 - NumPy's arrays
        """Give up the values for which something does not hold."""
        self.good &= holds | ~self._present

    def constant(self, expected: bytes) -> None:
        """Step over bytes that are known."""
        for cut in range(0, len(expected), _WORD_BYTES):
            piece = expected[cut : cut + _WORD_BYTES]
            word = self._words[np.minimum(self.at, self._last)] & np.uint64((1 << 8 * len(piece)) - 1)
            self.require(word == np.uint64(int.from_bytes(piece, "little")))
            self.at = self.at + len(piece)

    def record(self, path: str, fields: Sequence[Mapping[str, Any]]) -> None:
        """Step over a record's fields."""
        for field in fields:
            self._value(f"{path}{field['name']}", field["type"])

    def _value(self, path: str, kind: Any) -> None:  # noqa: ANN401 - a schema is any JSON
        if isinstance(kind, list):
            self._union(path, kind)
        elif path in self._finder.opened:
            self._inner(path)
        elif path in self._finder.maps:
            self._named_texts(path)
        elif isinstance(kind, dict) and "logicalType" not in kind:
            self._COMPOUND[kind["type"]](self, path, kind)
        else:
            self._primitive(path, kind["type"] if isinstance(kind, dict) else kind)

    def _primitive(self, path: str, kind: str) -> None:
        begin = self.at
        if kind in ("int", "long"):
            self._keep(path, begin, self._number())
        elif kind in _FIXED:
            self.at = begin + _FIXED[kind]
        else:
            start, end = self._text() if kind == "string" else self._blob()
            self._keep(path, start, end=end)

    def _union(self, path: str, kinds: Sequence[Any]) -> None:
        branch = self._number()
        self.require((branch >= 0) & (branch < len(kinds)))
        before, began = self._present, self.at
        for place, kind in enumerate(kinds):
            if kind == "null":
                continue
            self._present = before & (branch == place)
            if not (self._present.any() or self._finder.asks(path)):
                continue
            self.at = began
            self._value(path, kind)
            began = np.where(self._present, self.at, began)
        self._present, self.at = before, began

    def _inner(self, path: str) -> None:
        schema, framed = self._finder.opened[path]
        size = self._number()
        end = self.at + size
        if framed:
            self.constant(prefix(schema))
        self.record(f"{path}.", schema_document(schema)["fields"])
        self.require(self.at == end)

    def _named_texts(self, path: str) -> None:
        names = self._finder.maps[path]
        self.require(self._number() == len(names))
        for name in names:
            self.require(self._number() == len(name))
            self.constant(name.encode())
            self._primitive(f"{path}.{name}", "string")
        self.require(self._number() == 0)

    def _enum(self, path: str, kind: Mapping[str, Any]) -> None:
        begin, place = self.at, self._number()
        self.require((place >= 0) & (place < len(kind["symbols"])))
        self._keep(path, begin, place)

    def _nested(self, path: str, kind: Mapping[str, Any]) -> None:
        self.record(f"{path}.", kind["fields"])

    def _array(self, path: str, kind: Mapping[str, Any]) -> None:
        self._repeat(path, lambda: self._value(path, kind["items"]))

    def _map(self, path: str, kind: Mapping[str, Any]) -> None:
        def entry() -> None:
            self._text()
            self._value(path, kind["values"])

        self._repeat(path, entry)

    def _repeat(self, path: str, item: Callable[[], None]) -> None:
        """Step over a block of items and the end after it; what is in each of them is kept apart."""
        count = self._number()
        self.require((count >= 0) & (count <= _ITEMS_MAX))
        before, columns, found = self._present, self.columns, list[Found]()
        wanted = self._present & self.good
        for place in range(int(count[wanted].max(initial=0))):
            self._present, self.columns, began = wanted & (count > place), {}, self.at
            item()
            self.at = np.where(self._present, self.at, began)
            found.append(Found(self._data, self._present, self.columns, {}))
        self._present, self.columns = before, columns
        self.items[path] = found
        began = self.at
        more = self._present & (count > 0)
        self.good &= ~more | (self._number() == 0)
        self.at = np.where(more, self.at, began)

    def _keep(self, path: str, start: Any, numbers: Any = None, end: Any = None) -> None:  # noqa: ANN401 - arrays
        if path in self._finder.wanted:
            self.columns[path] = Column(
                start if numbers is None else numbers, start, self.at if end is None else end, self._present
            )

    def _text(self) -> tuple[Any, Any]:
        """Step over a text; one that is not ASCII is left to the decoder, which says whether it is one at all."""
        start, end = self._blob()
        self.require(self._is_ascii(start, end - start))
        return start, end

    def _is_ascii(self, start: Any, size: Any) -> Any:  # noqa: ANN401 - NumPy's arrays
        """Say of which pieces all bytes are ASCII; one look shows 57 of them at least."""
        begin = np.minimum(start, self._last)
        bits = self._odd[begin >> 3] >> (begin & 7).view(np.uint64)
        holds = bits & _FIRST_BITS[np.minimum(size, _BITS_SEEN)] == 0
        longer = np.flatnonzero(size > _BITS_SEEN)
        if len(longer):
            holds[longer] &= self._is_ascii(start[longer] + _BITS_SEEN, size[longer] - _BITS_SEEN)
        return holds

    def _blob(self) -> tuple[Any, Any]:
        size = self._number()
        self.require((size >= 0) & (size <= TEXT_BYTES_MAX))
        start = self.at
        self.at = start + (size & TEXT_BYTES_MAX)
        return start, self.at

    def _number(self) -> Any:  # noqa: ANN401 - NumPy's arrays
        """Read a number of up to eight bytes, seven bits in each; most have one."""
        begin = np.minimum(self.at, self._last)
        first = self._bytes[begin]
        number = _OF_ONE_BYTE[first]
        self.at = self.at + 1
        longer = np.flatnonzero(first > _ONE_BYTE_MAX)
        if len(longer):
            number[longer], sizes = self._long_numbers(begin[longer], longer)
            self.at[longer] += sizes - 1
        return number

    def _long_numbers(self, begin: Any, rows: Any) -> tuple[Any, Any]:  # noqa: ANN401 - NumPy's arrays
        """Read the numbers of some of the values, and how many bytes each has."""
        word = self._words[begin]
        ends = ~word & _CONTINUED
        self.good[rows] &= (ends != 0) | ~self._present[rows]
        below = (ends & (~ends + _ONE)) - _ONE
        sizes = np.bitwise_count(below).astype(np.int64) + 1 >> 3
        word = word & below & _PAYLOAD
        for low, high, places in _JOINS:
            word = (word & low) | ((word & high) >> places)
        return (word >> _ONE).view(np.int64) ^ -(word & _ONE).view(np.int64), sizes

    _COMPOUND: Final[dict[str, Callable[[_Walk, str, Mapping[str, Any]], None]]] = {
        "record": _nested,
        "enum": _enum,
        "array": _array,
        "map": _map,
    }
