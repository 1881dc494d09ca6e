"""Avro bodies put together by hand, so that any part of them can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.wire.avro import to_decimal
from streams.wire.binary import NULL, VALUE, write_bytes, write_long, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

# The order's fields and what each is, as in `schemas/avro/order.v1.avsc`.
FIELDS: Final = (
    "text",
    "text",
    "optional text",
    "choice",
    "text",
    "text",
    "text",
    "choice",
    "choice",
    "choice",
    "decimal",
    "optional decimal",
    "long",
    "optional long",
)
NASTY_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nx-injected: 1",
    "\x1b[2J\x1b[31m",
    "\u202eTDSU_CTB",
    "BTC\u200b_USDT",
    "\uff22\uff34\uff23_USDT",
    "\ufeffBTC_USDT",
    "\U0001f4b8" * 12,
    "e\u0301" * 20,
    "../../../../etc/passwd",
    "'; DROP TABLE audit_events; --",
    "=cmd|' /C calc'!A0",
    "%s%s%s%n{0.__class__}",
    "${jndi:ldap://localhost/a}",
    "<script>alert(1)</script>",
    '{"$gt": ""}',
    "NaN",
    "null",
    "-1e400",
    "x" * 51,
    "y" * 240,
)
_LENGTHS: Final = (-1, -(2**31), -(2**63), 2**31 - 1, 2**31, 2**62, 2**63 - 1, 1_000_000_000, 10_000)
_ENDLESS: Final = b"\xff" * 12  # a varint that does not stop where it must


def order_parts(order: Order) -> list[bytes]:
    """Return the encoded fields of an order, one by one."""
    return [
        write_text(order.agent_id),
        write_text(order.cl_ord_id),
        NULL if order.orig_cl_ord_id is None else VALUE + write_text(order.orig_cl_ord_id),
        write_long(list(MsgType).index(order.msg_type)),
        write_text(order.symbol),
        write_text(order.ex_destination),
        write_text(order.region),
        write_long(list(Side).index(order.side)),
        write_long(list(OrdType).index(order.ord_type)),
        write_long(list(TimeInForce).index(order.time_in_force)),
        write_bytes(to_decimal(order.order_qty_e17)),
        NULL if order.price_e13 is None else VALUE + write_bytes(to_decimal(order.price_e13)),
        write_long(order.transact_time_us),
        NULL if order.expire_time_us is None else VALUE + write_long(order.expire_time_us),
    ]


def crafted(parts: Sequence[bytes]) -> bytes:
    """Return a body of these parts."""
    return b"".join(parts)


def spoiled_part(kind: str, rng: Random, *, lengths: bool) -> bytes:
    """Return an encoded field that is wrong: in its length or branch, or in what it holds."""
    optional = kind.startswith("optional")
    branch = VALUE if optional else b""
    if lengths:
        if optional and rng.random() < 0.3:
            branch = write_long(rng.choice((2, -1, 1_000_000)))
        return branch + rng.choice((write_long(rng.choice(_LENGTHS)), _ENDLESS))
    content = {
        "text": lambda: write_bytes(rng.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"))),
        "choice": lambda: write_long(rng.choice((-1, 4, 7, 2**31, -(2**62)))),
        "decimal": lambda: write_bytes(
            rng.choice((b"", b"\0" * 17, b"\x7f" * 16, b"\x80" + bytes(15), rng.randbytes(17), b"\x01" * 3_000))
        ),
        "long": lambda: rng.choice((_ENDLESS, write_long(2**64), write_long(-(2**70)))),
    }
    return branch + content[kind.removeprefix("optional ")]()
