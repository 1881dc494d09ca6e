"""An override: one blocked trade that may pass the limits on its size and price, once, for minutes, by two people.

Source: RTS 6 Art. 15(6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import PRICE_SCALE, QTY_SCALE, MsgType, Side, decimal_text
from streams.core.reasons import Reason

if TYPE_CHECKING:
    from streams.core.gate import Decision
    from streams.core.orders import Order

LASTS_US: Final = 600_000_000
SIGNATURES: Final = 2
# The limits of Art. 15(1) and (2) on one trade's price, value and volume. Who may trade at all, where, when and how
# often, and everything that stops a bot, no override lifts.
LIFTED: Final = frozenset(
    {
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        Reason.MAX_ORDER_VOLUME_EXCEEDED,
        Reason.PRICE_COLLAR_EXCEEDED,
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class Terms:
    """The one trade that people looked at; no price: a MARKET order."""

    symbol: str
    side: Side
    order_qty_e17: int
    price_e13: int | None

    def __str__(self) -> str:
        qty = decimal_text(self.order_qty_e17, QTY_SCALE)
        price = "market" if self.price_e13 is None else decimal_text(self.price_e13, PRICE_SCALE)
        return f"{self.side} {qty} {self.symbol} at {price}"


@dataclass(frozen=True, slots=True)
class Override:
    """What was signed for one ClOrdID of a bot, by whom in which commands, and until when it holds (us UTC)."""

    terms: Terms
    signers: tuple[str, ...]
    command_ids: tuple[str, ...]
    until_us: int

    def holds(self, now_us: int) -> bool:
        """Tell whether its time is not over."""
        return now_us <= self.until_us

    def signed(self, person: str, command_id: str) -> Override:
        """Return it with one more signature."""
        return replace(self, signers=(*self.signers, person), command_ids=(*self.command_ids, command_id))

    def to_row(self) -> list[Any]:
        """Return it as a flat list for a row of JSON."""
        terms = self.terms
        return [
            terms.symbol,
            terms.side.value,
            str(terms.order_qty_e17),
            None if terms.price_e13 is None else str(terms.price_e13),
            " ".join(self.signers),
            " ".join(self.command_ids),
            self.until_us,
        ]

    @classmethod
    def from_row(cls, row: list[Any]) -> Override:
        """Return the override that `to_row` wrote; names of people and commands hold no space."""
        symbol, side, qty, price, signers, command_ids, until_us = row
        terms = Terms(symbol, Side(side), int(qty), None if price is None else int(price))
        return cls(terms, tuple(signers.split()), tuple(command_ids.split()), until_us)


def lift(order: Order, decision: Decision, override: Override, now_us: int) -> Decision:
    """Return the decision after an override of the order's ClOrdID: an approval that names what it lifted, or the same.

    It lifts nothing unless two people signed, in time, for exactly this trade, and nothing but limits of `LIFTED` is in
    its way.
    """
    terms = Terms(order.symbol, order.side, order.order_qty_e17, order.price_e13)
    lifts = (
        not decision.approved
        and len(override.signers) >= SIGNATURES
        and override.holds(now_us)
        and order.msg_type is MsgType.NEW_ORDER_SINGLE
        and terms == override.terms
        and all(failure.reason in LIFTED for failure in decision.failures)
    )
    return replace(decision, approved=True, reason=Reason.NONE) if lifts else decision
