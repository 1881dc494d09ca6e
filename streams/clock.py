"""The wall clock of everything that is not pure."""

from __future__ import annotations

import time


def now_us() -> int:
    """Return the time in microseconds UTC."""
    return time.time_ns() // 1000
