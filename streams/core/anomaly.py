"""How unusual a bot's behaviour is: a score in [0, 1] per message, with the features that explain it.

Each feature goes the same way: a number on a log scale → its distance from the bot's own baseline in robust units →
evidence in [0, 1) → all evidence together as a noisy-or. One extreme feature reaches the breaker (0.75) and no
further; two reach the kill (0.85). Constant work and memory per message, and only + - * / sqrt log, so that a replay
gives the same scores. Floats, because nothing here is money: the gate compares the score with the policy's threshold.
"""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.errors import PortcullisError
from streams.core.orders import Side

if TYPE_CHECKING:
    from streams.core.orders import Order, ReferencePrice

MODEL: Final = "ewma-noisy-or-1"
WARM_UP_MESSAGES: Final = 30
ROW_VERSION: Final = 1

_BUY: Final = Side.BUY

# The baseline: it learns at 1/n, then at 1/400, and never from more than 2.5 units at once, so that a burst does not
# become normal while it lasts. A prior variance worth 15 messages keeps a young baseline from being sure of itself.
_LEARNING_MESSAGES: Final = 400
_LEARNING_RATE: Final = 1 / _LEARNING_MESSAGES
_CLIP: Final = 2.5
_PRIOR_MESSAGES: Final = 15
# A deviation that came and went without an alarm counts at most 3 units the next time; forgotten in about 10,000.
_KNOWN_UNITS: Final = 3.0
_PEAK_DECAY: Final = 0.9999
_CALM_UNITS: Final = 1.5

# Evidence is half its weight at 3.5 units and crosses the breaker at 5.
_HALF_UNITS: Final = 3.5
_ALARM_UNITS: Final = 5.0
_STRONG: Final = 0.84
_WEAK: Final = 0.3
_REJECTS: Final = 0.45

# The least spread that a baseline believes in (variance on its log scale).
_LEAST_SPREAD: Final = 0.04

_GAP_RATE: Final = 1 / 6
_GAP_CAP: Final = 10.0
_GAP_GRAIN_S: Final = 0.01
_SIDE_RATE: Final = 1 / 32
_REJECT_RATE: Final = 1 / 16
_PRICE_GRAIN_BPS: Final = 20.0
_ABSOLUTE_PRICE_BPS: Final = 100.0


class AnomalyRowError(PortcullisError):
    """A table row is not one that this version wrote."""


class Observation(NamedTuple):
    """What the score looks at in one message; None where it is not known."""

    received_us: int
    buy: bool
    value_e5: int | None
    distance_bps: float | None


class Score(NamedTuple):
    """A score in [0, 1] and each feature's share of it."""

    value: float
    contributions: dict[str, float]


class Baseline:
    """What is usual for one feature of one bot: mean and variance that forget, and the largest known deviation."""

    __slots__ = ("count", "episode", "mean", "peak", "variance")

    def __init__(self, cells: tuple[int, float, float, float, float] = (0, 0.0, 0.0, 0.0, 0.0)) -> None:
        self.count, self.mean, self.variance, self.peak, self.episode = cells

    def units(self, x: float) -> float:
        """Return how many units the value lies above the usual, and learn from it."""
        count = self.count
        self.count = count + 1
        if count == 0:
            self.mean = x
            return 0.0
        deviation = x - self.mean
        variance = self.variance
        unit = sqrt(variance + _LEAST_SPREAD + _PRIOR_MESSAGES / (count + _PRIOR_MESSAGES))
        units = deviation / unit
        if units > _CLIP:
            learned = _CLIP * unit
        elif units < -_CLIP:
            learned = -_CLIP * unit
        else:
            learned = deviation
        rate = _LEARNING_RATE if count >= _LEARNING_MESSAGES else 1 / (count + 1)
        self.mean += rate * learned
        self.variance = variance + rate * (learned * learned - variance)
        self.peak *= _PEAK_DECAY
        if units <= _CALM_UNITS and self.episode == 0.0:
            return units
        return self._allowing_for_the_known(deviation, units)

    def _allowing_for_the_known(self, deviation: float, units: float) -> float:
        peak = self.peak
        if units > _CALM_UNITS and deviation * _KNOWN_UNITS < units * peak:
            units = _KNOWN_UNITS * deviation / peak
        if units > _CALM_UNITS:
            if units >= _ALARM_UNITS:
                self.episode = -1.0  # what raised an alarm does not become known
            elif 0.0 <= self.episode < deviation:
                self.episode = deviation
        else:
            self.peak = max(peak, self.episode)
            self.episode = 0.0
        return units

    def cells(self) -> tuple[int, float, float, float, float]:
        """Return the baseline's numbers, as the constructor takes them."""
        return self.count, self.mean, self.variance, self.peak, self.episode


class BotProfile:
    """What the scores of one bot remember."""

    __slots__ = ("gap_s", "imbalance", "last_us", "messages", "price", "rate", "rejects", "side", "size")

    def __init__(self) -> None:
        self.messages = 0
        self.last_us = 0
        self.gap_s = 0.0
        self.imbalance = 0.0
        self.rejects = 0.0
        self.size, self.rate, self.price, self.side = Baseline(), Baseline(), Baseline(), Baseline()

    def to_row(self) -> list[Any]:
        """Return the profile as a flat list of integers and floats; the version leads."""
        row: list[Any] = [ROW_VERSION, self.messages, self.last_us, self.gap_s, self.imbalance, self.rejects]
        for baseline in (self.size, self.rate, self.price, self.side):
            row += baseline.cells()
        return row

    @classmethod
    def from_row(cls, row: list[Any]) -> BotProfile:
        """Return the profile that `to_row` wrote.

        Raises: AnomalyRowError where the row is of another version or length.
        """
        if len(row) != 26 or row[0] != ROW_VERSION:
            raise AnomalyRowError(f"profile row: not version {ROW_VERSION} with 26 columns: {row[:1]}, {len(row)}")
        profile = cls()
        profile.messages, profile.last_us, profile.gap_s, profile.imbalance, profile.rejects = row[1:6]
        profile.size, profile.rate = Baseline(tuple(row[6:11])), Baseline(tuple(row[11:16]))
        profile.price, profile.side = Baseline(tuple(row[16:21])), Baseline(tuple(row[21:26]))
        return profile


def observation(order: Order, received_us: int, value_e5: int | None, reference: ReferencePrice | None) -> Observation:
    """Return what the score looks at in an order, its value in EUR and its market's usable reference price."""
    distance_bps = None
    if reference is not None and order.price_e13 is not None and reference.price_e13 > 0:
        distance_bps = abs(order.price_e13 - reference.price_e13) * 10_000 / reference.price_e13
    return Observation(received_us, order.side is _BUY, value_e5, distance_bps)


def observe(profile: BotProfile, seen: Observation) -> Score:
    """Score one message of a bot and learn from it.

    In its first 30 messages a bot is new: nothing is usual for it yet, so it is judged on absolute evidence only, the
    distance of its prices from the reference and its rejections; however odd its sizes or rate, they count nothing.
    """
    profile.messages += 1
    size = rate = price = 0.0
    if seen.value_e5 is not None and seen.value_e5 > 0:
        size = _evidence(profile.size.units(log(seen.value_e5)))
    if profile.messages > 1:
        rate = _evidence(_rate_units(profile, seen.received_us))
    profile.last_us = max(profile.last_us, seen.received_us)
    if seen.distance_bps is not None:
        price = _evidence(profile.price.units(log(1.0 + seen.distance_bps / _PRICE_GRAIN_BPS)))
    profile.imbalance += ((1.0 if seen.buy else -1.0) - profile.imbalance) * _SIDE_RATE
    side = _WEAK / _STRONG * _evidence(abs(profile.side.units(profile.imbalance)))
    rejects = _REJECTS * profile.rejects * profile.rejects
    if profile.messages <= WARM_UP_MESSAGES:
        size = rate = side = 0.0
        price = 0.0 if seen.distance_bps is None else _evidence(seen.distance_bps / _ABSOLUTE_PRICE_BPS)
    return _combined(size, rate, price, side, rejects)


def record_outcome(profile: BotProfile, *, rejected: bool) -> None:
    """Note whether a scored message was refused for the bot's own doing (`FAILURES` in `streams/core/reasons.py`).

    Refusals that follow from an open breaker or a kill do not belong here: they would keep the score up for ever.
    """
    profile.rejects += ((1.0 if rejected else 0.0) - profile.rejects) * _REJECT_RATE


def _rate_units(profile: BotProfile, received_us: int) -> float:
    gap_s = (received_us - profile.last_us) / 1e6 if received_us > profile.last_us else 0.0
    if profile.messages == 2:
        profile.gap_s = gap_s
    else:
        # One long silence says little about the rate: it counts as no more than ten usual gaps.
        cap_s = _GAP_CAP * (profile.gap_s + _GAP_GRAIN_S)
        gap_s = min(gap_s, cap_s)
        profile.gap_s += _GAP_RATE * (gap_s - profile.gap_s)
    return profile.rate.units(-log(profile.gap_s + _GAP_GRAIN_S))


def _evidence(units: float) -> float:
    if units <= 0.0:
        return 0.0
    square = units / _HALF_UNITS
    square *= square
    power = square * square * square
    return _STRONG * power / (1.0 + power) if power < 1e12 else _STRONG


def _combined(size: float, rate: float, price: float, side: float, rejects: float) -> Score:
    value = 1.0 - (1.0 - size) * (1.0 - rate) * (1.0 - price) * (1.0 - side) * (1.0 - rejects)
    total = size + rate + price + side + rejects
    share = value / total if total > 0.0 else 0.0
    return Score(
        value,
        {
            "size": size * share,
            "rate": rate * share,
            "price": price * share,
            "side": side * share,
            "rejects": rejects * share,
        },
    )
