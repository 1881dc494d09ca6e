"""False alarms where nothing happened: real trades, dealt to bots as if each had sent them as orders."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from streams.core.anomaly import BotProfile, Observation, observe, record_outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streams.detect.data import Trade

BOTS: Final = (1, 4, 16)
BREAKER: Final = 0.75
KILL: Final = 0.85
THRESHOLDS: Final = tuple(fortieth / 40 for fortieth in range(20, 33))
"""For curves: 0.5 to 0.8, what one quantity alone can reach; the breaker's is among them."""
# As long as a policy's cool-down in the examples: until then an open breaker is one breaker.
_COOLDOWN_US: Final = 60_000_000
# Longer pauses of all bots are no trading time: an account that sleeps for months cannot be stopped for nothing.
_PAUSE_US: Final = 3_600_000_000
_WEEK_US: Final = 7 * 86_400_000_000
_BPS: Final = 10_000
_UNITS_PER_VALUE: Final = 100_000.0
# Numerical Recipes' generator: the same deal everywhere, without the library's.
_DEAL: Final = (1_664_525, 1_013_904_223, 2**32)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What happened on quiet data."""

    orders: int = 0
    bot_weeks: float = 0.0
    above_breaker: int = 0
    above_kill: int = 0
    breakers: int = 0
    seconds: float = 0.0
    breakers_at: tuple[int, ...] = (0,) * len(THRESHOLDS)
    """How many would have opened at each of `THRESHOLDS`."""

    def __add__(self, other: Quiet) -> Quiet:
        return Quiet(
            self.orders + other.orders,
            self.bot_weeks + other.bot_weeks,
            self.above_breaker + other.above_breaker,
            self.above_kill + other.above_kill,
            self.breakers + other.breakers,
            self.seconds + other.seconds,
            tuple(one + more for one, more in zip(self.breakers_at, other.breakers_at, strict=True)),
        )


def deal(trades: Sequence[Trade], bots: int) -> list[tuple[int, Trade]]:
    """Deal a tape's trades to so many bots at random, always in the same way."""
    factor, step, modulus = _DEAL
    card = 1
    dealt = []
    for trade in trades:
        card = (card * factor + step) % modulus
        dealt.append((card * bots // modulus, trade))
    return dealt


def score_orders(orders: Sequence[tuple[int, Trade]], *, with_reference: bool = True) -> Quiet:
    """Score trades as the orders of the bots named beside them; the reference price is that of the trade before."""
    profiles = {bot: BotProfile() for bot, _ in orders}
    seen = list(_observations(orders, with_reference=with_reference))
    scores = []
    begun = time.process_time()
    for bot, observation in seen:
        profile = profiles[bot]
        scores.append(observe(profile, observation).value)
        record_outcome(profile, rejected=False)
    seconds = time.process_time() - begun
    at = [(bot, observation.received_us, score) for (bot, observation), score in zip(seen, scores, strict=True)]
    breakers_at = tuple(_breakers(at, threshold) for threshold in THRESHOLDS)
    above_breaker, above_kill = (sum(score > threshold for score in scores) for threshold in (BREAKER, KILL))
    times = [trade.time_us for _, trade in orders]
    traded_us = sum(min(later - sooner, _PAUSE_US) for sooner, later in pairwise(times))
    weeks = len(profiles) * traded_us / _WEEK_US
    breakers = breakers_at[THRESHOLDS.index(BREAKER)]
    return Quiet(len(orders), weeks, above_breaker, above_kill, breakers, seconds, breakers_at)


def _breakers(scored: Iterable[tuple[int, int, float]], threshold: float) -> int:
    """Return how many breakers scores above a threshold open; each holds for its cool-down."""
    open_until_us: dict[int, int] = {}
    opened = 0
    for bot, received_us, score in scored:
        if score > threshold:
            opened += received_us >= open_until_us.get(bot, 0)
            open_until_us[bot] = received_us + _COOLDOWN_US
    return opened


def _observations(orders: Iterable[tuple[int, Trade]], *, with_reference: bool) -> Iterator[tuple[int, Observation]]:
    previous = None
    for bot, trade in orders:
        distance = abs(trade.price - previous) / previous * _BPS if with_reference and previous else None
        previous = trade.price
        value = int(trade.price * trade.amount * _UNITS_PER_VALUE) + 1
        yield bot, Observation(trade.time_us, trade.buy, value, distance, trade.amount)
