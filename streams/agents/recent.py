"""Which ClOrdIDs a bot used lately: exact, and bounded by the policies' duplicate windows.

Each micro-batch writes one row per bot with the identifiers it saw, filed under the window in which they may be
forgotten, so that the changelog grows by the batch and not by the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.engine.tables import WindowedPartitionTable

RECENT_WINDOW_S: Final = 60
_US: Final = 1_000_000

Row = list[list[str | int]]  # [cl_ord_id, received_us, forgotten_us] each


class RecentIds:
    """Remembers when an identifier was first received, for the length of its policy's duplicate window."""

    def __init__(self, table: WindowedPartitionTable[Row]) -> None:
        self._table = table
        self._entries: dict[str, tuple[int, int]] = {}  # (received_us, start of the window in which it is forgotten)
        self._due: dict[int, list[str]] = {}
        self._pending: dict[tuple[str, int], Row] = {}
        self._clock_us = 0
        for key, start in table.keys():  # noqa: SIM118 - a table is no dict
            for cl_ord_id, received_us, _until in table.get(key, start) or ():
                self._index(f"{key.partition(' ')[2]} {cl_ord_id}", int(received_us), start)

    def __len__(self) -> int:
        return len(self._entries)

    def seen(self, agent_id: str, cl_ord_id: str, received_us: int, window_us: int) -> bool:
        """Say whether the identifier was received less than `window_us` before."""
        entry = self._entries.get(f"{agent_id} {cl_ord_id}")
        return entry is not None and received_us - entry[0] < window_us

    def remember(self, agent_id: str, cl_ord_id: str, received_us: int, window_us: int) -> None:
        """Note an identifier that was not seen."""
        until_us = received_us + window_us
        start = self._table.window_start_us(until_us)
        self._index(f"{agent_id} {cl_ord_id}", received_us, start)
        self._pending.setdefault((agent_id, start), []).append([cl_ord_id, received_us, until_us])
        self._clock_us = max(self._clock_us, received_us)

    def finish(self, batch_id: int) -> None:
        """Write the batch's rows under its number (unique per log) and forget what is over."""
        for (agent_id, start), row in self._pending.items():
            self._table.put(f"{batch_id} {agent_id}", start, row)
        self._pending.clear()
        for start in [s for s in self._due if s + RECENT_WINDOW_S * _US <= self._clock_us]:
            for key in self._due.pop(start):
                entry = self._entries.get(key)
                if entry is not None and entry[1] == start:  # else the identifier was used again since
                    del self._entries[key]
        self._table.expire(self._clock_us)

    def _index(self, key: str, received_us: int, start: int) -> None:
        self._entries[key] = (received_us, start)
        self._due.setdefault(start, []).append(key)
