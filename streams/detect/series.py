"""One number over time, scored by the core's baselines: what the evaluation on sensor and metric series needs.

Three views of the one quantity, of which the most surprising counts: its value, its distance from what is usual at this
hour of the day, and its distance from its own recent course.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from streams.core.baseline import Baseline, Tuning, score_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_TUNING: Final = Tuning(memory=5_000, grain=1e-9, learning=0.5)
_HOURS: Final = 24
_HOUR_MEMORY: Final = 60
_RECENT_ROWS: Final = 100
# An alarm is news once: for so many rows only a larger one is told, as a breaker's cool-down does for a bot.
NEWS_ROWS: Final = 60


class _BothSides:
    """A quantity that may be unusually large or unusually small."""

    __slots__ = ("_above", "_below")

    def __init__(self) -> None:
        self._above, self._below = Baseline(_TUNING), Baseline(_TUNING)

    def take(self, x: float) -> float:
        return max(self._above.take(x), self._below.take(-x))


class SeriesDetector:
    """Scores each value of a series against the values before it."""

    def __init__(self) -> None:
        self._value, self._by_hour, self._by_course = _BothSides(), _BothSides(), _BothSides()
        self._hours: list[tuple[int, float]] = [(0, 0.0)] * _HOURS
        self._course: float | None = None

    def score(self, at: datetime, value: float) -> float:
        """Return the score in [0, 1) of the next value, and learn from it."""
        course = value if self._course is None else self._course
        self._course = course + (value - course) / _RECENT_ROWS
        count, usual = self._hours[at.hour]
        if count == 0:
            usual = value
        self._hours[at.hour] = count + 1, usual + (value - usual) / min(count + 1, _HOUR_MEMORY)
        return score_of(
            max(
                self._value.take(value),
                self._by_hour.take(value - usual),
                self._by_course.take(value - self._course),
            )
        )


def news(scores: Iterable[float], rows: int = NEWS_ROWS) -> list[float]:
    """Return the scores with 0 wherever one of the rows before was at least as high."""
    highest: deque[tuple[int, float]] = deque()
    told = []
    for row, score in enumerate(scores):
        while highest and highest[0][0] < row - rows:
            highest.popleft()
        told.append(0.0 if highest and highest[0][1] >= score else score)
        while highest and highest[-1][1] <= score:
            highest.pop()
        highest.append((row, score))
    return told
