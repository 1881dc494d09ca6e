"""Messages between bytes and the core's nouns. Orders are read once per message, so their reader is the quickest."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import (
    Activity,
    MsgType,
    Order,
    OrdType,
    ReferencePrice,
    Side,
    TimeInForce,
)
from streams.core.reasons import DeadLetterReason
from streams.wire.avro import (
    PREFIX_BYTES,
    DecodeError,
    Schema,
    body_of,
    decode,
    decode_body,
    encode,
    encode_body,
    from_decimal,
    prefix,
    to_decimal,
)
from streams.wire.plain_order import read_plain_order

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER_BYTES_MAX: Final = 64 * 1024
AGENT_ID_CHARS_MAX: Final = 64
_TEXT_CHARS_MAX: Final = 256
# An order's bytes beside its texts and decimals, at least: thirteen lengths, enums and unions, and eight of a time
# from 1978 on.
_FRAME_BYTES_MIN: Final = 13 + 8
_TIME_BYTES: Final = 8
_TIME_MIN_US: Final = 1 << 48

_MSG_TYPES = {str(member): member for member in MsgType}
_SIDES = {str(member): member for member in Side}
_ORD_TYPES = {str(member): member for member in OrdType}
_TIMES_IN_FORCE = {str(member): member for member in TimeInForce}


def decode_order(value: bytes) -> Order:
    """Read an order as a bot sent it; whether its fields make sense is the gate's to say.

    Raises: DecodeError where the bytes are not exactly one order in its shortest spelling, or a text is too long to be
    carried on.
    """
    order = read_plain_order(value, PREFIX_BYTES) if value.startswith(_order_prefix()) else None
    return order or _order_of(decode(Schema.ORDER, value, bytes_max=ORDER_BYTES_MAX), body_of(value))


def decode_order_body(body: bytes) -> Order:
    """Read an order's body, as a verdict carries it. Raises: DecodeError as `decode_order`."""
    return read_plain_order(body, 0) or _order_of(decode_body(Schema.ORDER, body), body)


@cache
def _order_prefix() -> bytes:
    return prefix(Schema.ORDER)


def _order_of(record: Mapping[str, Any], body: bytes) -> Order:
    agent_id, quantity, price = record["agent_id"], record["order_qty"], record["price"]
    if not 1 <= len(agent_id) <= AGENT_ID_CHARS_MAX:
        limit = f"agent_id: 1 to {AGENT_ID_CHARS_MAX} characters, has {len(agent_id)}"
        raise DecodeError(DeadLetterReason.NOT_AVRO, limit)
    order = Order(
        agent_id,
        record["cl_ord_id"],
        record["orig_cl_ord_id"],
        _MSG_TYPES[record["msg_type"]],
        record["symbol"],
        record["ex_destination"],
        record["region"],
        _SIDES[record["side"]],
        _ORD_TYPES[record["ord_type"]],
        _TIMES_IN_FORCE[record["time_in_force"]],
        from_decimal("order_qty", quantity),
        None if price is None else from_decimal("price", price),
        record["transact_time"],
        record["expire_time"],
    )
    texts = len(order.cl_ord_id) + len(order.symbol) + len(order.ex_destination) + len(order.region)
    size = _FRAME_BYTES_MIN + len(agent_id) + len(quantity)
    if order.orig_cl_ord_id is not None:
        texts += len(order.orig_cl_ord_id)
        size += 1
    if price is not None:
        size += 1 + len(price)
    earliest_us = order.transact_time_us
    if order.expire_time_us is not None:
        size += _TIME_BYTES
        earliest_us = min(earliest_us, order.expire_time_us)
    if texts > _TEXT_CHARS_MAX:
        raise DecodeError(
            DeadLetterReason.NOT_AVRO, f"texts: at most {_TEXT_CHARS_MAX} characters together, have {texts}"
        )
    if size + texts != len(body) or earliest_us < _TIME_MIN_US:
        _require_shortest(record, body)
    return order


def _require_shortest(record: Mapping[str, Any], body: bytes) -> None:
    """Refuse padded numbers. Past ten bytes, readers disagree about them: some wrap, some refuse, some go on.

    An order must mean the same to the gate, to the venue and to whoever checks the log later. Where the size is that
    of the parts, no number has a byte too many; elsewhere (long texts, other letters, odd times) encoding again tells.
    """
    if encode_body(Schema.ORDER, record) != body:
        raise DecodeError(DeadLetterReason.NOT_AVRO, "order: lengths, places and times in as few bytes as they take")


def encode_order(order: Order) -> bytes:
    """Return an order as a framed value."""
    return encode(
        Schema.ORDER,
        {
            "agent_id": order.agent_id,
            "cl_ord_id": order.cl_ord_id,
            "orig_cl_ord_id": order.orig_cl_ord_id,
            "msg_type": str(order.msg_type),
            "symbol": order.symbol,
            "ex_destination": order.ex_destination,
            "region": order.region,
            "side": str(order.side),
            "ord_type": str(order.ord_type),
            "time_in_force": str(order.time_in_force),
            "order_qty": to_decimal(order.order_qty_e17),
            "price": None if order.price_e13 is None else to_decimal(order.price_e13),
            "transact_time": order.transact_time_us,
            "expire_time": order.expire_time_us,
        },
    )


def decode_reference_price(value: bytes, partition: int, offset: int) -> ReferencePrice:
    """Read a reference price with its place in the topic. Raises: DecodeError."""
    record = decode(Schema.REFERENCE_PRICE, value)
    return ReferencePrice(
        symbol=record["symbol"],
        price_e13=from_decimal("price", record["price"]),
        price_time_us=record["price_time"],
        quote_currency=record["quote_currency"],
        eur_rate_e13=from_decimal("eur_rate", record["eur_rate"]),
        tick_size_e13=from_decimal("tick_size", record["tick_size"]),
        lot_size_e17=from_decimal("lot_size", record["lot_size"]),
        base_dti=record["base_dti"],
        mic=record["mic"],
        source=record["source"],
        activity=_activity(record["activity"]),
        partition=partition,
        offset=offset,
    )


def _activity(record: Mapping[str, Any] | None) -> Activity | None:
    if record is None:
        return None
    return Activity(from_decimal("volume", record["volume"]), record["rush_buys"], record["rush_sells"])


def _activity_fields(activity: Activity) -> dict[str, Any]:
    return {
        "volume": to_decimal(activity.volume_e17),
        "rush_buys": activity.rush_buys,
        "rush_sells": activity.rush_sells,
    }


def encode_reference_price(price: ReferencePrice) -> bytes:
    """Return a reference price as a framed value; its place is where it is written."""
    return encode(
        Schema.REFERENCE_PRICE,
        {
            "symbol": price.symbol,
            "price": to_decimal(price.price_e13),
            "price_time": price.price_time_us,
            "quote_currency": price.quote_currency,
            "eur_rate": to_decimal(price.eur_rate_e13),
            "tick_size": to_decimal(price.tick_size_e13),
            "lot_size": to_decimal(price.lot_size_e17),
            "base_dti": price.base_dti,
            "mic": price.mic,
            "source": price.source,
            "activity": None if price.activity is None else _activity_fields(price.activity),
        },
    )
