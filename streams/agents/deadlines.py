"""A partition's deadlines: rows of its table, so they outlive the worker; the lane keeps them without traffic."""

from __future__ import annotations

import heapq
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.engine.tables import PartitionTable

Row = list[int]

LATE_US: Final = 1_000_000
"""A deadline found so late passed while no worker had the lane, or the broker was away."""

_SETTLE_US: Final = 500_000


@unique
class Kind(StrEnum):
    """What a deadline is about."""

    GRACE = "GRACE"
    HEARTBEAT = "HEARTBEAT"
    DUTY = "DUTY"
    OVERRIDE = "OVERRIDE"


class Due(NamedTuple):
    """A deadline that has passed."""

    kind: Kind
    key: str
    due_us: int


class Deadlines:
    """When what is due, by kind and key; microseconds UTC.

    One that is found late by more than a second waits half a second more, once: what should have stopped it may lie
    in a topic that the lane has not read yet.
    """

    def __init__(self, table: PartitionTable[Row]) -> None:
        self._table = table
        self._heap: list[tuple[int, str]] = [(row[0], key) for key, row in table.items()]
        heapq.heapify(self._heap)
        self._deferred: dict[str, int] = {}

    def set(self, kind: Kind, key: str, due_us: int) -> None:
        """Set a deadline, in place of the one before."""
        name = f"{kind} {key}"
        self._table.put(name, [due_us])
        self._deferred.pop(name, None)
        heapq.heappush(self._heap, (due_us, name))

    def get(self, kind: Kind, key: str) -> int | None:
        """Return when something is due, or None."""
        row = self._table.get(f"{kind} {key}")
        return None if row is None else row[0]

    def cancel(self, kind: Kind, key: str) -> bool:
        """Take a deadline off; say whether there was one."""
        name = f"{kind} {key}"
        if self._table.get(name) is None:
            return False
        self._table.delete(name)
        return True

    def next_us(self) -> int | None:
        """Return when the next one is due, or None."""
        while self._heap:
            at_us, name = self._heap[0]
            if at_us == self._expected_us(name):
                return at_us
            heapq.heappop(self._heap)  # cancelled, or set anew
        return None

    def passed(self, now_us: int) -> Iterator[Due]:
        """Yield what is due, each once and taken off, the earliest first."""
        while (at_us := self.next_us()) is not None and at_us <= now_us:
            _, name = heapq.heappop(self._heap)
            row = self._table.get(name)
            if row is None:
                continue
            if now_us - row[0] > LATE_US and name not in self._deferred:
                self._deferred[name] = now_us + _SETTLE_US
                heapq.heappush(self._heap, (now_us + _SETTLE_US, name))
                continue
            self._table.delete(name)
            self._deferred.pop(name, None)
            kind, _, key = name.partition(" ")
            yield Due(Kind(kind), key, row[0])

    def _expected_us(self, name: str) -> int | None:
        row = self._table.get(name)
        return None if row is None else self._deferred.get(name, row[0])
