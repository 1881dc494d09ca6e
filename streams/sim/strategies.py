"""How the bots trade when they behave: five strategies that turn the market's state into a sound draft of a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.core.orders import MsgType, OrdType, Side, TimeInForce
from streams.sim.fleet import Habit

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from streams.sim.markets import Market

_OPEN_MAX: Final = 8
_SLICES: Final = 10
_BPS: Final = 10_000
_OPPOSITE: Final = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class Draft(NamedTuple):
    """The content of a message before it has an identity; quantities at scale 17, prices at scale 13."""

    symbol: str
    side: Side
    order_qty_e17: int
    price_e13: int | None
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCEL
    msg_type: MsgType = MsgType.NEW_ORDER_SINGLE
    orig_cl_ord_id: str | None = None

    @property
    def ord_type(self) -> OrdType:
        """Return LIMIT where there is a price."""
        return OrdType.MARKET if self.price_e13 is None else OrdType.LIMIT


@dataclass(slots=True)
class View:
    """What bots see of one market: the last price and two moving averages, at scale 13."""

    market: Market
    last_e13: int
    fast_e13: int
    slow_e13: int

    @classmethod
    def of(cls, market: Market, price_e13: int) -> View:
        """Return the view at the market's first price."""
        return cls(market, price_e13, price_e13, price_e13)

    def see(self, price_e13: int) -> None:
        """Take the next price."""
        self.last_e13 = price_e13
        self.fast_e13 += (price_e13 - self.fast_e13) // 8
        self.slow_e13 += (price_e13 - self.slow_e13) // 64

    def near(self, side: Side, bps: int) -> int:
        """Return the price that is `bps` better for the bot than the last one; below zero means worse."""
        sign = -1 if side is Side.BUY else 1
        return self.market.on_tick(self.last_e13 * (_BPS + sign * bps) // _BPS)

    def qty(self, eur: int) -> int:
        """Return the quantity that is worth about `eur` euros now."""
        return self.market.qty_for_eur(eur, self.last_e13)


@dataclass(slots=True)
class Life:
    """What one bot remembers: its count of messages, its resting orders (newest last), its parent order."""

    sent: int = 0
    resting: list[tuple[str, Draft]] = field(default_factory=list)
    parent: Draft | None = None

    def rest(self, cl_ord_id: str, draft: Draft) -> None:
        """Remember an order that may be cancelled later."""
        self.resting.append((cl_ord_id, draft))
        del self.resting[:-_OPEN_MAX]


def _maker(life: Life, view: View, rng: Random) -> Draft:
    turn = life.sent % 8
    if turn in {3, 7} and life.resting:
        orig, old = life.resting.pop(0)
        cancel = MsgType.ORDER_CANCEL_REQUEST
        return old._replace(msg_type=cancel, orig_cl_ord_id=orig)
    side = Side.BUY if life.sent % 2 == 0 else Side.SELL
    draft = Draft(view.market.symbol, side, view.qty(rng.randint(50, 400)), view.near(side, rng.randint(2, 15)))
    if turn == 5 and life.resting and life.resting[0][1].symbol == draft.symbol:
        orig, old = life.resting.pop(0)
        replace = MsgType.ORDER_CANCEL_REPLACE_REQUEST
        price = view.near(old.side, rng.randint(2, 15))
        return draft._replace(side=old.side, price_e13=price, msg_type=replace, orig_cl_ord_id=orig)
    return draft


def _taker(_life: Life, view: View, rng: Random) -> Draft:
    side = rng.choice((Side.BUY, Side.SELL))
    qty = view.qty(rng.randint(20, 300))
    if rng.random() < 0.5:
        return Draft(view.market.symbol, side, qty, None, TimeInForce.IMMEDIATE_OR_CANCEL)
    return Draft(view.market.symbol, side, qty, view.near(side, -10), TimeInForce.FILL_OR_KILL)


def _momentum(_life: Life, view: View, rng: Random) -> Draft:
    side = Side.BUY if view.fast_e13 >= view.slow_e13 else Side.SELL
    qty = view.qty(rng.randint(50, 500))
    return Draft(view.market.symbol, side, qty, view.near(side, -5), TimeInForce.IMMEDIATE_OR_CANCEL)


def _mean_reverting(_life: Life, view: View, rng: Random) -> Draft:
    side = Side.SELL if view.last_e13 >= view.slow_e13 else Side.BUY
    return Draft(view.market.symbol, side, view.qty(rng.randint(50, 500)), view.near(side, 1), TimeInForce.DAY)


def _slicer(life: Life, view: View, rng: Random) -> Draft:
    if life.parent is None or life.sent % _SLICES == 0 or life.parent.symbol != view.market.symbol:
        side = rng.choice((Side.BUY, Side.SELL))
        life.parent = Draft(view.market.symbol, side, view.qty(rng.randint(30, 200)), None, TimeInForce.DAY)
    return life.parent._replace(price_e13=view.near(life.parent.side, -3))


STRATEGIES: Final[dict[Habit, Callable[[Life, View, Random], Draft]]] = {
    Habit.MAKER: _maker,
    Habit.TAKER: _taker,
    Habit.MOMENTUM: _momentum,
    Habit.MEAN_REVERTING: _mean_reverting,
    Habit.SLICER: _slicer,
}
