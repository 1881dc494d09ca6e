"""How unusual a market is: a score in [0, 1) from its prices and, where the feed tells, from what was traded.

A pump shows as rush orders to buy together with a rise, a crash as rush orders to sell together with a fall: each pair
is one thing seen from two sides and counts as their mean. A feed that does not tell rush orders has the volume in
their place, one that tells no trades leaves the price alone. A move of 10 % within two chunks is an alarm anywhere.
A rush order is a taker's order that swept several resting ones: trades of one side with one time stamp.
Source: La Morgia, Mei, Sassi, Stefa 2020, "Pump and Dumps in the Bitcoin Era".
"""

from __future__ import annotations

from math import log, log1p
from typing import Any, Final

from streams.core.anomaly import Score
from streams.core.baseline import DECADES_MAX, Baseline, Tuning, check_row, read_baselines, score_of
from streams.core.orders import QTY_SCALE, Activity

MODEL: Final = "known-extremes-market-1"
CHUNK_US: Final = 25_000_000
ROW_VERSION: Final = 1
FEATURES: Final = ("rush_buys", "rise", "rush_sells", "fall", "volume")

_MEMORY_US: Final = 3 * 86_400_000_000
_DOUBLING: Final = log(2)
# Of what the chunk before had, half still counts: a pump does not wait for the clock.
_CARRIED: Final = 0.5
_MOVE_GRAIN: Final = 0.005
# A move within two chunks that is an alarm whatever was usual, as a ratio: 10 %.
_MOVE_ALARM: Final = 1.10
_QUIET_CHUNKS_MAX: Final = 144
_CALM: Final = Score(0.0, {})
_LOT: Final = 10**QTY_SCALE
_HEAD_COLUMNS: Final = 14
_COLUMNS: Final = _HEAD_COLUMNS + 3 * len(FEATURES)


class RushCounter:
    """Counts rush orders and volume in a market's trades, in the order of their time."""

    __slots__ = ("_buys", "_last", "_run", "_sells", "_volume_e17")

    def __init__(self) -> None:
        self._last: tuple[int, bool] | None = None
        self._run = self._buys = self._sells = self._volume_e17 = 0

    def add(self, time_ms: int, qty_e17: int, *, buy: bool) -> None:
        """Take a trade; `buy` says whether the taker bought."""
        self._volume_e17 += qty_e17
        self._run = self._run + 1 if self._last == (time_ms, buy) else 1
        self._last = time_ms, buy
        if self._run == 2:
            self._buys += buy
            self._sells += not buy

    def take(self) -> Activity:
        """Return what was counted since the last call."""
        activity = Activity(self._volume_e17, self._buys, self._sells)
        self._buys = self._sells = self._volume_e17 = 0
        return activity


class MarketProfile:
    """What the scores of one market remember: the running chunk, the one before, and five baselines."""

    __slots__ = (
        "alarmed_chunk",
        "baselines",
        "before_high",
        "before_low",
        "chunk",
        "chunk_us",
        "fall",
        "high",
        "last",
        "low",
        "rise",
        "rush_buys",
        "rush_sells",
        "told",
        "volume",
    )

    def __init__(self, chunk_us: int = CHUNK_US) -> None:
        self.chunk_us = chunk_us
        self.chunk = self.told = 0
        self.alarmed_chunk = -1
        """`told`: 0 prices, 1 volume, 2 rush orders; `alarmed_chunk`: the last one of which an alarm was told."""
        self.last = self.low = self.high = self.before_low = self.before_high = 0.0
        self.rise = self.fall = 1.0
        """The largest rise and fall of the running chunk, from a price in it or in the one before, as a ratio."""
        self.rush_buys = self.rush_sells = self.volume = 0.0
        usual = Tuning(memory=_MEMORY_US / chunk_us, grain=_DOUBLING)
        self.baselines = tuple(Baseline(usual) for _ in FEATURES)

    def to_row(self) -> list[Any]:
        """Return the profile as a flat list of integers and floats; the version leads."""
        row: list[Any] = [ROW_VERSION, self.chunk, self.alarmed_chunk, self.told]
        row += [self.last, self.low, self.high, self.before_low, self.before_high, self.rise, self.fall]
        row += [self.rush_buys, self.rush_sells, self.volume]
        for baseline in self.baselines:
            row += baseline.cells()
        return row

    @classmethod
    def from_row(cls, row: list[Any]) -> MarketProfile:
        """Return the profile that `to_row` wrote.

        Raises: ProfileRowError where the row is of another version or length.
        """
        check_row(row, ROW_VERSION, _COLUMNS)
        market = cls()
        market.chunk, market.alarmed_chunk, market.told = row[1:4]
        market.last, market.low, market.high, market.before_low, market.before_high = row[4:9]
        market.rise, market.fall, market.rush_buys, market.rush_sells, market.volume = row[9:14]
        market.baselines = read_baselines((each.tuning for each in market.baselines), row[_HEAD_COLUMNS:])
        return market

    def take(self, time_us: int, price: float, activity: Activity | None) -> None:
        """Take the market's next price, above zero, with what was traded since the one before.

        Baselines learn whole chunks only, so a move cannot become usual while it goes on.
        """
        chunk = time_us // self.chunk_us
        if self.last == 0.0:
            self.chunk = chunk
            self.last = self.low = self.high = self.before_low = self.before_high = price
        elif chunk > self.chunk:
            self._close_until(chunk)
        self.last = price
        self.low, self.high = min(self.low, price), max(self.high, price)
        self.rise = max(self.rise, price / min(self.low, self.before_low))
        self.fall = max(self.fall, max(self.high, self.before_high) / price)
        if activity is not None:
            self.volume += activity.volume_e17 / _LOT
            if activity.rush_buys is None or activity.rush_sells is None:
                self.told = 1
            else:
                self.told = 2
                self.rush_buys += activity.rush_buys
                self.rush_sells += activity.rush_sells

    def _close_until(self, chunk: int) -> None:
        """Learn the running chunk and the empty ones up to a new one."""
        for _ in range(min(chunk - self.chunk, _QUIET_CHUNKS_MAX)):
            for baseline, x in zip(self.baselines, self.values(), strict=True):
                baseline.take(x)
            self.rush_buys *= _CARRIED
            self.rush_sells *= _CARRIED
            self.volume = 0.0
            self.before_low, self.before_high = self.low, self.high
            self.low = self.high = self.last
            self.rise, self.fall = self.last / self.before_low, self.before_high / self.last
        self.chunk = chunk

    def values(self) -> tuple[float, float, float, float, float]:
        """Return the features of the running chunk, in the order of `FEATURES`."""
        return (
            log1p(self.rush_buys),
            log1p(log(self.rise) / _MOVE_GRAIN),
            log1p(self.rush_sells),
            log1p(log(self.fall) / _MOVE_GRAIN),
            log1p(self.volume),
        )


def score_market(market: MarketProfile) -> Score:
    """Score the running chunk as it stands; within a chunk the score never falls."""
    rush_buys, rise, rush_sells, fall, volume = (
        baseline.judge(x) for baseline, x in zip(market.baselines, market.values(), strict=True)
    )
    if market.told == 0:
        up, down = {"rise": rise}, {"fall": fall}
    elif market.told == 1:
        up, down = {"volume": volume, "rise": rise}, {"volume": volume, "fall": fall}
    else:
        up, down = {"rush_buys": rush_buys, "rise": rise}, {"rush_sells": rush_sells, "fall": fall}
    seen = max(up, down, key=lambda pair: sum(pair.values()))
    decades = sum(seen.values()) / len(seen)
    if market.rise >= _MOVE_ALARM or market.fall >= _MOVE_ALARM:
        seen = {"rise" if market.rise >= market.fall else "fall": DECADES_MAX}
        decades = DECADES_MAX
    if not decades:
        return _CALM
    value = score_of(decades)
    share = value / sum(seen.values())
    return Score(value, {name: each * share for name, each in seen.items() if each > 0.0})
