"""Tables: one partition's rows in memory, each changed row written once per micro-batch.

Rows that were restored stay bytes until they are first touched, so that a large table restores in seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from itertools import islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from streams.engine.disk import DiskRows

if TYPE_CHECKING:
    from pathlib import Path

V = TypeVar("V")
K = TypeVar("K", bound=Hashable)

_WINDOW_KEY = struct.Struct(">xq")  # a zero byte after the key, then the window's start in microseconds


class RowCodec(Protocol[V]):
    """Turns a row into the bytes of its changelog record and back."""

    def encode(self, row: V, /) -> bytes:
        """Return the changelog value of a row."""

    def decode(self, data: bytes, /) -> V:
        """Return the row of a changelog value."""


class Rows(Generic[K, V]):
    """Rows, the bytes of rows not yet touched, and the keys that the next transaction must write."""

    def __init__(self, codec: RowCodec[V]) -> None:
        self._codec = codec
        self._rows: dict[K, V] = {}
        self._raw: MutableMapping[K, bytes] = {}
        self._in_memory_max = 0
        self._dirty: dict[K, None] = {}

    def __len__(self) -> int:
        return len(self._rows) + len(self._raw)

    def keep_on_disk(self, folder: Path, *, in_memory_max: int) -> None:
        """Hold no more than so many rows in memory between two micro-batches, the rest in a folder of their own."""
        self._raw = DiskRows(folder, self._key_bytes, self._key_of)
        self._in_memory_max = in_memory_max

    def close(self) -> None:
        """Give up the rows."""
        if isinstance(self._raw, DiskRows):
            self._raw.close()

    def _get(self, key: K) -> V | None:
        row = self._rows.get(key)
        if row is None and key in self._raw:
            row = self._rows[key] = self._codec.decode(self._raw.pop(key))
        return row

    def _put(self, key: K, row: V) -> None:
        self._raw.pop(key, None)
        self._rows[key] = row
        self._dirty[key] = None

    def _touch(self, key: K) -> None:
        if key not in self._rows:
            raise KeyError(key)
        self._dirty[key] = None

    def _delete(self, key: K) -> None:
        if self._rows.pop(key, None) is None and self._raw.pop(key, None) is None:
            return
        self._dirty[key] = None

    def _all_keys(self) -> list[K]:
        return [*self._rows, *self._raw]

    def _key_bytes(self, key: K) -> bytes:
        raise NotImplementedError

    def _key_of(self, data: bytes) -> K:
        raise NotImplementedError

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield key and value (None: deleted) of each row changed since the last call, once, in order of change."""
        dirty, self._dirty = self._dirty, {}
        for key in dirty:
            row = self._rows.get(key)
            yield self._key_bytes(key), None if row is None else self._codec.encode(row)
        if self._in_memory_max:
            self._put_away()

    def _put_away(self) -> None:
        """Leave in memory the rows that came into it last; between two micro-batches nobody holds one."""
        for key in list(islice(self._rows, max(0, len(self._rows) - self._in_memory_max))):
            self._raw[key] = self._codec.encode(self._rows.pop(key))

    def restore(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply changes as `take_changes` yields them; they need not be written again."""
        for key, value in changes:
            self._restore_one(self._key_of(key), value)

    def _restore_one(self, key: K, value: bytes | None) -> None:
        self._rows.pop(key, None)
        if value is None:
            self._raw.pop(key, None)
        else:
            self._raw[key] = value


class PartitionTable(Rows[str, V]):
    """One partition's rows of one table, by key."""

    def get(self, key: str) -> V | None:
        """Return the row, or None."""
        return self._get(key)

    def put(self, key: str, row: V) -> None:
        """Set the row; written to the changelog once when the batch commits."""
        self._put(key, row)

    def touch(self, key: str) -> None:
        """Say that the row, a mutable object, was changed in place.

        Raises:
            KeyError: the row was never got or put.
        """
        self._touch(key)

    def delete(self, key: str) -> None:
        """Remove the row, where there is one; the changelog gets a tombstone."""
        self._delete(key)

    def keys(self) -> list[str]:
        """Return all keys, as a copy that stays good while rows change."""
        return self._all_keys()

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield key and row of every row there was at the call; decodes all of them."""
        for key in self._all_keys():
            row = self._get(key)
            if row is not None:
                yield key, row

    def _key_bytes(self, key: str) -> bytes:
        return key.encode()

    def _key_of(self, data: bytes) -> str:
        return data.decode()


class WindowedPartitionTable(Rows[tuple[str, int], V]):
    """One partition's rows of one table, by key and tumbling window of event time.

    The changelog key is the key's bytes, a zero byte, and the window's start as 8 bytes big-endian.
    """

    def __init__(self, codec: RowCodec[V], window_size_us: int) -> None:
        super().__init__(codec)
        self.window_size_us = window_size_us
        self._by_start: dict[int, set[str]] = {}

    def window_start_us(self, event_us: int) -> int:
        """Return the start of the window that holds an event time."""
        return event_us - event_us % self.window_size_us

    def get(self, key: str, window_start_us: int) -> V | None:
        """Return the row, or None."""
        return self._get((key, window_start_us))

    def put(self, key: str, window_start_us: int, row: V) -> None:
        """Set the row; written to the changelog once when the batch commits."""
        self._by_start.setdefault(window_start_us, set()).add(key)
        self._put((key, window_start_us), row)

    def touch(self, key: str, window_start_us: int) -> None:
        """Say that the row, a mutable object, was changed in place.

        Raises:
            KeyError: the row was never got or put.
        """
        self._touch((key, window_start_us))

    def delete(self, key: str, window_start_us: int) -> None:
        """Remove the row, where there is one; the changelog gets a tombstone."""
        self._forget(key, window_start_us)
        self._delete((key, window_start_us))

    def keys(self) -> list[tuple[str, int]]:
        """Return all (key, window start), as a copy that stays good while rows change."""
        return self._all_keys()

    def expire(self, before_us: int) -> int:
        """Remove all rows whose window ended at or before an event time; return how many."""
        removed = 0
        for start in [start for start in self._by_start if start + self.window_size_us <= before_us]:
            for key in sorted(self._by_start.pop(start)):
                self._delete((key, start))
                removed += 1
        return removed

    def _forget(self, key: str, start: int) -> None:
        keys = self._by_start.get(start)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._by_start[start]

    def _restore_one(self, key: tuple[str, int], value: bytes | None) -> None:
        super()._restore_one(key, value)
        if value is None:
            self._forget(*key)
        else:
            self._by_start.setdefault(key[1], set()).add(key[0])

    def _key_bytes(self, key: tuple[str, int]) -> bytes:
        return key[0].encode() + _WINDOW_KEY.pack(key[1])

    def _key_of(self, data: bytes) -> tuple[str, int]:
        return data[: -_WINDOW_KEY.size].decode(), _WINDOW_KEY.unpack_from(data, len(data) - _WINDOW_KEY.size)[0]
