"""Avro's primitive encodings for the records written once per order. Source: Avro 1.12, Binary encoding."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

NULL: Final = b"\x00"
VALUE: Final = b"\x02"  # the second branch of ["null", T]

# Numbers are put together from two seven-bit groups at a time, so that an offset takes two steps and a time four.
_PAIR: Final = 1 << 14
_SMALL_MAX: Final = _PAIR >> 1


def _groups(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_LAST: Final = tuple(_groups(number) for number in range(_PAIR))
_MORE: Final = tuple(bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(_PAIR))
_SMALL: Final = _LAST[::2]


def write_long(number: int) -> bytes:
    """Return an int or long."""
    if 0 <= number < _SMALL_MAX:
        return _SMALL[number]
    zigzag = number << 1 if number >= 0 else (-number << 1) - 1
    out = b""
    while zigzag >= _PAIR:
        out += _MORE[zigzag & 0x3FFF]
        zigzag >>= 14
    return out + _LAST[zigzag]


# A long that many records share, as a batch's decision time.
write_time: Final = lru_cache(8192)(write_long)


def write_bytes(data: bytes) -> bytes:
    """Return bytes with their length."""
    return write_long(len(data)) + data


def write_text(text: str) -> bytes:
    """Return a string with its length."""
    data = text.encode()
    return write_long(len(data)) + data


# A string that many records share: an identifier, a code.
write_name: Final = lru_cache(65536)(write_text)


def write_decimal(value: int) -> bytes:
    """Return a decimal: two's complement, big-endian, with its length."""
    size = (value + (value < 0)).bit_length() // 8 + 1
    return _SMALL[size] + value.to_bytes(size, "big", signed=True)


# A double.
write_double: Final = struct.Struct("<d").pack
