"""A bot's hand: signs and sends one message after the other, each under the next ClOrdID."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.clock import now_us
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.names import Topic
from streams.sim.bots import PlannedMessage
from streams.sim.fleet import REGION, Habit
from streams.sim.markets import VENUE_MIC
from streams.sim.mischief import Recipe
from streams.sim.signing import to_wire

if TYPE_CHECKING:
    from streams.kafka.producing import Sender
    from streams.rig.stage import Stage

_AT_ONCE = TimeInForce.IMMEDIATE_OR_CANCEL


class Trader:
    """One bot; `sent` counts its messages, repetitions included."""

    def __init__(self, stage: Stage, sender: Sender, agent_id: str) -> None:
        self.agent_id = agent_id
        self.sent = 0
        self._stage, self._sender = stage, sender
        self._topic = stage.topic(Topic.ORDERS_REQUESTED)
        self._identifiers = 0

    def order(
        self,
        side: Side,
        symbol: str,
        qty_e17: int,
        price_e13: int | None = None,
        *,
        tif: TimeInForce = _AT_ONCE,
        cl_ord_id: str = "",
    ) -> str:
        """Send a new order, at the market where it has no price; return its ClOrdID. A given ClOrdID is a retry."""
        return self._send(
            Order(
                agent_id=self.agent_id,
                cl_ord_id=cl_ord_id or self._next_id(),
                orig_cl_ord_id=None,
                msg_type=MsgType.NEW_ORDER_SINGLE,
                symbol=symbol,
                ex_destination=VENUE_MIC,
                region=REGION,
                side=side,
                ord_type=OrdType.MARKET if price_e13 is None else OrdType.LIMIT,
                time_in_force=tif,
                order_qty_e17=qty_e17,
                price_e13=price_e13,
                transact_time_us=0,
            )
        )

    def worth(self, side: Side, symbol: str, eur: int, price_e13: int) -> str:
        """Send a market order for about so many euros at a price."""
        return self.order(side, symbol, self._stage.markets[symbol].qty_for_eur(eur, price_e13))

    def rest(self, side: Side, symbol: str, eur: int, price_e13: int) -> str:
        """Send an order that waits at a price until it is filled or cancelled."""
        market = self._stage.markets[symbol]
        price_e13 = market.on_tick(price_e13)
        qty_e17 = market.qty_for_eur(eur, price_e13)
        return self.order(side, symbol, qty_e17, price_e13, tif=TimeInForce.GOOD_TILL_CANCEL)

    def _next_id(self) -> str:
        self._identifiers += 1
        return f"{self.agent_id}-{self._identifiers}"

    def _send(self, order: Order) -> str:
        planned = PlannedMessage(
            self.sent, Habit.TAKER, Recipe.SIGNED, self.agent_id, order, age_us=0, payload=b"", tick_index=0
        )
        wire = to_wire(planned, self._stage.keys, now_us())
        self._sender.send(self._topic, wire.key, wire.value, wire.headers)
        self.sent += 1
        return order.cl_ord_id
