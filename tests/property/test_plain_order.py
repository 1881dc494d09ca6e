"""The quick reader takes nearly every order, and never one that the schema's own reader refuses or reads otherwise."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from streams.wire.avro import DecodeError, Schema, body_of, decode_body
from streams.wire.messages import _order_of, encode_order
from streams.wire.plain_order import read_plain_order
from tests.gate_world import NOON, ORDER, make_cancel, make_order
from tests.property.test_order_spelling import ORDERS

if TYPE_CHECKING:
    from streams.core.orders import Order

MUTANTS = 60_000
PLAIN = (
    ORDER,
    make_cancel(),
    make_order(price_e13=None),
    make_order(cl_ord_id="", symbol="ü" * 31, region="x" * 63),
    make_order(order_qty_e17=-1, price_e13=0),
    make_order(order_qty_e17=2**119 - 1, price_e13=-(2**119)),
    make_order(transact_time_us=1 << 48),
    make_order(transact_time_us=(1 << 55) - 1),
    make_order(expire_time_us=NOON),
)


def slowly(body: bytes) -> Order | None:
    try:
        return _order_of(decode_body(Schema.ORDER, body), body)
    except DecodeError:
        return None


@pytest.mark.parametrize("order", PLAIN)
def test_plain_orders_are_read(order: Order) -> None:
    body = body_of(encode_order(order))
    assert read_plain_order(body, 0) == slowly(body) == order
    assert read_plain_order(b"12345" + body, 5) == order


@pytest.mark.parametrize(
    "order",
    [
        make_order(agent_id=""),
        make_order(region="x" * 64),
        make_order(agent_id="a" * 60, cl_ord_id="b" * 60, symbol="c" * 60, region="d" * 60),
        make_order(order_qty_e17=2**119),
        make_order(price_e13=-(2**119) - 1),
        make_order(transact_time_us=(1 << 48) - 1),
        make_order(transact_time_us=1 << 55),
        make_order(transact_time_us=-NOON),
        make_order(transact_time_us=0),
        make_order(expire_time_us=0),
        make_order(expire_time_us=1 << 55),
    ],
)
def test_others_are_left_to_the_schemas_reader(order: Order) -> None:
    assert read_plain_order(body_of(encode_order(order)), 0) is None


@given(ORDERS)
def test_any_order_is_read_alike_or_left(order: Order) -> None:
    body = body_of(encode_order(order))
    assert read_plain_order(body, 0) in (None, slowly(body))


@pytest.mark.parametrize("order", PLAIN)
def test_no_order_is_read_when_cut_or_followed(order: Order) -> None:
    body = body_of(encode_order(order))
    for size in range(len(body)):
        assert read_plain_order(body[:size], 0) is None
    for rest in (b"\0", b"\x01", b"\x80", body):
        assert read_plain_order(body + rest, 0) is None


def test_mutants_are_read_alike_or_left() -> None:
    draw = random.Random(2)
    bodies = [body_of(encode_order(order)) for order in PLAIN]
    taken = 0
    for _ in range(MUTANTS):
        body = bytearray(draw.choice(bodies))
        for _ in range(draw.randint(1, 2)):
            at = draw.randrange(len(body))
            match draw.randrange(4):
                case 0:
                    body[at] = draw.randrange(256)
                case 1:
                    body[at] = (body[at] + draw.choice((-2, -1, 1, 2))) % 256
                case 2:
                    del body[at]
                    body += b"\0" * (not body)
                case 3:
                    body[at:at] = draw.randbytes(1)
        order = read_plain_order(bytes(body), 0)
        if order is not None:
            taken += 1
            assert order == slowly(bytes(body))
    assert taken > MUTANTS // 20
