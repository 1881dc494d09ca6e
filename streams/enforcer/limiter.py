"""A bound on each bot's requests: a bucket of tokens that fills at a steady rate. Pure; times in microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_US: Final = 1_000_000


@dataclass(slots=True)
class _Bucket:
    credit_us: int
    at_us: int


@dataclass(slots=True)
class RateLimiter:
    """At most `rate_max_per_s` requests a second of each name, as many at once after a quiet second."""

    rate_max_per_s: int
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def admits(self, name: str, now_us: int) -> bool:
        """Take a token, where there is one; time that goes back fills nothing."""
        bucket = self._buckets.setdefault(name, _Bucket(_US * self.rate_max_per_s, now_us))
        passed_us = max(0, now_us - bucket.at_us)
        full = _US * self.rate_max_per_s
        bucket.credit_us = min(full, bucket.credit_us + passed_us * self.rate_max_per_s)
        bucket.at_us = max(bucket.at_us, now_us)
        if bucket.credit_us < _US:
            return False
        bucket.credit_us -= _US
        return True
