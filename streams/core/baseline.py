"""What is usual for one quantity, and how surprising a value above it is: constant work, three numbers of memory.

The known extreme goes up to what is seen and back towards the mean by 1/n, so with an exponential tail it settles at
ln(n / ln n) scales above the mean. A value x times as far above the mean is then exceeded with a probability of
(n / ln n) to the power of -x. This estimate needs no spread and no threshold, trusts a young baseline little (its n is
small) and errs to the quiet side where tails are thinner. Quantities with heavier tails are handed in as logarithms.
Only + - * / and logarithms, so that a replay gives the same numbers.
"""

from __future__ import annotations

from math import log, log10
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What one quantity can say at most: it opens a breaker by itself and kills only together with another.
DECADES_MAX: Final = 5.25
# A score of 0.75 stands for so many decades, see `score_of`.
DECADES_AT_BREAKER: Final = 4.5154

_YOUNG: Final = 30
_KNOWN_MIN: Final = 3.0
_SCORE_DECADES: Final = 7.5
_SECOND_COUNTS: Final = 0.3


class ProfileRowError(PortcullisError):
    """A table row is not one that this version wrote."""


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
        """Return how surprising a value is, in decades: at 4, one in ten thousand is as large."""
        high, count = self.high, self.count
        if x <= high or count == 0:
            return 0.0
        _, grain, learning, _ = self.tuning
        known = count * learning
        if known <= _KNOWN_MIN:
            return 0.0
        # A young baseline has seen too little to know what lies beyond: its grain is coarser.
        reach = high - self.mean + grain * (1.0 + _YOUNG / count)
        return min(DECADES_MAX, (1.0 + (x - high) / reach) * log10(known / log(known)))

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


def check_row(row: Sequence[Any], version: int, columns: int) -> None:
    """Take a profile's row for one that this version wrote: the version leads.

    Raises: ProfileRowError where the row is of another version or length.
    """
    if len(row) != columns or row[0] != version:
        raise ProfileRowError(f"row: not version {version} with {columns} columns: {row[:1]}, {len(row)}")


def read_baselines(tunings: Iterable[Tuning], row: Sequence[Any]) -> tuple[Baseline, ...]:
    """Return the baselines whose cells these columns are, in the order of their tunings."""
    cells = (tuple(row[place : place + 3]) for place in range(0, len(row), 3))
    return tuple(Baseline(tuning, each) for tuning, each in zip(tunings, cells, strict=True))


def score_of(decades: float) -> float:
    """Return the score in [0, 1) of a surprise: 1 - P**(1/7.5) with P = 10**-decades.

    0.75 stands for one order in 33,000 that is as odd, 0.85 for one in 1.5 million; topology/detection.md has the rates
    that were measured.
    """
    return 1.0 - float(10.0 ** (-decades / _SCORE_DECADES))


def together(decades: Iterable[float]) -> float:
    """Return the surprise of what is seen at once: the next to the largest counts a part, as they may share a cause."""
    first = second = 0.0
    for value in decades:
        if value > first:
            first, second = value, first
        elif value > second:
            second = value
    return first + _SECOND_COUNTS * second
