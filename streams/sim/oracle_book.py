"""What a bot holds and what it may still come to hold, as the oracle reads it from the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from streams.sim.oracle_history import number

if TYPE_CHECKING:
    from streams.sim.oracle_case import Asked
    from streams.sim.oracle_history import Fields

_ZERO: Final = Decimal(0)
_TRADES: Final = ("FILL", "PARTIAL_FILL")


@dataclass(slots=True)
class Working:
    """An approved order: what of it was executed, and whether it may still trade."""

    symbol: str
    buy: bool
    qty: Decimal
    executed: Decimal = _ZERO
    closed: bool = False

    @property
    def left(self) -> Decimal:
        """Return what may still trade."""
        return _ZERO if self.closed else max(self.qty - self.executed, _ZERO)


@dataclass(slots=True)
class Book:
    """One bot's executions and approved orders."""

    net: dict[str, Decimal] = field(default_factory=dict)
    working: dict[str, Working] = field(default_factory=dict)

    def approve(self, asked: Asked) -> None:
        """Take an approved order; a cancellation opens nothing."""
        if asked.entering:
            self.working[asked.cl_ord_id] = Working(asked.symbol, asked.buy, asked.qty)

    def execute(self, report: Fields) -> None:
        """Take a venue's report."""
        known = self.working.get(report["cl_ord_id"])
        is_trade, qty = report["exec_type"] in _TRADES, number(report["last_qty"], 17)
        if is_trade and known is not None and number(report["cum_qty"], 17) <= known.executed and qty > 0:
            return  # the same again
        traded = max(qty, _ZERO)
        if is_trade:
            sign = 1 if report["side"] == "BUY" else -1
            self.net[report["symbol"]] = self.net.get(report["symbol"], _ZERO) + sign * traded
        if known is not None:
            known.executed += traded
            known.closed |= report["exec_type"] != "PARTIAL_FILL"

    def lowers(self, asked: Asked) -> bool:
        """Say whether an order can only lower what the bot holds, with everything that it has open on that side."""
        net = self.net.get(asked.symbol, _ZERO)
        room = -net if asked.buy else net
        if not 0 < asked.qty <= room:
            return False  # without a look at the bot's whole past
        pending = sum((w.left for w in self.working.values() if (w.symbol, w.buy) == (asked.symbol, asked.buy)), _ZERO)
        return pending + asked.qty <= room
