"""An order means the same to every reader: what we take, a second reader without C's limits reads alike."""

from __future__ import annotations

import random
from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.core.reasons import DeadLetterReason
from streams.wire.avro import DecodeError, Schema, body_of, prefix
from streams.wire.messages import decode_order, decode_order_body, encode_order
from tests.gate_world import NOON, ORDER, make_cancel, make_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MUTANTS = 30_000
LONG_MAX = 2**63 - 1
DECIMALS = st.integers(-(10**38) + 1, 10**38 - 1)


def zigzag(number: int) -> bytes:
    """Return a number in as few bytes as it takes. Source: Avro 1.12, Binary encoding."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    groups = [rest & 0x7F]
    while rest := rest >> 7:
        groups.append(rest & 0x7F)
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def padded(number: bytes, by: int) -> bytes:
    """Return the same number in more bytes."""
    return number[:-1] + bytes([number[-1] | 0x80]) + b"\x80" * (by - 1) + b"\0" if by else number


def spell(order: Order, decimal: Callable[[int], bytes]) -> Iterator[tuple[bool, bytes]]:
    """Yield the pieces of an order's body, and whether each is a number."""

    def text(value: str) -> Iterator[tuple[bool, bytes]]:
        yield from data(value.encode())

    def data(value: bytes) -> Iterator[tuple[bool, bytes]]:
        yield True, zigzag(len(value))
        yield False, value

    def place(member: object, members: Sequence[object]) -> tuple[bool, bytes]:
        return True, zigzag(list(members).index(member))

    yield from text(order.agent_id)
    yield from text(order.cl_ord_id)
    yield True, zigzag(int(order.orig_cl_ord_id is not None))
    if order.orig_cl_ord_id is not None:
        yield from text(order.orig_cl_ord_id)
    yield place(order.msg_type, list(MsgType))
    for value in (order.symbol, order.ex_destination, order.region):
        yield from text(value)
    yield place(order.side, list(Side))
    yield place(order.ord_type, list(OrdType))
    yield place(order.time_in_force, list(TimeInForce))
    yield from data(decimal(order.order_qty_e17))
    yield True, zigzag(int(order.price_e13 is not None))
    if order.price_e13 is not None:
        yield from data(decimal(order.price_e13))
    yield True, zigzag(order.transact_time_us)
    yield True, zigzag(int(order.expire_time_us is not None))
    if order.expire_time_us is not None:
        yield True, zigzag(order.expire_time_us)


def shortest(value: int) -> bytes:
    size = next(size for size in range(1, 17) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
    return value.to_bytes(size, "big", signed=True)


class StrictReader:
    """Reads Avro as the specification has it: a number of at most ten bytes that fits into 64 bits, valid UTF-8."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        rest = shift = 0
        while True:
            byte = self.take(1)[0]
            rest |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if shift > 70 or rest >= 1 << 64:
            raise ValueError("a number of more than 64 bits")
        return (rest >> 1) ^ -(rest & 1)

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._body) - self._at:
            raise ValueError("beyond the end")
        self._at += count
        return self._body[self._at - count : self._at]

    def data(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return self.data().decode()

    def choose(self, members: Sequence[object]) -> object:
        place = self.number()
        if not 0 <= place < len(members):
            raise ValueError("no such member")
        return members[place]

    def order(self) -> tuple[object, ...]:
        """Read the fields of an order, every byte."""
        fields = (
            self.text(),
            self.text(),
            self.text() if self.choose((False, True)) else None,
            self.choose(list(MsgType)),
            *(self.text() for _ in range(3)),
            self.choose(list(Side)),
            self.choose(list(OrdType)),
            self.choose(list(TimeInForce)),
            int.from_bytes(self.data(), "big", signed=True),
            int.from_bytes(self.data(), "big", signed=True) if self.choose((False, True)) else None,
            self.number(),
            self.number() if self.choose((False, True)) else None,
        )
        if self._at != len(self._body):
            raise ValueError("bytes left")
        return fields


TIMES = st.integers(-LONG_MAX - 1, LONG_MAX) | st.sampled_from([(1 << 48) - 1, 1 << 48, (1 << 55) - 1, 1 << 55])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
ORDERS = st.builds(
    Order,
    agent_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    cl_ord_id=TEXTS,
    orig_cl_ord_id=st.none() | TEXTS,
    msg_type=st.sampled_from(MsgType),
    symbol=TEXTS,
    ex_destination=TEXTS,
    region=TEXTS,
    side=st.sampled_from(Side),
    ord_type=st.sampled_from(OrdType),
    time_in_force=st.sampled_from(TimeInForce),
    order_qty_e17=DECIMALS,
    price_e13=st.none() | DECIMALS,
    transact_time_us=TIMES,
    expire_time_us=st.none() | TIMES,
)


@given(ORDERS)
def test_every_order_in_its_shortest_spelling_is_read(order: Order) -> None:
    body = b"".join(piece for _, piece in spell(order, shortest))
    assert body_of(encode_order(order)) == body
    assert decode_order_body(body) == order
    assert StrictReader(body).order() == astuple(order)


@given(ORDERS, st.data())
def test_no_order_with_a_padded_number_is_read(order: Order, data: st.DataObject) -> None:
    pieces = list(spell(order, shortest))
    where = data.draw(st.sampled_from([at for at, (is_number, _) in enumerate(pieces) if is_number]))
    by = data.draw(st.integers(1, 12))
    body = b"".join(padded(piece, by if at == where else 0) for at, (_, piece) in enumerate(pieces))
    with pytest.raises(DecodeError) as error:
        decode_order(prefix(Schema.ORDER) + body)
    assert error.value.reason is DeadLetterReason.NOT_AVRO


@pytest.mark.parametrize("by", range(1, 13))
@pytest.mark.parametrize("time_us", [NOON, 1 << 48, (1 << 48) - 1, 0, -1])
@pytest.mark.parametrize("make", [make_order, make_cancel])
def test_no_number_of_a_plain_order_may_be_padded(make: Callable[..., Order], time_us: int, by: int) -> None:
    # A short time leaves room for a byte of padding elsewhere.
    pieces = list(spell(make(transact_time_us=time_us), shortest))
    for where in (at for at, (is_number, _) in enumerate(pieces) if is_number):
        with pytest.raises(DecodeError, match="in as few bytes as they take"):
            decode_order_body(b"".join(padded(piece, by if at == where else 0) for at, (_, piece) in enumerate(pieces)))


@given(ORDERS)
def test_padded_decimals_mean_the_same(order: Order) -> None:
    body = b"".join(piece for _, piece in spell(order, lambda value: value.to_bytes(16, "big", signed=True)))
    assert decode_order_body(body) == order
    assert StrictReader(body).order() == astuple(order)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (b"\x86" + b"\x80" * 9 + b"\x01", b"b" * 35),  # bit 70, which shifts of 64 bits turn into bit 6
        (b"\x86" + b"\x80" * 8 + b"\x02", b"bot"),  # bit 64, which they drop
    ],
)
def test_a_length_of_more_than_64_bits_is_not_read(length: bytes, text: bytes) -> None:
    rest = body_of(encode_order(make_order(agent_id="bot"))).removeprefix(b"\x06bot")
    with pytest.raises(DecodeError, match="NOT_AVRO"):
        decode_order_body(length + text + rest)


@pytest.mark.parametrize("time", [b"\xff" * 9 + b"\x7f", b"\xff" * 10 + b"\x01", b"\x80" * 10 + b"\x01"])
def test_a_time_of_more_than_64_bits_is_not_read(time: bytes) -> None:
    body = body_of(encode_order(ORDER)).removesuffix(zigzag(ORDER.transact_time_us) + b"\0")
    with pytest.raises(DecodeError, match="NOT_AVRO"):
        decode_order_body(body + time + b"\0")


def test_the_readers_agree_on_mutants() -> None:
    draw = random.Random(1)
    seeds = [body_of(encode_order(order)) for order in (ORDER, make_cancel(), make_order(price_e13=None))]
    taken = 0
    for _ in range(MUTANTS):
        body = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(body))
            match draw.randrange(4):
                case 0:
                    body[at] = draw.randrange(256)
                case 1:
                    body[at] |= 0x80
                    body[at + 1 : at + 1] = b"\x80" * draw.randrange(12) + bytes([draw.randrange(3)])
                case 2:
                    body[at : at + draw.randint(1, 4)] = b""
                    body += b"\0" * (not body)
                case 3:
                    body[at:at] = draw.randbytes(draw.randint(1, 4))
        try:
            order = decode_order_body(bytes(body))
        except DecodeError:
            continue
        taken += 1
        assert StrictReader(bytes(body)).order() == astuple(order)
    assert taken > MUTANTS // 20
