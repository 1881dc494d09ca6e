"""All that a decision may look at besides the message itself, and what is worked out from it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from streams.core.orders import Failure, MsgType, Order, OrdType, ReferencePrice, Side, TradingState, decimal_text
from streams.core.reasons import Reason

if TYPE_CHECKING:
    from streams.core.exposure import Exposure
    from streams.core.policy import Policy
    from streams.core.state import BotState

_CANCEL: Final = MsgType.ORDER_CANCEL_REQUEST
_LIMIT: Final = OrdType.LIMIT
_SELL: Final = Side.SELL
_VALUE_DIVISOR: Final = 10**38  # scale 17 + 13 + 13 down to 5


@dataclass(slots=True)
class Situation:
    """What is known when a message is decided. Times in microseconds UTC, money in EUR at scale 5."""

    now_us: int
    received_us: int
    policy: Policy | None
    not_before_us: int
    not_after_us: int
    identity: tuple[Failure, ...]
    authenticated: bool
    bot: BotState | None
    kill: str | None
    market_state: TradingState
    reference: ReferencePrice | None
    reference_live: bool
    daily_value_e5: int
    seen: bool
    score: float | None
    exposure: Exposure


class Facts:
    """What several checks need, worked out once: the registered bot, its policy, the usable reference, the value."""

    __slots__ = ("bot", "policy", "received_us", "reference", "reference_problem", "value_e5")

    def __init__(self, order: Order, situation: Situation, policy: Policy, bot: BotState) -> None:
        self.policy = policy
        self.bot = bot
        self.received_us = bot.received_at(situation.received_us)
        self.reference: ReferencePrice | None = None
        self.value_e5: int | None = None
        self.reference_problem = reference_problem(order, situation, policy)
        if self.reference_problem is None and situation.reference is not None:
            self.reference = situation.reference
            self.value_e5 = value_e5(order, situation.reference)


@unique
class Applies(Enum):
    """Which messages a check looks at: all, or only those that may bring an order to the book."""

    ALL = "all"
    ENTERING = "entering"


CheckFunction = Callable[[Order, Situation, Facts], Failure | None]
Check = tuple[Reason, Applies, CheckFunction]


def is_entering(order: Order) -> bool:
    """Tell whether the message may bring an order to the book: everything but a cancellation."""
    return order.msg_type is not _CANCEL


def counted_price_e13(order: Order, reference_e13: int) -> int | None:
    """Return the price at which an order counts: for MARKET the reference price, for LIMIT its own.

    A sale trades at its limit or better, so far below the market it is worth what the market pays: it counts at no less
    than the reference price. A purchase never costs more than its limit.
    """
    price_e13 = order.price_e13
    if order.ord_type is not _LIMIT:
        return reference_e13
    if price_e13 is not None and 0 < price_e13 < reference_e13 and order.side is _SELL:
        return reference_e13
    return price_e13


def value_e5(order: Order, reference: ReferencePrice) -> int | None:
    """Return the order's value in EUR rounded up, or None where quantity or price is not above zero."""
    price_e13 = counted_price_e13(order, reference.price_e13)
    if price_e13 is None or price_e13 <= 0 or order.order_qty_e17 <= 0:
        return None
    return -(-order.order_qty_e17 * price_e13 * reference.eur_rate_e13 // _VALUE_DIVISOR)


def reference_problem(order: Order, situation: Situation, policy: Policy) -> str | None:
    """Return why the reference price cannot be used, as a verdict shows it, or None where it can."""
    reference = situation.reference
    if reference is None or reference.symbol != order.symbol:
        return "missing"
    if not situation.reference_live:
        return "reader not caught up"
    if min(reference.price_e13, reference.eur_rate_e13, reference.tick_size_e13, reference.lot_size_e17) <= 0:
        return "not above zero"
    age_us = situation.now_us - reference.price_time_us
    limit_us = policy.reference_max_age_ms * 1_000
    if -limit_us <= age_us <= limit_us:
        return None
    return decimal_text(age_us, 3)
