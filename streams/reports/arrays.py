"""What `FieldFinder` found as Arrow's columns, and columns as text, spelled as single values are."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.merkle import HASH_BYTES
from streams.core.orders import decimal_text
from streams.reports.fields import words_of
from streams.wire.regulatory import LAST_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from streams.reports.fields import Found

PRECISION: Final = 38
# 38 digits need a little more than 15 bytes: longer ones are left to the decoder.
_DECIMAL_BYTES_MAX: Final = 15
_DECIMAL_BYTES: Final = 16
_WORD_BYTES: Final = 8
_WORD_BITS: Final = 64
# What JSON writes as it is: ASCII from the space on, without quotation mark, backslash and delete.
_ESCAPED: Final = np.array([not 0x20 <= byte < 0x7F or byte in b'"\\' for byte in range(256)])
_NO_DIGIT: Final = np.array([not 0x30 <= byte <= 0x39 for byte in range(256)])
# As many as a moment in microseconds may have.
_DIGITS_MAX: Final = 17
# A moment as text, and where its numbers of two digits stand: the last of them the last two digits of the microsecond.
_MOMENT: Final = np.frombuffer(b"0001-01-01T00:00:00.000000Z", np.uint8)
_DAY_CHARS: Final = 10
_PAIRS_AT: Final = ((24, 100), (22, 100), (20, 100), (17, 60), (14, 60), (11, 24))
_PAIRS: Final = np.frombuffer("".join(f"{number:02d}" for number in range(100)).encode(), np.uint8).reshape(100, 2)


def texts_of(found: Found, path: str) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return a field's bytes, null where it is not there or its value could not be read."""
    column = found[path]
    present = column.present & found.good
    rows = np.flatnonzero(present)
    cuts = np.empty(2 * len(rows), np.int32)
    cuts[0::2], cuts[1::2] = column.start[rows], column.end[rows]
    buffers = [None, pa.py_buffer(cuts), pa.py_buffer(found.data)]
    # Every second of the pieces between the cuts is a value; nothing where there is none.
    pieces = pa.Array.from_buffers(pa.binary(), max(len(cuts) - 1, 0), buffers)
    if len(rows) == len(present):
        return pieces.take(pa.array(np.arange(0, len(cuts), 2)))
    places = np.zeros(len(present), np.int64)
    places[rows] = np.arange(0, len(cuts), 2)
    return pieces.take(pa.array(places, mask=~present))


def numbers_of(found: Found, path: str) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return a number, or of an enum its place; null where it is not there."""
    column = found[path]
    return pa.array(column.numbers, mask=~column.present)


def decimals_of(found: Found, path: str, scale: int) -> tuple[Any, Any]:
    """Return a decimal as Arrow has it, and for which values that is possible."""
    column = found[path]
    size = column.end - column.start
    fits = (size >= 1) & (size <= _DECIMAL_BYTES_MAX)
    size = np.clip(size, 1, _DECIMAL_BYTES_MAX)
    ends = np.clip(column.end, 2 * _WORD_BYTES, len(found.data) - _WORD_BYTES)
    words = words_of(found.data, ">i8")
    low = words[ends - _WORD_BYTES].astype(np.int64)
    high = words[ends - 2 * _WORD_BYTES].astype(np.int64)
    # What stands before the number is shifted out; its sign comes in from the left.
    short = _WORD_BITS - 8 * np.minimum(size, _WORD_BYTES)
    narrow = size <= _WORD_BYTES
    low = np.where(narrow, (low << short) >> short, low)
    shift = np.where(narrow, 0, 2 * _WORD_BITS - 8 * size)
    high = np.where(narrow, low >> _WORD_BITS - 1, (high << shift) >> shift)
    buffer = pa.py_buffer(np.ascontiguousarray(np.stack((low, high), axis=1)))
    whole = pa.Array.from_buffers(pa.decimal128(PRECISION, scale), len(low), [None, buffer])
    return pc.if_else(pa.array(column.present), whole, None), fits | ~column.present


def is_plain(texts: Any) -> Any:  # noqa: ANN401 - Arrow's and NumPy's arrays
    """Say of each text whether JSON has it as it is."""
    return _without(texts, _ESCAPED)


def is_number(texts: Any) -> Any:  # noqa: ANN401 - Arrow's and NumPy's arrays
    """Say of each text whether it is a whole number as it is written: digits, no zero before them."""
    texts = pc.fill_null(texts, b"")
    digits = _without(texts, _NO_DIGIT)
    sizes = np.asarray(pc.binary_length(texts))
    zero = np.asarray(pc.starts_with(texts, b"0")) & (sizes > 1)
    return digits & (sizes > 0) & (sizes <= _DIGITS_MAX) & ~zero


def is_time(found: Found, path: str) -> Any:  # noqa: ANN401 - NumPy's arrays
    """Say of each number whether a calendar has it as a moment (microseconds UTC)."""
    column = found[path]
    return column.present & (column.numbers >= 0) & (column.numbers <= LAST_US)


def time_texts(times_us: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return moments that a calendar has as `date_time_text` writes them; Arrow's own texts take ten times as long."""
    texts = np.tile(_MOMENT, (len(times_us), 1))
    rest = np.asarray(times_us)
    for place, count in _PAIRS_AT:
        rest, number = np.divmod(rest, count)
        texts[:, place : place + 2] = _PAIRS[number]
    days, which = np.unique(rest, return_inverse=True)
    names = days.astype("M8[D]").astype(f"S{_DAY_CHARS}").view(np.uint8).reshape(-1, _DAY_CHARS)
    texts[:, :_DAY_CHARS] = names[which]
    return _rows_as_texts(texts)


def time_column(times_us: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return moments as Arrow's."""
    return times_us.cast(pa.timestamp("us", tz="UTC"))


def decimal_column(values: Iterable[int], scale: int) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return integers as decimals with their point moved."""
    data = b"".join(value.to_bytes(_DECIMAL_BYTES, "little", signed=True) for value in values)
    return pa.Array.from_buffers(
        pa.decimal128(PRECISION, scale), len(data) // _DECIMAL_BYTES, [None, pa.py_buffer(data)]
    )


def short_decimals(numbers: Any, scale: int) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return numbers of at most 17 digits, of which none is missing, as decimals with their point moved."""
    low = np.asarray(numbers)
    words = np.stack((low, low >> _WORD_BITS - 1), axis=1)
    return pa.Array.from_buffers(pa.decimal128(_DIGITS_MAX, scale), len(low), [None, pa.py_buffer(words.reshape(-1))])


def integers(decimals: Any) -> list[int]:  # noqa: ANN401 - Arrow's arrays
    """Return decimals, of which none is missing, as integers."""
    data = decimals.buffers()[1].to_pybytes()[_DECIMAL_BYTES * decimals.offset :]
    cuts = range(0, _DECIMAL_BYTES * len(decimals), _DECIMAL_BYTES)
    return [int.from_bytes(data[cut : cut + _DECIMAL_BYTES], "little", signed=True) for cut in cuts]


def decimal_texts(decimals: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return decimals as `decimal_text` writes them."""
    scale = decimals.type.scale
    words = np.frombuffer(decimals.buffers()[1], np.int64)[2 * decimals.offset :][: 2 * len(decimals)]
    low, high = words[0::2], words[1::2]
    wide = ((high != 0) | (low < 0)) & np.asarray(decimals.is_valid())
    numbers = np.where((high != 0) | (low < 0), 0, low)
    whole, rest = np.divmod(numbers, 10**scale)
    fraction = pc.binary_replace_slice(pa.array(rest + 10**scale).cast(pa.string()), 0, 1, ".")
    joined = pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), pc.ascii_rtrim(fraction, "0"), "")
    texts = pc.ascii_rtrim(joined, ".")
    if wide.any():
        large = [decimal_text(value, scale) for value in integers(decimals.filter(pa.array(wide)))]
        texts = pc.replace_with_mask(texts, pa.array(wide), pa.array(large, pa.string()))
    return pc.if_else(decimals.is_valid(), texts, None)


class Quoted(NamedTuple):
    """Texts that JSON has as they are: JSON but for the quotation marks."""

    texts: Any


def quoted(texts: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return texts that JSON has as they are as JSON."""
    return pc.binary_join_element_wise('"', texts, '"', "")


def or_null(texts: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return JSON, with JSON's null where there is none."""
    return pc.fill_null(texts, "null")


def hex_texts(digests: Any) -> Any:  # noqa: ANN401 - NumPy's and Arrow's arrays
    """Return hashes, each a row of bytes, in hexadecimal."""
    joined = np.frombuffer(digests.tobytes().hex().encode(), np.uint8)
    return _rows_as_texts(joined.reshape(len(digests), 2 * HASH_BYTES))


def _rows_as_texts(rows: Any) -> Any:  # noqa: ANN401 - NumPy's and Arrow's arrays
    """Return rows of characters, all of one length, as texts."""
    count, size = rows.shape
    cuts = np.arange(count + 1, dtype=np.int32) * size
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(cuts), pa.py_buffer(rows.reshape(-1))])


class Told(NamedTuple):
    """What a function says of each key: as JSON, and its members as columns."""

    json: Any
    columns: dict[str, Any]


def tell(keys: Any, says: Callable[[Any], str], *, at: str | None = None) -> Told:  # noqa: ANN401 - Arrow's arrays
    """Ask a function once for each key there is; ``at``: it says members, which become columns under this path."""
    coded = keys.dictionary_encode()
    said = [says(key) for key in coded.dictionary.to_pylist()]
    columns = {}
    if at is not None:
        flat = [dict(_flat(at, orjson.loads(f"{{{members}}}"))) for members in said]
        for path in dict.fromkeys(path for each in flat for path in each):
            columns[path] = pa.array([each.get(path) for each in flat]).take(coded.indices)
    return Told(pa.array(said, pa.string()).take(coded.indices), columns)


def _flat(before: str, members: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in members.items():
        if isinstance(value, dict):
            yield from _flat(f"{before}{key}.", value)
        else:
            yield f"{before}{key}", value


def fill(template: str, parts: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Put columns into a template as `str.format` puts values; null where one of them is."""
    pieces = [""]
    for literal, name, _, _ in Formatter().parse(template):
        part = parts[name] if name else ""
        for piece in (literal, '"', part.texts, '"') if isinstance(part, Quoted) else (literal, part):
            # Neighbours that are the same in every row become one.
            if isinstance(piece, str) and isinstance(pieces[-1], str):
                pieces[-1] += piece
            else:
                pieces.append(piece)
    return pc.binary_join_element_wise(*pieces, "")


def _without(texts: Any, unwanted: Any) -> Any:  # noqa: ANN401 - Arrow's and NumPy's arrays
    """Say of each text whether it has none of these bytes."""
    _, cuts, data = texts.buffers()
    if data is None or not len(texts):
        return np.ones(len(texts), bool)
    ends = np.frombuffer(cuts, np.int32)[texts.offset :][: len(texts) + 1]
    found = unwanted[np.frombuffer(data, np.uint8)[: ends[-1]]]
    if not found.any():
        return np.ones(len(texts), bool)
    before = np.concatenate(([0], np.cumsum(found)))
    return before[ends[1:]] == before[ends[:-1]]
