"""How often somebody may try: token buckets by key. Pure."""

from __future__ import annotations

from typing import Final

_KEYS_MAX: Final = 20_000


class RateLimit:
    """So many tries at once, refilled at a rate; each key has a bucket of its own. Times in seconds."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: str, now_s: float) -> float:
        """Take one try; return 0 where it is allowed, else in how many seconds the next one is."""
        left, at_s = self._buckets.pop(key, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now_s)
        while len(self._buckets) > _KEYS_MAX:
            del self._buckets[next(iter(self._buckets))]  # the one not used for longest
        return 0.0 if allowed else (1 - left) / self._per_s

    def forgive(self, key: str) -> None:
        """Fill a key's bucket again, after a success."""
        self._buckets.pop(key, None)
