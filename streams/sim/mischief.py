"""How the bots misbehave: one function for each bad habit, which spoils a sound message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from streams.core.orders import Side, TimeInForce
from streams.sim.fleet import Habit

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from streams.sim.strategies import Draft, View

_TOO_OLD_US: Final = 25 * 3_600_000_000  # past the greatest age that a policy can allow, a day


@unique
class Recipe(StrEnum):
    """How a planned message becomes bytes."""

    SIGNED = "signed"
    FORGED = "forged"  # signed by another key, under the bot's own thumbprint
    UNSIGNED = "unsigned"
    GARBAGE = "garbage"
    WRONG_KEY = "wrong-key"  # signed, but sent under another bot's Kafka key


@dataclass(slots=True)
class Sketch:
    """A message in the making; `turn` counts the bot's misdeeds, from 0."""

    draft: Draft
    cl_ord_id: str
    region: str
    venue: str
    turn: int
    recipe: Recipe = Recipe.SIGNED
    age_us: int = 0
    payload: bytes = b""
    last_cl_ord_id: str = ""


def _oversized(sketch: Sketch, view: View, rng: Random) -> None:
    eur = rng.randint(3_000, 4_500) if sketch.turn % 2 else rng.randint(20_000, 200_000)
    sketch.draft = sketch.draft._replace(order_qty_e17=view.qty(eur))


def _wrong_market(sketch: Sketch, _view: View, _rng: Random) -> None:
    sketch.draft = sketch.draft._replace(symbol="DOGE_USDT" if sketch.turn % 2 else "XMR_USDT")


def _wrong_place(sketch: Sketch, _view: View, _rng: Random) -> None:
    if sketch.turn % 2:
        sketch.venue = "XXXX"  # ISO 10383: no market
    else:
        sketch.region = "us-east-1"


def _forged(sketch: Sketch, _view: View, _rng: Random) -> None:
    sketch.recipe = Recipe.UNSIGNED if sketch.turn % 2 else Recipe.FORGED


def _repeated(sketch: Sketch, _view: View, _rng: Random) -> None:
    sketch.cl_ord_id = sketch.last_cl_ord_id or sketch.cl_ord_id


def _off_grid(sketch: Sketch, view: View, _rng: Random) -> None:
    market, draft = view.market, sketch.draft
    fault = sketch.turn % 3
    if fault == 0 and market.tick_size_e13 > 1:
        price_e13 = (draft.price_e13 or view.last_e13) + market.tick_size_e13 // 2
        sketch.draft = draft._replace(price_e13=price_e13, time_in_force=TimeInForce.DAY)
    elif fault == 1 and market.lot_size_e17 > 1:
        sketch.draft = draft._replace(order_qty_e17=draft.order_qty_e17 + market.lot_size_e17 // 2)
    else:
        sketch.draft = draft._replace(order_qty_e17=-draft.order_qty_e17)


def _fat_finger(sketch: Sketch, view: View, rng: Random) -> None:
    """Slip by a digit: 4 % off at first, then by a factor of ten."""
    side = Side.BUY if rng.random() < 0.5 else Side.SELL
    price_e13 = view.near(side, -400)
    if sketch.turn % 2:
        price_e13 = view.market.on_tick(view.last_e13 * 10 if side is Side.BUY else view.last_e13 // 10)
    qty_e17 = view.qty(rng.randint(50, 200))
    sketch.draft = sketch.draft._replace(
        side=side, price_e13=price_e13, order_qty_e17=qty_e17, time_in_force=TimeInForce.DAY
    )


def _huge_day(sketch: Sketch, view: View, rng: Random) -> None:
    sketch.draft = sketch.draft._replace(order_qty_e17=view.qty(rng.randint(3_200, 4_000)))


def _stale(sketch: Sketch, _view: View, _rng: Random) -> None:
    sketch.age_us = -_TOO_OLD_US if sketch.turn % 2 else _TOO_OLD_US


def _corrupt(sketch: Sketch, _view: View, rng: Random) -> None:
    if sketch.turn % 2:
        sketch.recipe = Recipe.WRONG_KEY
    else:
        sketch.recipe = Recipe.GARBAGE
        sketch.payload = rng.randbytes(rng.randint(0, 400))


def runaway(sketch: Sketch, view: View, rng: Random) -> None:
    """Make the message one of a burst: a market order far over the bot's limit, always on the same side."""
    qty_e17 = view.qty(rng.randint(20_000, 60_000))
    tif = TimeInForce.IMMEDIATE_OR_CANCEL
    sketch.draft = sketch.draft._replace(side=Side.BUY, price_e13=None, order_qty_e17=qty_e17, time_in_force=tif)


MISDEEDS: Final[dict[Habit, Callable[[Sketch, View, Random], None]]] = {
    Habit.OVERSIZED: _oversized,
    Habit.WRONG_MARKET: _wrong_market,
    Habit.WRONG_PLACE: _wrong_place,
    Habit.FORGER: _forged,
    Habit.REPEATER: _repeated,
    Habit.OFF_GRID: _off_grid,
    Habit.FAT_FINGER: _fat_finger,
    Habit.CAP_EXHAUSTER: _huge_day,
    Habit.STALE: _stale,
    Habit.CORRUPT: _corrupt,
}
