"""Load files: signed messages written once and sent many times, streamed so that a million need no memory.

Layout: the magic line, then per message three parts, each after its length in four bytes (big-endian): key, value, and
the headers as name and value in turn, each again after its length. Orders in a file are dated when they were signed, so
the bots' policies need a `max_order_age_ms` as long as the file is used (`fleet.policies`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, Final

from streams.core.errors import PortcullisError
from streams.wire.signed_orders import WireMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MAGIC: Final = b"portcullis load 1\n"
_LENGTH: Final = struct.Struct(">I")
_PART_BYTES_MAX: Final = 16 * 1024 * 1024
_BUFFER_BYTES: Final = 1024 * 1024


class LoadError(PortcullisError):
    """A load file does not hold; the text names file and message."""


def write_load(path: Path, messages: Iterable[WireMessage]) -> int:
    """Write messages to a load file and return how many; an unfinished file never has the final name."""
    count = 0
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb", buffering=_BUFFER_BYTES) as file:
        file.write(_MAGIC)
        for message in messages:
            headers = b"".join(_part(name.encode()) + _part(data) for name, data in message.headers)
            file.write(_part(message.key) + _part(message.value) + _part(headers))
            count += 1
    unfinished.replace(path)
    return count


def read_load(path: Path) -> Iterator[WireMessage]:
    """Yield the messages of a load file.

    Raises: LoadError where it is not one, or ends within a message.
    """
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise LoadError(f"{path.name}: not a load file")
        number = 0
        while (length := file.read(_LENGTH.size)) != b"":
            where = f"{path.name}: message {number}"
            key = _read(file, length, where)
            value = _read(file, file.read(_LENGTH.size), where)
            headers = _read(file, file.read(_LENGTH.size), where)
            yield WireMessage(key, value, tuple(_headers(headers, where)))
            number += 1


def _part(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _read(file: BinaryIO, length: bytes, where: str) -> bytes:
    if len(length) != _LENGTH.size:
        raise LoadError(f"{where}: the file ends within it")
    (size,) = _LENGTH.unpack(length)
    if size > _PART_BYTES_MAX:
        raise LoadError(f"{where}: a part has at most {_PART_BYTES_MAX} bytes, has {size}")
    data = file.read(size)
    if len(data) != size:
        raise LoadError(f"{where}: the file ends within it")
    return data


def _headers(data: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    parts = []
    place = 0
    while place < len(data):
        end = place + _LENGTH.size
        if end > len(data) or end + (size := _LENGTH.unpack_from(data, place)[0]) > len(data):
            raise LoadError(f"{where}: its headers end early")
        parts.append(data[end : end + size])
        place = end + size
    if len(parts) % 2:
        raise LoadError(f"{where}: a header without a value")
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        yield name.decode(errors="replace"), value
