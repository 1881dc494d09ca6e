"""Rows that are not in use, on disk instead of in memory. Source: RocksDB, as `rocksdict` has it.

The changelog stays the truth: what is on disk is made anew with every take-over of a partition and is never read after
a restart, so it needs no log of its own, no flush and no checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

K = TypeVar("K", bound=Hashable)

_CACHE_BYTES = 16 * 1024 * 1024


class DiskRows(MutableMapping[K, bytes]):
    """The bytes of rows by key, in a folder that is this object's alone."""

    def __init__(self, folder: Path, to_bytes: Callable[[K], bytes], of_bytes: Callable[[bytes], K]) -> None:
        """Begin empty.

        Raises:
            Exception: another process has the folder open.
        """
        from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteOptions  # noqa: PLC0415 - an extra

        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        options, table = Options(raw_mode=True), BlockBasedOptions()
        writing: Any = WriteOptions()  # its stub has a method where there is a property
        table.set_block_cache(Cache(_CACHE_BYTES))
        table.set_bloom_filter(10, block_based=False)
        options.set_block_based_table_factory(table)
        writing.disable_wal = True
        self._rows: Any = Rdict(str(folder), options)
        self._rows.set_write_options(writing)
        self._folder, self._to_bytes, self._of_bytes = folder, to_bytes, of_bytes
        self._count = 0

    def __getitem__(self, key: K) -> bytes:
        found: bytes | None = self._rows.get(self._to_bytes(key))
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: K, value: bytes) -> None:
        name = self._to_bytes(key)
        if self._rows.get(name) is None:
            self._count += 1
        self._rows[name] = value

    def __delitem__(self, key: K) -> None:
        name = self._to_bytes(key)
        if self._rows.get(name) is None:
            raise KeyError(key)
        self._count -= 1
        del self._rows[name]

    def __iter__(self) -> Iterator[K]:
        return map(self._of_bytes, self._rows.keys())

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Remove the folder."""
        self._rows.close()
        shutil.rmtree(self._folder, ignore_errors=True)
