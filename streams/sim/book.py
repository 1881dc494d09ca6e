"""The paper venue's order book of one market: depth from the tape, resting orders by price and time."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.core.orders import Order, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.sim.tape import Tick
    from streams.venue.cancels import Place

DEPTH_TICKS: Final = 100
_MARKET_BID_E13: Final = 10**40


@dataclass(slots=True)
class Working:
    """An order at the venue; `reports` counts what was said about it, so that each report's identity is its own."""

    order: Order
    order_id: str
    place: Place
    cum_qty_e17: int = 0
    reports: int = 0
    open: bool = True

    @property
    def leaves_qty_e17(self) -> int:
        """Return what may still trade."""
        return self.order.order_qty_e17 - self.cum_qty_e17 if self.open else 0


@dataclass(slots=True)
class Book:
    """One market: the last price, what may be taken at it, and the orders that rest.

    What may be taken at the last price is the volume of the latest `DEPTH_TICKS` trades, renewed by each trade.
    """

    last_e13: int = 0
    available_e17: int = 0
    _recent: deque[int] = field(default_factory=deque)
    _volume_e17: int = 0
    _rank: int = 0
    _bids: list[tuple[int, int, Working]] = field(default_factory=list)
    _asks: list[tuple[int, int, Working]] = field(default_factory=list)

    def see(self, tick: Tick) -> None:
        """Take the next trade of the tape."""
        self.last_e13 = tick.price_e13
        self._recent.append(tick.qty_e17)
        self._volume_e17 += tick.qty_e17
        if len(self._recent) > DEPTH_TICKS:
            self._volume_e17 -= self._recent.popleft()
        self.available_e17 = self._volume_e17

    def is_marketable(self, order: Order) -> bool:
        """Say whether the order can trade at the last price."""
        if order.price_e13 is None:
            return True
        return order.price_e13 >= self.last_e13 if order.side is Side.BUY else order.price_e13 <= self.last_e13

    def take(self, qty_e17: int) -> int:
        """Take liquidity at the last price; returns how much there was."""
        taken = min(qty_e17, self.available_e17)
        self.available_e17 -= taken
        return taken

    def rest(self, working: Working) -> None:
        """Let an order wait for its price; a market order waits for the next trade."""
        order = working.order
        self._rank += 1  # no two entries compare their orders
        if order.side is Side.BUY:
            limit_e13 = _MARKET_BID_E13 if order.price_e13 is None else order.price_e13
            heapq.heappush(self._bids, (-limit_e13, self._rank, working))
        else:
            limit_e13 = 0 if order.price_e13 is None else order.price_e13
            heapq.heappush(self._asks, (limit_e13, self._rank, working))

    def reached_by(self, tick: Tick) -> Iterator[tuple[Working, int, int]]:
        """Yield the resting orders that a trade fills, with quantity and price: its volume by price and time.

        A limit order trades at its own price, a market order at the trade's.
        """
        volume_e17 = tick.qty_e17
        for heap, bound_e13 in ((self._bids, -tick.price_e13), (self._asks, tick.price_e13)):
            while heap and volume_e17 > 0 and heap[0][0] <= bound_e13:
                working = heap[0][2]
                qty_e17 = min(working.leaves_qty_e17, volume_e17)
                if qty_e17 == working.leaves_qty_e17:
                    heapq.heappop(heap)  # filled now, or closed before
                if qty_e17 > 0:
                    volume_e17 -= qty_e17
                    own_e13 = working.order.price_e13
                    yield working, qty_e17, tick.price_e13 if own_e13 is None else own_e13
