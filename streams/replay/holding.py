"""What a bot held and had open by the log, so that a policy tried on its orders knows which of them only reduce."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from streams.core.exposure import Exposure
from streams.core.gate import is_entering
from streams.wire.executions import decode_execution_report

if TYPE_CHECKING:
    from streams.core.orders import Order, Side


class Holding:
    """One bot's exposure by market, as it was: executions and open orders of the log, whatever policy is tried."""

    def __init__(self) -> None:
        self._held: defaultdict[str, Exposure] = defaultdict(Exposure)
        self._open: dict[str, tuple[str, Side, int]] = {}  # market, side and what may still trade, by ClOrdID

    def of(self, symbol: str) -> Exposure:
        """Return the exposure in a market."""
        return self._held[symbol]

    def approved(self, order: Order) -> None:
        """Take an order that the log approves."""
        if is_entering(order):
            self._close(order.cl_ord_id, None)
            self._open[order.cl_ord_id] = order.symbol, order.side, order.order_qty_e17
            self._held[order.symbol].opened(order.side, order.order_qty_e17)

    def executed(self, subject: bytes, *, repeated: bool) -> None:
        """Take a venue's report. Raises: DecodeError."""
        report = decode_execution_report(subject)
        if repeated:
            return
        if report.is_trade and report.last_qty_e17 > 0:
            self._held[report.symbol].traded(report.side, report.last_qty_e17)
        self._close(report.cl_ord_id, None if report.ends_order else report.last_qty_e17)

    def _close(self, cl_ord_id: str, qty_e17: int | None) -> None:
        """Take a quantity, or all that is left, off an open order."""
        known = self._open.pop(cl_ord_id, None)
        if known is None:
            return
        symbol, side, left_e17 = known
        gone_e17 = left_e17 if qty_e17 is None else min(max(qty_e17, 0), left_e17)
        self._held[symbol].opened(side, -gone_e17)
        if gone_e17 < left_e17:
            self._open[cl_ord_id] = symbol, side, left_e17 - gone_e17
