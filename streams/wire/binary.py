"""Avro's primitive encodings for the records written once per order. Source: Avro 1.12, Binary encoding."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

NULL: Final = b"\x00"
VALUE: Final = b"\x02"  # the second branch of ["null", T]

_SMALL_MAX: Final = 8192
_DOUBLE: Final = struct.Struct("<d")


def _varint(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


_SMALL: Final = tuple(_varint(number) for number in range(_SMALL_MAX))


@lru_cache(8192)
def write_time(moment_us: int) -> bytes:
    """Return a long that many records share, as a batch's decision time."""
    return _varint(moment_us)


def write_long(number: int) -> bytes:
    """Return an int or long."""
    return _SMALL[number] if 0 <= number < _SMALL_MAX else _varint(number)


def write_bytes(data: bytes) -> bytes:
    """Return bytes with their length."""
    return write_long(len(data)) + data


@lru_cache(65536)
def write_name(text: str) -> bytes:
    """Return a string that many records share: an identifier, a code."""
    return write_text(text)


def write_text(text: str) -> bytes:
    """Return a string with its length."""
    data = text.encode()
    return write_long(len(data)) + data


def write_decimal(value: int) -> bytes:
    """Return a decimal: two's complement, big-endian, with its length."""
    size = (value + (value < 0)).bit_length() // 8 + 1
    return _SMALL[size] + value.to_bytes(size, "big", signed=True)


def write_double(value: float) -> bytes:
    """Return a double."""
    return _DOUBLE.pack(value)
