"""How unusual a bot's behaviour is: a score in [0, 1) per order, with the features that explain it.

Each feature is a number that is compared with the bot's own past (`streams/core/baseline.py`). Features that view one
thing form a group, of which the most surprising view counts. A group of strong evidence reaches the breaker (0.75) and
no further, two reach the kill (0.85); weak evidence reaches neither by itself. Constant work and memory per message.
Floats, because nothing here is money: the gate compares the score with the policy's threshold.
"""

from __future__ import annotations

from enum import IntEnum
from math import expm1, log, log1p
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.baseline import (
    DECADES_AT_BREAKER,
    DECADES_MAX,
    Baseline,
    Tuning,
    check_row,
    read_baselines,
    score_of,
    together,
)
from streams.core.orders import Side

if TYPE_CHECKING:
    from streams.core.executions import ExecutionReport
    from streams.core.orders import Order, ReferencePrice

MODEL: Final = "known-extremes-1"
WARM_UP_MESSAGES: Final = 100
ROW_VERSION: Final = 2


class Feature(IntEnum):
    """What is looked at; the order is that of a row's baselines."""

    NOTIONAL = 0
    SIZE = 1
    BURST = 2
    RATE = 3
    GAP = 4
    PRICE = 5
    SIDE = 6
    REJECTS = 7
    CANCELS = 8
    SLIPPAGE = 9


FEATURES: Final = tuple(feature.name.lower() for feature in Feature)

_BUY: Final = Side.BUY
_DOUBLING: Final = log(2)
_USUAL: Final = Tuning(memory=5_000, grain=_DOUBLING, alarmed=0.01)
_CREEPING: Final = _USUAL._replace(learning=0.05)

# Sizes and distances are logarithms, shares are as they are. What gathers over many messages creeps.
_TUNINGS: Final = {
    Feature.NOTIONAL: _USUAL._replace(grain=_DOUBLING / 2),
    Feature.SIZE: _USUAL._replace(grain=_DOUBLING / 2),
    Feature.BURST: _USUAL._replace(grain=_DOUBLING / 2),
    Feature.RATE: _USUAL._replace(grain=_DOUBLING / 2),
    Feature.GAP: _CREEPING,
    Feature.PRICE: _USUAL,
    Feature.SIDE: _CREEPING._replace(grain=0.3),
    Feature.REJECTS: _CREEPING._replace(grain=0.3),
    Feature.CANCELS: _CREEPING._replace(grain=0.3),
    Feature.SLIPPAGE: _USUAL,
}
_BURST_US: Final = 1_000_000
_RATE_US: Final = 10_000_000
_WEAK_MAX: Final = 2.25

_GAP_RATE: Final = 1 / 16
_GAP_CAP: Final = 10.0
_GAP_GRAIN_S: Final = 0.01
_SIDE_RATE: Final = 1 / 32
_CANCEL_RATE: Final = 1 / 32
_REJECT_RATE: Final = 1 / 16
_PRICE_GRAIN_BPS: Final = 20.0
_SLIPPAGE_GRAIN_BPS: Final = 5.0
_SLIPPAGE_DECAY: Final = 0.9
# A newcomer's price is an alarm from 500 bps off the reference on: it has no past to be compared with.
_NEWCOMER_DECADES_PER_BPS: Final = DECADES_AT_BREAKER / 500.0


class Observation(NamedTuple):
    """What the score looks at in one order; None where it is not known."""

    received_us: int
    buy: bool
    value_e5: int | None
    distance_bps: float | None
    share_of_limit: float | None = None
    """The quantity as a part of what the policy allows for one order in this market."""


class Score(NamedTuple):
    """A score in [0, 1) and the share of each feature that has one."""

    value: float
    contributions: dict[str, float]


_CALM: Final = Score(0.0, {})


class Window:
    """Messages in the running window, judged against those of windows that are over: while it grows, none is usual."""

    __slots__ = ("count", "number", "usual", "width_us")

    def __init__(self, width_us: int, cells: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.width_us = width_us
        self.number, self.count, self.usual = cells
        """`usual`: up to so many messages nothing needs to be worked out."""

    def take(self, received_us: int, baseline: Baseline) -> float:
        """Count a message and return how surprising the count is by now."""
        number = received_us // self.width_us
        if number != self.number:
            if self.count:
                baseline.take(log1p(self.count))
                self.usual = int(expm1(baseline.high))
            self.number, self.count = number, 0
        self.count = count = self.count + 1
        return baseline.judge(log1p(count)) if count > self.usual else 0.0

    def cells(self) -> tuple[int, int, int]:
        """Return the window's numbers, as the constructor takes them."""
        return self.number, self.count, self.usual


class BotProfile:
    """What the scores of one bot remember."""

    __slots__ = (
        "baselines",
        "burst",
        "cancels",
        "gap_s",
        "imbalance",
        "last_us",
        "messages",
        "rate",
        "rejects",
        "slippage",
    )

    def __init__(self) -> None:
        self.messages = self.last_us = 0
        self.gap_s = self.imbalance = self.rejects = self.cancels = self.slippage = 0.0
        self.burst, self.rate = Window(_BURST_US), Window(_RATE_US)
        self.baselines = tuple(Baseline(_TUNINGS[feature]) for feature in Feature)

    def to_row(self) -> list[Any]:
        """Return the profile as a flat list of integers and floats; the version leads."""
        row: list[Any] = [ROW_VERSION, self.messages, self.last_us]
        row += [self.gap_s, self.imbalance, self.rejects, self.cancels, self.slippage]
        row += [*self.burst.cells(), *self.rate.cells()]
        for baseline in self.baselines:
            row += baseline.cells()
        return row

    @classmethod
    def from_row(cls, row: list[Any]) -> BotProfile:
        """Return the profile that `to_row` wrote.

        Raises: ProfileRowError where the row is of another version or length.
        """
        check_row(row, ROW_VERSION, _COLUMNS)
        profile = cls()
        profile.messages, profile.last_us = row[1:3]
        profile.gap_s, profile.imbalance, profile.rejects, profile.cancels, profile.slippage = row[3:8]
        windows, cells = row[_HEAD_COLUMNS:_BASELINES_AT], row[_BASELINES_AT:]
        profile.burst, profile.rate = Window(_BURST_US, tuple(windows[:3])), Window(_RATE_US, tuple(windows[3:]))
        profile.baselines = read_baselines((_TUNINGS[feature] for feature in Feature), cells)
        return profile


_HEAD_COLUMNS: Final = 8
_BASELINES_AT: Final = _HEAD_COLUMNS + 3 * 2
_COLUMNS: Final = _BASELINES_AT + 3 * len(Feature)


def observation(
    order: Order,
    received_us: int,
    value_e5: int | None,
    reference: ReferencePrice | None,
    order_qty_max_e17: int | None = None,
) -> Observation:
    """Return what the score looks at: the order, its value in EUR, its market's usable reference price and limit."""
    distance_bps = share = None
    if reference is not None and order.price_e13 is not None and reference.price_e13 > 0:
        distance_bps = abs(order.price_e13 - reference.price_e13) * 10_000 / reference.price_e13
    if order_qty_max_e17:
        share = order.order_qty_e17 / order_qty_max_e17
    return Observation(received_us, order.side is _BUY, value_e5, distance_bps, share)


def observe(profile: BotProfile, seen: Observation) -> Score:
    """Score one order of a bot and learn from it.

    A newcomer has no past: whatever it does in its first messages surprises little, as few values are known. Until
    `WARM_UP_MESSAGES` its prices are therefore also judged by their distance from the reference.
    """
    notional, size, burst, rate, gap, price, side, rejects, cancels, _ = profile.baselines
    profile.messages += 1
    by_notional = by_size = by_price = 0.0
    if seen.value_e5 is not None and seen.value_e5 > 0:
        by_notional = notional.take(log(seen.value_e5))
    if seen.share_of_limit is not None and seen.share_of_limit > 0.0:
        by_size = size.take(log(seen.share_of_limit))
    if seen.distance_bps is not None:
        by_price = price.take(log1p(seen.distance_bps / _PRICE_GRAIN_BPS))
        if profile.messages <= WARM_UP_MESSAGES:
            by_price = max(by_price, min(DECADES_MAX, seen.distance_bps * _NEWCOMER_DECADES_PER_BPS))
    by_burst = profile.burst.take(seen.received_us, burst)
    by_rate = profile.rate.take(seen.received_us, rate)
    by_gap = _gap_decades(profile, gap, seen.received_us)
    profile.imbalance += ((1.0 if seen.buy else -1.0) - profile.imbalance) * _SIDE_RATE
    by_side = side.take(abs(profile.imbalance))
    by_rejects, by_cancels = rejects.take(profile.rejects), cancels.take(profile.cancels)
    profile.cancels -= profile.cancels * _CANCEL_RATE
    by_slippage = profile.slippage
    profile.slippage = by_slippage * _SLIPPAGE_DECAY
    decades = (
        by_notional,
        by_size,
        by_burst,
        by_rate,
        by_gap,
        by_price,
        by_side,
        by_rejects,
        by_cancels,
        by_slippage,
    )
    return _combined(decades) if any(decades) else _CALM


def record_outcome(profile: BotProfile, *, rejected: bool) -> None:
    """Note whether a scored order was refused for the bot's own doing (`FAILURES` in `streams/core/reasons.py`).

    Refusals that follow from an open breaker or a kill do not belong here: they would keep the score up for ever.
    """
    profile.rejects += ((1.0 if rejected else 0.0) - profile.rejects) * _REJECT_RATE


def record_cancellation(profile: BotProfile) -> None:
    """Note that the bot asked to cancel an order."""
    profile.cancels += (1.0 - profile.cancels) * _CANCEL_RATE


def record_execution(profile: BotProfile, *, worse_bps: float) -> None:
    """Note how much worse than the reference price an order was executed; it counts with the orders that follow."""
    slippage = profile.baselines[Feature.SLIPPAGE]
    decades = slippage.take(log1p(max(worse_bps, 0.0) / _SLIPPAGE_GRAIN_BPS))
    profile.slippage = max(profile.slippage, decades)


def worse_bps(report: ExecutionReport, reference: ReferencePrice) -> float:
    """Return by how much a trade's price is worse for the bot than the reference price, which must be above zero."""
    distance = (report.last_px_e13 - reference.price_e13) * 10_000 / reference.price_e13
    return distance if report.side is _BUY else -distance


def _gap_decades(profile: BotProfile, gap: Baseline, received_us: int) -> float:
    """Return how surprisingly short the pauses have become."""
    last_us = profile.last_us
    if received_us > last_us:
        profile.last_us = received_us
    if profile.messages == 1:
        return 0.0
    gap_s = (received_us - last_us) / 1e6 if received_us > last_us else 0.0
    if profile.messages == 2:
        profile.gap_s = gap_s
    else:
        # One long silence says little about the pace: it counts as no more than ten usual gaps.
        profile.gap_s += _GAP_RATE * (min(gap_s, _GAP_CAP * (profile.gap_s + _GAP_GRAIN_S)) - profile.gap_s)
    return gap.take(-log(profile.gap_s + _GAP_GRAIN_S))


def _combined(decades: tuple[float, ...]) -> Score:
    notional, size, burst, rate, gap, price, side, rejects, cancels, slippage = decades
    groups = [max(notional, size), max(burst, rate, gap), price]
    groups += [min(weak, _WEAK_MAX) for weak in (side, rejects, cancels, slippage)]
    value = score_of(together(groups))
    share = value / sum(decades)
    return Score(value, {FEATURES[place]: each * share for place, each in enumerate(decades) if each > 0.0})
