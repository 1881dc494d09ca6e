"""The plan of a simulation: which bot sends what, at which trade of the tape; a pure function of its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.orders import MsgType, Order
from streams.sim.fleet import GOOD_HABITS, REGION, Bot, Habit
from streams.sim.markets import VENUE_MIC, Market, markets_of
from streams.sim.mischief import MISDEEDS, Recipe, Sketch, runaway
from streams.sim.strategies import STRATEGIES, Life, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.sim.tape import Tick

_MISDEED_EVERY: Final = 3
_OVERSIZED_GIVES_UP_AFTER: Final = 12
_BURST_MAX: Final = 400
_BURST_MIN: Final = 180


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """A message to be sent: what it says and how it becomes bytes.

    `order.transact_time_us` is 0: it is set when the message is signed, to `age_us` before that moment. `tick_index` is
    the trade of the tape that the bot reacts to, so that the market's reference price can be kept in step.
    """

    number: int
    habit: Habit
    recipe: Recipe
    key: str
    order: Order
    age_us: int
    payload: bytes
    tick_index: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A certificate to be revoked once the message of this number was sent."""

    agent_id: str
    after_number: int


def revocations(bots: Sequence[Bot], orders_total: int) -> tuple[Revocation, ...]:
    """Return what the revoked bots have coming: their certificates go at half of the plan."""
    return tuple(Revocation(bot.agent_id, orders_total // 2) for bot in bots if bot.habit is Habit.REVOKED)


def plan(
    ticks: Sequence[Tick],
    bots: Sequence[Bot],
    orders_total: int,
    seed: int,
    *,
    markets: dict[str, Market] | None = None,
) -> Iterator[PlannedMessage]:
    """Yield exactly `orders_total` messages along the tape: the same for the same arguments.

    The messages are spread evenly over the whole tape. ClOrdIDs hold the seed, so two seeds never collide.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    desk = _Desk(markets or markets_of(ticks), bots, seed, rng)
    schedule = _schedule(bots, orders_total, rng)
    seen = -1
    for number in range(orders_total):
        tick_index = number * len(ticks) // orders_total
        while seen < tick_index:
            seen += 1
            desk.see(ticks[seen])
        yield desk.message(number, next(schedule), tick_index)


def _schedule(bots: Sequence[Bot], orders_total: int, rng: random.Random) -> Iterator[tuple[int, bool]]:
    """Yield whose turn it is and whether in a burst: by weight in shuffled rounds, runaways' bursts in one piece."""
    runaways = [place for place, bot in enumerate(bots) if bot.habit is Habit.RUNAWAY]
    bursts = _bursts(runaways, orders_total)
    slots = [place for place, bot in enumerate(bots) for _ in range(bot.weight)]
    sent = 0
    while True:
        rng.shuffle(slots)
        for place in slots:
            while bursts and sent >= bursts[0][0]:
                _, runaway_place, size = bursts.pop(0)
                sent += size
                for _ in range(size):
                    yield runaway_place, True
            sent += 1
            yield place, False


def _bursts(runaways: list[int], orders_total: int) -> list[tuple[int, int, int]]:
    """Return when each runaway runs away and for how many messages: a twentieth of the plan, a quarter at most."""
    if not runaways:
        return []
    each = min(_BURST_MAX, max(_BURST_MIN, orders_total // 20 // len(runaways)))
    each = min(each, orders_total // 4 // len(runaways))
    step = orders_total // 4 // len(runaways)
    return [(orders_total // 2 + step * nth, place, each) for nth, place in enumerate(runaways)]


class _Desk:
    """All bots at work: their lives and what they see of the markets."""

    def __init__(self, markets: dict[str, Market], bots: Sequence[Bot], seed: int, rng: random.Random) -> None:
        self._markets = markets
        self._bots = bots
        self._rng = rng
        self._tag = f"{seed & 0xFFFFFFFF:x}"
        self._lives = [Life() for _ in bots]
        self._views: dict[str, View] = {}
        self._view: View | None = None

    def see(self, tick: Tick) -> None:
        """Let all bots see a trade."""
        view = self._views.get(tick.symbol)
        if view is None:
            view = self._views[tick.symbol] = View.of(self._markets[tick.symbol], tick.price_e13)
        view.see(tick.price_e13)
        self._view = view

    def message(self, number: int, turn: tuple[int, bool], tick_index: int) -> PlannedMessage:
        """Return the next message of the bot whose turn it is."""
        place, in_burst = turn
        view = self._view
        if view is None:
            raise AssertionError("a message before the first trade")
        bot, life = self._bots[place], self._lives[place]
        manner = bot.habit if bot.habit in STRATEGIES else GOOD_HABITS[place % len(GOOD_HABITS)]
        if bot.habit not in STRATEGIES and manner is Habit.MAKER:
            manner = Habit.TAKER  # a bad bot's misdeeds are orders: a cancellation would hide them
        draft = STRATEGIES[manner](life, view, self._rng)
        sketch = Sketch(
            draft, f"{self._tag}-{bot.agent_id}-{life.sent}", REGION, VENUE_MIC, life.sent // _MISDEED_EVERY
        )
        sketch.last_cl_ord_id = f"{self._tag}-{bot.agent_id}-{life.sent - 1}" if life.sent else ""
        if in_burst:
            runaway(sketch, view, self._rng)
        elif _misbehaves(bot.habit, life.sent):
            MISDEEDS[bot.habit](sketch, view, self._rng)
        if sketch.draft.msg_type is not MsgType.ORDER_CANCEL_REQUEST and bot.habit in GOOD_HABITS:
            life.rest(sketch.cl_ord_id, sketch.draft)
        life.sent += 1
        return self._planned(number, bot, sketch, tick_index)

    def _planned(self, number: int, bot: Bot, sketch: Sketch, tick_index: int) -> PlannedMessage:
        draft = sketch.draft
        order = Order(
            agent_id=bot.agent_id,
            cl_ord_id=sketch.cl_ord_id,
            orig_cl_ord_id=draft.orig_cl_ord_id,
            msg_type=draft.msg_type,
            symbol=draft.symbol,
            ex_destination=sketch.venue,
            region=sketch.region,
            side=draft.side,
            ord_type=draft.ord_type,
            time_in_force=draft.time_in_force,
            order_qty_e17=draft.order_qty_e17,
            price_e13=draft.price_e13,
            transact_time_us=0,
        )
        key = bot.agent_id
        if sketch.recipe is Recipe.WRONG_KEY:
            key = next((other.agent_id for other in self._bots if other is not bot), "nobody")
        return PlannedMessage(number, bot.habit, sketch.recipe, key, order, sketch.age_us, sketch.payload, tick_index)


def _misbehaves(habit: Habit, sent: int) -> bool:
    if habit not in MISDEEDS:
        return False
    if habit is Habit.CAP_EXHAUSTER:
        return True
    if habit is Habit.OVERSIZED and sent >= _OVERSIZED_GIVES_UP_AFTER:
        return True
    return sent % _MISDEED_EVERY == 1
