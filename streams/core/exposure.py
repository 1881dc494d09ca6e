"""A bot's exposure in one market: what it holds, what it may still come to hold, and which orders can only lower it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.orders import Side

if TYPE_CHECKING:
    from streams.core.orders import Order

_BUY: Final = Side.BUY


@dataclass(slots=True)
class Exposure:
    """Quantities at scale 17: the net position by executions, and what approved open orders may still trade."""

    net_e17: int = 0
    open_buy_e17: int = 0
    open_sell_e17: int = 0

    @property
    def worst_e17(self) -> int:
        """Return the largest position, long or short, that any order of events among the open orders can lead to."""
        return max(abs(self.net_e17 + self.open_buy_e17), abs(self.net_e17 - self.open_sell_e17))

    def opened(self, side: Side, qty_e17: int) -> None:
        """Count what an approved order may still trade; a negative quantity takes it off again."""
        if side is _BUY:
            self.open_buy_e17 += qty_e17
        else:
            self.open_sell_e17 += qty_e17

    def traded(self, side: Side, qty_e17: int) -> None:
        """Count an execution."""
        self.net_e17 += qty_e17 if side is _BUY else -qty_e17


FLAT: Final = Exposure()


def reduces(order: Order, exposure: Exposure) -> bool:
    """Tell whether an order can only lower the position, whichever of the bot's open orders trade before it or after.

    Together with everything open on its side it must not reach beyond zero. A replacement counts beside the order that
    it replaces: until the venue reports that one closed, it may have traded. Source: RTS 6 Art. 14(3), 17(4).
    """
    qty_e17 = order.order_qty_e17
    if qty_e17 <= 0:
        return False
    if order.side is _BUY:
        return exposure.open_buy_e17 + qty_e17 <= -exposure.net_e17
    return exposure.open_sell_e17 + qty_e17 <= exposure.net_e17
