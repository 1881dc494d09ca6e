"""A quick reader for orders as nearly all are: short texts, small decimals, every number in as few bytes as it takes.

Whatever is not plain in this sense is left to the schema's own reader, which judges it and names what is wrong: this
one only ever says yes. What it takes, the other takes alike (a property test holds them against each other).
"""

from __future__ import annotations

from typing import Final

from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce

# Plain: a body of at most so many bytes, so its texts have no more characters; a text or decimal under 64 bytes has its
# length in one byte; a decimal of at most 15 bytes has at most 38 digits; a time from 1978 on takes eight bytes.
_BODY_BYTES_MAX: Final = 256
_DECIMAL_BYTES_MAX: Final = 15
_TIME_BYTES: Final = 8
_NOT_ONE_BYTE: Final = 0x81  # more bytes follow, or the number is negative
_NULL: Final = 0
_VALUE: Final = 2

_MSG_TYPES: Final = {2 * place: member for place, member in enumerate(MsgType)}
_SIDES: Final = {2 * place: member for place, member in enumerate(Side)}
_ORD_TYPES: Final = {2 * place: member for place, member in enumerate(OrdType)}
_TIMES_IN_FORCE: Final = {2 * place: member for place, member in enumerate(TimeInForce)}


def read_plain_order(data: bytes, start: int) -> Order | None:
    """Return the order that is all of `data` from `start` on, or None where it is not plain."""
    if len(data) - start > _BODY_BYTES_MAX:
        return None
    try:
        return _read(data, start)
    except (IndexError, KeyError, UnicodeDecodeError):
        return None


def _read(data: bytes, at: int) -> Order | None:
    # Lengths are gathered in `sizes` and judged together at the end: until then a wrong one does no harm.
    sizes = size = data[at]
    end = at + 1 + (size >> 1)
    agent_id = data[at + 1 : end].decode()
    sizes |= (size := data[end])
    at = end + 1 + (size >> 1)
    cl_ord_id = data[end + 1 : at].decode()
    orig_cl_ord_id = None
    if data[at] != _NULL:
        if data[at] != _VALUE:
            return None
        sizes |= (size := data[at + 1])
        end = at + 2 + (size >> 1)
        orig_cl_ord_id = data[at + 2 : end].decode()
        at = end - 1
    msg_type = _MSG_TYPES[data[at + 1]]
    sizes |= (size := data[at + 2])
    end = at + 3 + (size >> 1)
    symbol = data[at + 3 : end].decode()
    sizes |= (size := data[end])
    at = end + 1 + (size >> 1)
    ex_destination = data[end + 1 : at].decode()
    sizes |= (size := data[at])
    end = at + 1 + (size >> 1)
    region = data[at + 1 : end].decode()
    side, ord_type, time_in_force = _SIDES[data[end]], _ORD_TYPES[data[end + 1]], _TIMES_IN_FORCE[data[end + 2]]
    sizes |= (size := data[end + 3])
    at = end + 4 + (size >> 1)
    quantity = data[end + 4 : at]
    price = None
    if data[at] == _VALUE:
        sizes |= (size := data[at + 1])
        end = at + 2 + (size >> 1)
        price = data[at + 2 : end]
    elif data[at] == _NULL:
        end = at + 1
    else:
        return None
    time_us = _plain_time(data[end : end + _TIME_BYTES])
    at = end + _TIME_BYTES
    expire_us = None
    if data[at] == _VALUE:
        expire_us = _plain_time(data[at + 1 :])
        if expire_us is None:
            return None
    elif data[at] != _NULL or at + 1 != len(data):
        return None
    if time_us is None or sizes & _NOT_ONE_BYTE or not agent_id or not _is_plain(quantity) or not _is_plain(price):
        return None
    return Order(
        agent_id,
        cl_ord_id,
        orig_cl_ord_id,
        msg_type,
        symbol,
        ex_destination,
        region,
        side,
        ord_type,
        time_in_force,
        int.from_bytes(quantity, "big", signed=True),
        None if price is None else int.from_bytes(price, "big", signed=True),
        time_us,
        expire_us,
    )


def _is_plain(decimal: bytes | None) -> bool:
    return decimal is None or 1 <= len(decimal) <= _DECIMAL_BYTES_MAX


def _plain_time(rest: bytes) -> int | None:
    """Return the time that is all of these bytes, or None where it does not take eight bytes or is before 1970."""
    groups = int.from_bytes(rest, "little")
    if len(rest) != _TIME_BYTES or groups & 0x8080808080808080 != 0x0080808080808080 or groups & 1 or not rest[-1]:
        return None
    groups &= 0x7F7F7F7F7F7F7F7F
    pairs = groups & 0x007F007F007F007F | (groups & 0x7F007F007F007F00) >> 1
    fours = pairs & 0x00003FFF00003FFF | (pairs & 0x3FFF00003FFF0000) >> 2
    return (fours & 0x0FFFFFFF | (fours & 0x0FFFFFFF00000000) >> 4) >> 1
