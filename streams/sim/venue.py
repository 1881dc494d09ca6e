"""The paper venue fills approved orders against the tape. Pure: no Kafka, no clock, same input, same IDs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from streams.core.executions import ExecType, ExecutionReport
from streams.core.orders import MsgType, Order, TimeInForce
from streams.sim.book import Book, Working
from streams.sim.markets import VENUE_MIC
from streams.venue.cancels import MassCancels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.sim.tape import Tick
    from streams.venue.cancels import MassCancel, Place

_DAY_US: Final = 86_400_000_000
_COUNTERPARTY: Final = "TAPE"
_AT_ONCE: Final = (TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)
_Key = tuple[str, str]


class PaperVenue:
    """A venue on paper. Approvals may come again: each (agent_id, cl_ord_id) is acted on once.

    After a restart, `recall` the venue's own earlier reports before the approvals come again. `operators` names each
    bot's operator, for mass cancels by operator; a bot without one is cancelled with every operator.
    """

    def __init__(self, mic: str = VENUE_MIC, operators: Mapping[str, str] | None = None) -> None:
        self._mic = mic
        self._cancels = MassCancels(operators or {})
        self._books: dict[str, Book] = {}
        self._seen: set[_Key] = set()
        self._open: dict[_Key, Working] = {}
        self._recalled: dict[_Key, tuple[ExecutionReport, int]] = {}  # the last report, and how many there were
        self._cancelled_before: set[_Key] = set()
        self._day = 0

    @property
    def open_orders(self) -> int:
        """Return how many orders may still trade."""
        return len(self._open)

    @property
    def open_ids(self) -> frozenset[tuple[str, str]]:
        """Return agent_id and ClOrdID of each order that may still trade."""
        return frozenset(self._open)

    def open_orders_of(self, bots: frozenset[str]) -> int:
        """Return how many orders of these bots may still trade."""
        return sum(agent_id in bots for agent_id, _ in self._open)

    def recall(self, report: ExecutionReport) -> None:
        """Take a report that this venue made before it was restarted."""
        key = report.agent_id, report.cl_ord_id
        _, count = self._recalled.get(key, (report, 0))
        self._recalled[key] = report, count + 1
        if report.exec_type is ExecType.CANCELED:
            self._cancelled_before.add(key)

    def on_tick(self, tick: Tick, now_us: int) -> tuple[ExecutionReport, ...]:
        """Take a trade of the tape: day orders of an earlier UTC day expire, resting orders that it reaches fill."""
        reports = self._expire(now_us)
        book = self._books.setdefault(tick.symbol, Book())
        book.see(tick)
        reports += [self._fill(working, qty, price, now_us) for working, qty, price in book.reached_by(tick)]
        return tuple(reports)

    def on_approved(self, order: Order, place: Place, now_us: int) -> tuple[ExecutionReport, ...]:
        """Act on a message whose approval is the leaf at a place; nothing where it was acted on before."""
        key = order.agent_id, order.cl_ord_id
        if key in self._seen:
            return ()
        self._seen.add(key)
        earlier, reports = self._recalled.pop(key, (None, 0))
        if earlier is not None and earlier.exec_type is not ExecType.PARTIAL_FILL:
            return ()
        traded_e17 = earlier.cum_qty_e17 if earlier else 0
        working = Working(order, self._identifier(order, "order"), place, traded_e17, reports)
        if order.msg_type is MsgType.NEW_ORDER_SINGLE:
            return tuple(self._enter(working, now_us))
        cancelled = self._cancel_original(order, now_us)
        if cancelled is None:
            return (self._close(working, ExecType.REJECTED, now_us),)
        if order.msg_type is MsgType.ORDER_CANCEL_REQUEST:
            return tuple(cancelled)
        return (*cancelled, *self._enter(working, now_us))

    def mass_cancel(self, cancel: MassCancel, now_us: int) -> tuple[ExecutionReport, ...]:
        """Cancel every open order in the scope, and those still to come. Source: FIX MassActionType(1373) 3."""
        self._cancels.take(cancel)
        hit = [w for w in self._open.values() if self._cancels.reaches(cancel, w.order, w.place)]
        return tuple(self._close(working, ExecType.CANCELED, now_us) for working in hit)

    def _enter(self, working: Working, now_us: int) -> list[ExecutionReport]:
        order = working.order
        book = self._books.get(order.symbol)
        if book is None or order.order_qty_e17 <= 0:
            return [self._close(working, ExecType.REJECTED, now_us)]
        if self._cancels.overtook(order, working.place):
            return [self._close(working, ExecType.CANCELED, now_us)]
        self._open[order.agent_id, order.cl_ord_id] = working
        done = []
        if working.reports == 0 and book.is_marketable(order):  # else it had its turn before the restart
            all_or_nothing = order.time_in_force is TimeInForce.FILL_OR_KILL
            if not all_or_nothing or book.available_e17 >= working.leaves_qty_e17:
                taken = book.take(working.leaves_qty_e17)
                if taken:
                    done.append(self._fill(working, taken, book.last_e13, now_us))
        if working.open:
            if order.time_in_force in _AT_ONCE:
                done.append(self._close(working, ExecType.EXPIRED, now_us))
            else:
                book.rest(working)
        return done

    def _cancel_original(self, request: Order, now_us: int) -> list[ExecutionReport] | None:
        """Cancel the order that a request names; None where there is none that is open."""
        key = request.agent_id, request.orig_cl_ord_id or ""
        working = self._open.get(key)
        if working is not None:
            return [self._close(working, ExecType.CANCELED, now_us)]
        return [] if key in self._cancelled_before else None  # then its report is out already

    def _expire(self, now_us: int) -> list[ExecutionReport]:
        day = now_us // _DAY_US
        if day <= self._day:
            return []
        first, self._day = self._day == 0, day
        over = [w for w in self._open.values() if w.order.time_in_force is TimeInForce.DAY]
        return [] if first else [self._close(working, ExecType.EXPIRED, now_us) for working in over]

    def _fill(self, working: Working, qty_e17: int, price_e13: int, now_us: int) -> ExecutionReport:
        working.cum_qty_e17 += qty_e17
        if working.cum_qty_e17 >= working.order.order_qty_e17:
            return self._close(working, ExecType.FILL, now_us, qty_e17, price_e13)
        return self._report(working, ExecType.PARTIAL_FILL, now_us, qty_e17, price_e13)

    def _close(
        self, working: Working, exec_type: ExecType, now_us: int, qty_e17: int = 0, price_e13: int = 0
    ) -> ExecutionReport:
        working.open = False
        self._open.pop((working.order.agent_id, working.order.cl_ord_id), None)
        return self._report(working, exec_type, now_us, qty_e17, price_e13)

    def _report(
        self, working: Working, exec_type: ExecType, now_us: int, qty_e17: int = 0, price_e13: int = 0
    ) -> ExecutionReport:
        order = working.order
        working.reports += 1
        return ExecutionReport(
            agent_id=order.agent_id,
            exec_id=self._identifier(order, str(working.reports)),
            order_id=working.order_id,
            cl_ord_id=order.cl_ord_id,
            exec_type=exec_type,
            symbol=order.symbol,
            side=order.side,
            last_qty_e17=qty_e17,
            last_px_e13=price_e13,
            cum_qty_e17=working.cum_qty_e17,
            leaves_qty_e17=working.leaves_qty_e17 if exec_type is ExecType.PARTIAL_FILL else 0,
            last_mkt=self._mic,
            counterparty=_COUNTERPARTY if qty_e17 else None,
            transact_time_us=now_us,
        )

    def _identifier(self, order: Order, part: str) -> str:
        text = f"{self._mic} {order.agent_id} {order.cl_ord_id} {part}"  # an approved order's names hold no space
        return hashlib.sha256(text.encode()).hexdigest()[:24].upper()
