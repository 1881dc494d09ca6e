"""Making orders: decimals as people write them, everything else with the field's standard names."""

from __future__ import annotations

import time
import uuid

from streams.core.orders import (
    PRICE_SCALE,
    QTY_SCALE,
    MsgType,
    Order,
    OrdType,
    Side,
    TimeInForce,
    parse_decimal,
)


def make_order(  # noqa: PLR0913 - an order has these fields, each said by name
    agent_id: str,
    *,
    symbol: str,
    side: Side | str,
    quantity: str,
    price: str | None = None,
    ex_destination: str,
    region: str,
    time_in_force: TimeInForce | str = TimeInForce.DAY,
    cl_ord_id: str | None = None,
    replaces: str | None = None,
    expires_after_s: float | None = None,
) -> Order:
    """Return a new order dated now: at a limit where a price is given, else at the market.

    `quantity` in units of the asset and `price` in the quote currency are decimal texts; `replaces` names the
    cl_ord_id of an open order that this one replaces; `expires_after_s` sets ExpireTime, seconds from now.

    Raises: ValueError where a text is not what it should be.
    """
    now_us = time.time_ns() // 1000
    return Order(
        agent_id=agent_id,
        cl_ord_id=cl_ord_id or uuid.uuid4().hex,
        orig_cl_ord_id=replaces,
        msg_type=MsgType.ORDER_CANCEL_REPLACE_REQUEST if replaces else MsgType.NEW_ORDER_SINGLE,
        symbol=symbol,
        ex_destination=ex_destination,
        region=region,
        side=Side(side),
        ord_type=OrdType.LIMIT if price else OrdType.MARKET,
        time_in_force=TimeInForce(time_in_force),
        order_qty_e17=parse_decimal(quantity, QTY_SCALE),
        price_e13=parse_decimal(price, PRICE_SCALE) if price else None,
        transact_time_us=now_us,
        expire_time_us=None if expires_after_s is None else now_us + round(expires_after_s * 1_000_000),
    )


def cancel(order: Order, *, cl_ord_id: str | None = None) -> Order:
    """Return the request to cancel an order, dated now."""
    return Order(
        agent_id=order.agent_id,
        cl_ord_id=cl_ord_id or uuid.uuid4().hex,
        orig_cl_ord_id=order.cl_ord_id,
        msg_type=MsgType.ORDER_CANCEL_REQUEST,
        symbol=order.symbol,
        ex_destination=order.ex_destination,
        region=order.region,
        side=order.side,
        ord_type=order.ord_type,
        time_in_force=order.time_in_force,
        order_qty_e17=order.order_qty_e17,
        price_e13=order.price_e13,
        transact_time_us=time.time_ns() // 1000,
    )
