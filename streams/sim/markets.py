"""What a tape's markets are like: price and quantity steps, currencies, identifiers, reference prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.errors import PortcullisError
from streams.core.orders import PRICE_SCALE, QTY_SCALE, Activity, ReferencePrice, parse_decimal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.sim.tape import Tick

# EUR for one unit, of August 2024 and fixed: the demo's limits need an order of magnitude, not a market.
_EUR_RATES: Final = {
    "EUR": "1",
    "USD": "0.9158",
    "USDT": "0.9158",
    "USDC": "0.9158",
    "FDUSD": "0.9158",
    "TUSD": "0.9158",
    "BUSD": "0.9158",
    "GBP": "1.1677",
    "BTC": "56520",
    "ETH": "2459",
    "BNB": "471",
}
# ISO 24165; other assets have none here.
_DTI: Final = {"BTC": "4H95J0R2X", "ETH": "X9J9K872S"}
_NO_DTI: Final = "NA"
# ISO 10383: off-exchange transactions in listed instruments. The paper venue has no MIC of its own, and neither has the
# one whose trades it plays.
VENUE_MIC: Final = "XOFF"
_STEPS_PER_PRICE_MIN: Final = 100


class MarketError(PortcullisError):
    """A market cannot be valued; the text names it."""


@dataclass(frozen=True, slots=True)
class Market:
    """A market of a tape, with its first price; steps are powers of ten."""

    symbol: str
    quote_currency: str
    eur_rate_e13: int
    tick_size_e13: int
    lot_size_e17: int
    base_dti: str
    first_price_e13: int

    def reference(self, price_e13: int, price_time_us: int, activity: Activity | None = None) -> ReferencePrice:
        """Return the market's reference price as of a time (microseconds UTC), and what was traded until then."""
        return ReferencePrice(
            symbol=self.symbol,
            price_e13=price_e13,
            price_time_us=price_time_us,
            quote_currency=self.quote_currency,
            eur_rate_e13=self.eur_rate_e13,
            tick_size_e13=self.tick_size_e13,
            lot_size_e17=self.lot_size_e17,
            base_dti=self.base_dti,
            mic=VENUE_MIC,
            source="tape",
            activity=activity,
        )

    def qty_for_eur(self, eur: int, price_e13: int) -> int:
        """Return the quantity (scale 17) that is worth about `eur` euros: whole lots, at least one."""
        unit_eur_e26 = price_e13 * self.eur_rate_e13
        qty_e17: int = eur * 10 ** (QTY_SCALE + 2 * PRICE_SCALE) // unit_eur_e26
        return max(self.lot_size_e17, qty_e17 // self.lot_size_e17 * self.lot_size_e17)

    def on_tick(self, price_e13: int) -> int:
        """Return the nearest price (scale 13) on the market's grid that is above zero."""
        step = self.tick_size_e13
        return max(step, (price_e13 + step // 2) // step * step)


def markets_of(ticks: Iterable[Tick]) -> dict[str, Market]:
    """Return the markets of a tape: the steps are the finest that its prices and quantities use.

    Raises: MarketError where the quote currency has no EUR rate.
    """
    first: dict[str, int] = {}
    lowest: dict[str, int] = {}
    steps: dict[str, tuple[int, int]] = {}
    for tick in ticks:
        symbol, price = tick.symbol, tick.price_e13
        if symbol not in first:
            first[symbol] = lowest[symbol] = price
            steps[symbol] = 10**PRICE_SCALE, 10**QTY_SCALE
        lowest[symbol] = min(lowest[symbol], price)
        tick_size, lot_size = steps[symbol]
        if price % tick_size or tick.qty_e17 % lot_size:
            steps[symbol] = _step(price, tick_size), _step(tick.qty_e17, lot_size)
    return {s: _market(s, first[s], lowest[s], *steps[s]) for s in first}


def _step(value: int, step: int) -> int:
    while value % step:
        step //= 10
    return step


def _market(symbol: str, first: int, lowest: int, tick_size: int, lot_size: int) -> Market:
    base, _, quote = symbol.partition("_")
    rate = _EUR_RATES.get(quote)
    if rate is None:
        raise MarketError(f"market {symbol}: no EUR rate for {quote or 'its quote currency'}")
    while tick_size > 1 and tick_size * _STEPS_PER_PRICE_MIN > lowest:  # whole prices by chance are not a grid
        tick_size //= 10
    eur_rate_e13 = parse_decimal(rate, PRICE_SCALE)
    while lot_size > 1 and lot_size * lowest * eur_rate_e13 > 10 ** (QTY_SCALE + 2 * PRICE_SCALE):  # a lot under EUR 1
        lot_size //= 10
    return Market(symbol, quote, eur_rate_e13, tick_size, lot_size, _DTI.get(base, _NO_DTI), first)
