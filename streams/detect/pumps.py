"""Announced pump-and-dumps: how many are found within a minute or two, and how often something else alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.market import MarketProfile, RushCounter, score_market

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streams.detect.data import PumpEvent, Trade

# The market detector's parameters were chosen on these events, those of 2020; figures are of all others.
TUNED_ON: Final = frozenset(
    {
        "APPCBTC_2020-11-18T1800",
        "ARNBTC_2020-04-07T1800",
        "EDOBTC_2020-03-26T1559",
        "GRSBTC_2020-04-02T1600",
        "IDEXBTC_2020-12-31T1700",
        "NEBLBTC_2020-11-02T1800",
        "NULSBTC_2020-01-30T1700",
        "NXSBTC_2020-03-03T1600",
        "OAXBTC_2020-10-18T1800",
        "QSPBTC_2020-09-10T1800",
    }
)
BREAKER: Final = 0.75

# A pump is found by an alarm from a minute before its label (insiders buy first) to two minutes after it.
_BEFORE_MS: Final = 60_000
_AFTER_MS: Final = 120_000
# Alarms that follow each other within half an hour are one; in a market's first six hours nothing is usual yet.
_SAME_ALARM_MS: Final = 1_800_000
_WARM_UP_MS: Final = 6 * 3_600_000
_QTY: Final = 10**17


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one or more events."""

    pumps: int = 0
    found: int = 0
    false_alarms: int = 0

    @property
    def precision(self) -> float:
        """Return which part of the alarms was right; 0 without an alarm."""
        return self.found / (self.found + self.false_alarms) if self.found else 0.0

    @property
    def recall(self) -> float:
        """Return which part of the pumps was found; 0 without a pump."""
        return self.found / self.pumps if self.pumps else 0.0

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        missed = self.pumps - self.found
        return 2 * self.found / (2 * self.found + missed + self.false_alarms) if self.pumps else 0.0

    def __add__(self, other: Found) -> Found:
        return Found(self.pumps + other.pumps, self.found + other.found, self.false_alarms + other.false_alarms)


def chunk_scores(trades: Sequence[Trade], chunk_s: int) -> Iterator[tuple[int, float]]:
    """Yield the start in milliseconds and the score of each chunk in which a market traded."""
    market, rush = MarketProfile(chunk_s * 1_000_000), RushCounter()
    chunk = None
    for trade in trades:
        number = trade.time_us // market.chunk_us
        if chunk is not None and number != chunk:
            yield chunk * chunk_s * 1_000, _pump_score(market)
        chunk = number
        rush.add(trade.time_us // 1_000, int(trade.amount * _QTY), buy=trade.buy)
        market.take(trade.time_us, trade.price, rush.take())
    if chunk is not None:
        yield chunk * chunk_s * 1_000, _pump_score(market)


def _pump_score(market: MarketProfile) -> float:
    """Return the score of what goes up; falls are no pumps."""
    score = score_market(market)
    return score.value if "rise" in score.contributions else 0.0


def alarms(scores: Iterable[tuple[int, float]], begin_ms: int, threshold: float = BREAKER) -> list[int]:
    """Return when alarms began: a score above the threshold."""
    begun = []
    last_ms = None
    for at_ms, score in scores:
        if score <= threshold:
            continue
        if (last_ms is None or at_ms - last_ms >= _SAME_ALARM_MS) and at_ms - begin_ms > _WARM_UP_MS:
            begun.append(at_ms)
        last_ms = at_ms
    return begun


def judge(event: PumpEvent, trades: Sequence[Trade], chunk_s: int) -> Found:
    """Return what came of one event: its pump found or not, and false alarms in the days around it."""
    return judge_at(event, trades, chunk_s, (BREAKER,))[BREAKER]


def judge_at(
    event: PumpEvent, trades: Sequence[Trade], chunk_s: int, thresholds: Iterable[float]
) -> dict[float, Found]:
    """Return what would have come of one event at each of these thresholds."""
    scores, begin_ms = list(chunk_scores(trades, chunk_s)), trades[0].time_us // 1_000
    return {one: _found(event, alarms(scores, begin_ms, one), chunk_s) for one in thresholds}


def _found(event: PumpEvent, at_ms: Sequence[int], chunk_s: int) -> Found:
    inside = [t for t in at_ms if -_BEFORE_MS - chunk_s * 1_000 <= t - event.label_ms <= _AFTER_MS]
    right = event.happened and bool(inside)
    outside = len(at_ms) - (len(inside) if event.happened else 0)
    return Found(int(event.happened), int(right), outside)
