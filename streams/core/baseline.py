"""What is usual for one quantity, and how surprising a value above it is: constant work, three numbers of memory.

The largest of n values with an exponential tail lies ln n of its scales above the mean, so a value x times as far above
the mean as the largest known one is exceeded with probability n to the power of -x. This estimate needs no spread and no
threshold, trusts a young baseline little (its n is small) and errs to the quiet side where tails are thinner. Quantities
with heavier tails are handed in as logarithms. Only + - * / and logarithms, so that a replay gives the same numbers.
"""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# What one quantity can say at most: it opens a breaker by itself and kills only together with another.
DECADES_MAX: Final = 7.0
# A score of 0.75 stands for so many decades, see `score_of`.
DECADES_AT_BREAKER: Final = 6.0206

_YOUNG: Final = 30
_SCORE_DECADES: Final = 10.0
_SECOND_COUNTS: Final = 0.3


class Tuning(NamedTuple):
    """How a quantity is judged."""

    memory: float
    """Observations after which an old extreme counts for little."""
    grain: float
    """The least distance from the mean, in the quantity's unit, that a baseline believes in."""
    learning: float = 1.0
    """Part of the way that the known extreme goes to a larger value at once; below 1 for quantities that creep."""
    alarmed: float = 1.0
    """Part of the learning that is left for what raised an alarm: repetition must not make an attack usual."""


class Baseline:
    """The mean of a quantity and its largest usual value, both forgetting."""

    __slots__ = ("count", "high", "mean", "memory", "tuning")

    def __init__(self, tuning: Tuning, cells: tuple[float, float, float] = (0, 0.0, 0.0)) -> None:
        self.tuning, self.memory = tuning, tuning.memory
        self.count, self.mean, self.high = cells

    def judge(self, x: float) -> float:
        """Return how surprising a value is, in decades: at 6, one in a million is as large."""
        high, count = self.high, self.count
        if x <= high or count == 0:
            return 0.0
        _, grain, learning, _ = self.tuning
        known = count * learning
        if known <= 1.0:
            return 0.0
        # A young baseline has seen too little to know what lies beyond: its grain is coarser.
        reach = high - self.mean + grain * (1.0 + _YOUNG / count)
        return min(DECADES_MAX, (1.0 + (x - high) / reach) * log10(known))

    def learn(self, x: float, decades: float = 0.0) -> None:
        """Take in a value that was judged to be this surprising."""
        high, count = self.high, self.count
        if count < self.memory:
            self.count = count = count + 1
            if count == 1:
                self.mean = self.high = x
                return
        mean = self.mean
        if x > high:
            _, grain, learning, alarmed = self.tuning
            step = min(x - high, high - mean + grain) * learning
            high += step if decades < DECADES_AT_BREAKER else step * alarmed
            x = min(x, high)
        # Both move by 1/count towards what they forget into: an early extreme is soon outgrown.
        self.mean = mean = mean + (x - mean) / count
        self.high = high - (high - mean) / count

    def take(self, x: float) -> float:
        """Judge a value, then learn from it."""
        decades = self.judge(x) if x > self.high else 0.0
        self.learn(x, decades)
        return decades

    def cells(self) -> tuple[float, float, float]:
        """Return the baseline's numbers, as the constructor takes them."""
        return self.count, self.mean, self.high


def score_of(decades: float) -> float:
    """Return the score in [0, 1) of a surprise: 1 - P**0.1 with P = 10**-decades.

    0.75 stands for P = 1e-6, 0.85 for 6e-9: one false alarm in a million, one in 170 million.
    """
    return 1.0 - 10.0 ** (-decades / _SCORE_DECADES)


def together(decades: Iterable[float]) -> float:
    """Return the surprise of what is seen at once: the largest counts whole, the next half, as they may share a cause."""
    first = second = 0.0
    for value in decades:
        if value > first:
            first, second = value, first
        elif value > second:
            second = value
    return first + _SECOND_COUNTS * second
