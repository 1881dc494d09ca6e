"""Windows over event time: tumbling ones and the sliding second of the message rate. Microseconds, integers only."""

from __future__ import annotations

from typing import Final

DAY_US: Final = 86_400_000_000
RATE_BUCKET_US: Final = 100_000
RATE_BUCKETS: Final = 11


def window_start_us(at_us: int, width_us: int) -> int:
    """Return the start of the tumbling window (aligned to the epoch) that holds a moment."""
    return at_us - at_us % width_us


def day_start_us(at_us: int) -> int:
    """Return the start of the UTC day that holds a moment."""
    return at_us - at_us % DAY_US


class RateCounter:
    """Counts messages in the current and the ten preceding 100 ms buckets.

    Eleven buckets span at least one whole second wherever in its bucket the message falls, so a count that stays
    within the limit is within it in every second. Times must not go back: the caller makes them monotone.
    """

    __slots__ = ("_bucket", "_counts", "_total")

    def __init__(self) -> None:
        self._bucket = 0
        self._counts = [0] * RATE_BUCKETS
        self._total = 0

    def count_at(self, at_us: int) -> int:
        """Return how many messages the eleven buckets that end at this moment hold, changing nothing."""
        steps = at_us // RATE_BUCKET_US - self._bucket
        if steps <= 0:
            return self._total
        if steps >= RATE_BUCKETS:
            return 0
        counts, oldest = self._counts, self._bucket + 1
        expired = 0
        for bucket in range(oldest, oldest + steps):
            expired += counts[bucket % RATE_BUCKETS]
        return self._total - expired

    def add(self, at_us: int) -> None:
        """Count one message."""
        bucket = at_us // RATE_BUCKET_US
        if bucket > self._bucket:
            self._turn_to(bucket)
        self._counts[self._bucket % RATE_BUCKETS] += 1
        self._total += 1

    def _turn_to(self, bucket: int) -> None:
        if bucket - self._bucket >= RATE_BUCKETS:
            self._counts = [0] * RATE_BUCKETS
            self._total = 0
        else:
            for passed in range(self._bucket + 1, bucket + 1):
                slot = passed % RATE_BUCKETS
                self._total -= self._counts[slot]
                self._counts[slot] = 0
        self._bucket = bucket

    def to_row(self) -> list[int]:
        """Return the newest bucket's number and the counts from it backwards, without the empty ones at the end."""
        counts = [self._counts[(self._bucket - back) % RATE_BUCKETS] for back in range(RATE_BUCKETS)]
        while counts and counts[-1] == 0:
            counts.pop()
        return [self._bucket, *counts]

    @classmethod
    def from_row(cls, row: list[int]) -> RateCounter:
        """Return the counter that `to_row` wrote."""
        counter = cls()
        counter._bucket = row[0]
        for back, count in enumerate(row[1:]):
            counter._counts[(row[0] - back) % RATE_BUCKETS] = count
        counter._total = sum(row[1:])
        return counter


class WindowCounter:
    """Counts in the tumbling window of the latest moment; an earlier window's count is gone."""

    __slots__ = ("count", "start_us")

    def __init__(self, start_us: int = 0, count: int = 0) -> None:
        self.start_us = start_us
        self.count = count

    def count_at(self, at_us: int, width_us: int) -> int:
        """Return the count of the window that holds a moment, changing nothing."""
        return self.count if at_us - at_us % width_us == self.start_us else 0

    def add(self, at_us: int, width_us: int) -> None:
        """Count one in the window that holds a moment."""
        start_us = at_us - at_us % width_us
        if start_us != self.start_us:
            self.start_us, self.count = start_us, 0
        self.count += 1
