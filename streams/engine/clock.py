"""The wait of a fetch: the clock that forms micro-batches."""

from __future__ import annotations

import time

_CLOCK_MIN_BYTES = 1_000_000
_IDLE_MIN_BYTES = 1
_IDLE_WAIT_MS = 250
IDLE_AFTER_S = 0.05
_WINDOW_S = 0.25
_CPU_HIGH = 0.75
_CPU_LOW = 0.65
_STEP = 1.25


class FetchClock:
    """Decides how long the broker may gather records before it answers a fetch.

    While records come, it answers every `wait_ms`: a short wait as long as this process has CPU to spare, for latency,
    a longer one when it has not, because fewer transactions cost less. When none come, it answers the first record
    at once, so that idling is cheap and a lone record is not held up.
    """

    def __init__(self, wait_ms_min: int, wait_ms_max: int) -> None:
        self._min = float(wait_ms_min)
        self._max = float(wait_ms_max)
        self._wait = self._min
        self._records_at = 0.0
        self._window_at = time.monotonic()
        self._window_cpu = time.process_time()

    def observe(self, records: int) -> None:
        """Count what a poll brought."""
        now = time.monotonic()
        if records:
            self._records_at = now
        if now - self._window_at >= _WINDOW_S:
            self._adapt(now)

    def settings(self, *, settled: bool) -> tuple[int, int]:
        """Return the least bytes and the wait in ms of the next fetch; `settled`: no recovery is going on."""
        if not settled:
            return _IDLE_MIN_BYTES, int(self._min)
        if time.monotonic() - self._records_at > IDLE_AFTER_S:
            return _IDLE_MIN_BYTES, _IDLE_WAIT_MS
        return _CLOCK_MIN_BYTES, int(self._wait)

    def _adapt(self, now: float) -> None:
        cpu = time.process_time()
        share = (cpu - self._window_cpu) / (now - self._window_at)
        self._window_at, self._window_cpu = now, cpu
        if share > _CPU_HIGH:
            self._wait = min(self._max, self._wait * _STEP)
        elif share < _CPU_LOW:
            self._wait = max(self._min, self._wait / _STEP)
