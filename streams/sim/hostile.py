"""Hostile senders: bytes that try to stop a worker, to vanish, or to be decided wrongly; a function of their seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import Side
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, Habit
from streams.sim.hostile_bodies import FIELDS, NASTY_TEXTS, crafted, order_parts, spoiled_part
from streams.sim.signing import wall_clock_us
from streams.sim.tape import Tick
from streams.wire.avro import DECIMAL_MAX, Schema, prefix
from streams.wire.headers import SIGNATURE, THUMBPRINT, Header
from streams.wire.signatures import ORDER_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streams.core.orders import Order
    from streams.sim.fleet import Bot
    from streams.sim.markets import Market
    from streams.sim.signing import Keyring

_ORDERS_PER_BOT: Final = 20
_HUGE_BYTES: Final = 200_000
_HUGE_EVERY: Final = 40  # of those that could be huge: a hundred thousand messages stay a load, not a flood
_ABSURD_TIMES_US: Final = (0, -1, 1, 2**63 - 1, -(2**63), 253_402_300_800_000_000, 2**62)
_ABSURD_NUMBERS: Final = (0, -1, 1, DECIMAL_MAX, -DECIMAL_MAX, 10**30, -(10**30))


@unique
class Attack(StrEnum):
    """What is wrong with a hostile message."""

    NOTHING = "nothing"  # an order in good shape: the gate must go on deciding
    NO_VALUE = "no-value"
    RANDOM = "random"
    TRUNCATED = "truncated"
    TRAILING = "trailing"
    BIT_FLIPPED = "bit-flipped"
    SPLICED = "spliced"
    WRONG_SCHEMA = "wrong-schema"
    BAD_LENGTH = "bad-length"
    BAD_FIELD = "bad-field"
    HUGE_VALUE = "huge-value"
    WRONG_KEY = "wrong-key"
    HUGE_HEADERS = "huge-headers"
    BAD_SIGNATURE = "bad-signature"
    NASTY_TEXT = "nasty-text"
    ABSURD_NUMBER = "absurd-number"
    ABSURD_TIME = "absurd-time"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class HostileMessage:
    """A record to be sent to `orders.requested`."""

    attack: Attack
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


def hostile_messages(
    bots: Sequence[Bot],
    keys: Keyring,
    count: int,
    seed: int,
    *,
    markets: Mapping[str, Market],
    clock: Callable[[], int] = wall_clock_us,
) -> Iterator[HostileMessage]:
    """Yield `count` hostile messages, each attack about equally often.

    The attacks start from sound orders of the registered bots, dated by `clock` (microseconds UTC) and signed with the
    bots' own keys, so that what is absurd in them is the bot's word and not a forger's. One bot, the first taker (else
    the first of all), sends nothing hostile: its messages (`Attack.NOTHING`) show whether the gate still decides.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    attacker = _Attacker(_sound_orders(bots, markets, seed), keys, rng, f"h{seed & 0xFFFFFFFF:x}", clock)
    attacks = list(Attack)
    for number in range(count):
        if number % len(attacks) == 0:
            rng.shuffle(attacks)
        yield attacker.message(attacks[number % len(attacks)], number)


def _sound_orders(bots: Sequence[Bot], markets: Mapping[str, Market], seed: int) -> list[Order]:
    """Return orders of all registered bots as if each had good habits, those of the bystander first."""
    known = sorted((bot for bot in bots if bot.registered), key=lambda bot: bot.habit is not Habit.TAKER)
    good = [replace(bot, habit=GOOD_HABITS[place % len(GOOD_HABITS)], weight=1) for place, bot in enumerate(known)]
    good[0] = replace(good[0], habit=Habit.TAKER)
    ticks = [Tick(1, m.symbol, m.first_price_e13, m.lot_size_e17, Side.BUY) for m in markets.values()]
    orders = [message.order for message in plan(ticks, good, _ORDERS_PER_BOT * len(good), seed, markets=dict(markets))]
    return sorted(orders, key=lambda order: order.agent_id != good[0].agent_id)


class _Attacker:
    def __init__(
        self, orders: Sequence[Order], keys: Keyring, rng: random.Random, tag: str, clock: Callable[[], int]
    ) -> None:
        self.rng = rng
        bystander = orders[0].agent_id
        self._sound_orders = [order for order in orders if order.agent_id == bystander]
        self._orders = [order for order in orders if order.agent_id != bystander] or self._sound_orders
        self._keys = keys
        self._tag = tag
        self._clock = clock
        self._last: HostileMessage | None = None
        self._ways: dict[Attack, Callable[[Order], HostileMessage]] = {
            Attack.NOTHING: lambda order: self._signed(Attack.NOTHING, order, crafted(order_parts(order))),
            Attack.NO_VALUE: self._no_value,
            Attack.RANDOM: self._random,
            Attack.TRUNCATED: self._truncated,
            Attack.TRAILING: self._trailing,
            Attack.BIT_FLIPPED: self._bit_flipped,
            Attack.SPLICED: self._spliced,
            Attack.WRONG_SCHEMA: self._wrong_schema,
            Attack.BAD_LENGTH: lambda order: self._spoiled(Attack.BAD_LENGTH, order, lengths=True),
            Attack.BAD_FIELD: lambda order: self._spoiled(Attack.BAD_FIELD, order, lengths=False),
            Attack.HUGE_VALUE: self._huge_value,
            Attack.WRONG_KEY: self._wrong_key,
            Attack.HUGE_HEADERS: self._huge_headers,
            Attack.BAD_SIGNATURE: self._bad_signature,
            Attack.NASTY_TEXT: self._nasty_text,
            Attack.ABSURD_NUMBER: self._absurd_number,
            Attack.ABSURD_TIME: self._absurd_time,
            Attack.REPLAYED: self._replayed,
        }

    def message(self, attack: Attack, number: int) -> HostileMessage:
        """Return the next message of this kind."""
        order = self.rng.choice(self._sound_orders if attack is Attack.NOTHING else self._orders)
        order = replace(order, cl_ord_id=f"{self._tag}-{number}", transact_time_us=self._clock())
        message = self._ways[attack](order)
        if attack is Attack.HUGE_HEADERS:
            self._last = message
        return message

    def _signed(self, attack: Attack, order: Order, body: bytes) -> HostileMessage:
        own = self._keys.of(order.agent_id)
        headers = ((SIGNATURE, own.sign(ORDER_TYPE, body)), (THUMBPRINT, own.thumbprint))
        return HostileMessage(attack, order.agent_id.encode(), prefix(Schema.ORDER) + body, headers)

    def _sound(self, attack: Attack, order: Order) -> tuple[HostileMessage, bytes]:
        message = self._signed(attack, order, crafted(order_parts(order)))
        return message, message.value or b""

    def _no_value(self, order: Order) -> HostileMessage:
        key = self.rng.choice((None, b"", order.agent_id.encode(), b"\xff\xfe"))
        return HostileMessage(Attack.NO_VALUE, key, self.rng.choice((None, b"")), ())

    def _random(self, order: Order) -> HostileMessage:
        noise = self.rng.randbytes(self.rng.randint(1, 300))
        value = prefix(Schema.ORDER) + noise if self.rng.random() < 0.5 else noise
        key = self.rng.choice((order.agent_id.encode(), self.rng.randbytes(8)))
        return HostileMessage(Attack.RANDOM, key, value, ((SIGNATURE, noise[:70]), (THUMBPRINT, noise[:32])))

    def _truncated(self, order: Order) -> HostileMessage:
        message, value = self._sound(Attack.TRUNCATED, order)
        return replace(message, value=value[: self.rng.randrange(len(value))])

    def _trailing(self, order: Order) -> HostileMessage:
        body = crafted(order_parts(order)) + self.rng.randbytes(self.rng.randint(1, 20))
        return self._signed(Attack.TRAILING, order, body)

    def _bit_flipped(self, order: Order) -> HostileMessage:
        message, value = self._sound(Attack.BIT_FLIPPED, order)
        flipped = bytearray(value)
        for _ in range(self.rng.randint(1, 4)):
            flipped[self.rng.randrange(len(flipped))] ^= 1 << self.rng.randrange(8)
        return replace(message, value=bytes(flipped))

    def _spliced(self, order: Order) -> HostileMessage:
        parts, others = order_parts(order), order_parts(self.rng.choice(self._orders))
        cut = self.rng.randrange(len(parts))
        return self._signed(Attack.SPLICED, order, crafted(parts[:cut] + others[cut:]))

    def _wrong_schema(self, order: Order) -> HostileMessage:
        message, value = self._sound(Attack.WRONG_SCHEMA, order)
        number = self.rng.choice((0, 2, 99, 2**31, 2**32 - 1))
        magic = self.rng.choice((0, 0, 1, 255))
        return replace(message, value=bytes([magic]) + number.to_bytes(4, "big") + value[5:])

    def _spoiled(self, attack: Attack, order: Order, *, lengths: bool) -> HostileMessage:
        parts = order_parts(order)
        place = self.rng.randrange(len(FIELDS))
        parts[place] = spoiled_part(FIELDS[place], self.rng, lengths=lengths)
        return self._signed(attack, order, crafted(parts))

    def _huge_value(self, order: Order) -> HostileMessage:
        size = _HUGE_BYTES if self.rng.randrange(_HUGE_EVERY) == 0 else self.rng.randint(300, 4_000)
        name = self.rng.choice(("cl_ord_id", "symbol", "region", "agent_id"))
        text: dict[str, Any] = {name: "x" * size}
        order = replace(order, **text)
        return self._signed(Attack.HUGE_VALUE, order, crafted(order_parts(order)))

    def _wrong_key(self, order: Order) -> HostileMessage:
        message, _ = self._sound(Attack.WRONG_KEY, order)
        other = self.rng.choice(self._orders).agent_id
        keys = (None, b"", b"\xff\xff", other.encode(), order.agent_id.upper().encode(), b"k" * 5_000)
        return replace(message, key=self.rng.choice(keys))

    def _huge_headers(self, order: Order) -> HostileMessage:
        message, _ = self._sound(Attack.HUGE_HEADERS, order)
        many = self.rng.randrange(_HUGE_EVERY) == 0
        noise: list[Header] = [
            (self.rng.choice(NASTY_TEXTS)[:60], self.rng.randbytes(self.rng.randint(0, 200)))
            for _ in range(500 if many else 5)
        ]
        if self.rng.random() < 0.5:  # a second signature after the first, or before it
            noise.append((SIGNATURE, self.rng.randbytes(70)))
        self.rng.shuffle(noise)
        headers = (*message.headers, *noise) if self.rng.random() < 0.5 else (*noise, *message.headers)
        return replace(message, headers=headers)

    def _bad_signature(self, order: Order) -> HostileMessage:
        message, _ = self._sound(Attack.BAD_SIGNATURE, order)
        (_, signature), (_, digest) = message.headers
        bad = self.rng.choice(
            (
                b"",
                bytes(64),
                signature[:-1],
                signature + b"\0",
                bytes([signature[0] ^ 1]) + signature[1:],
                self.rng.randbytes(72),
                b"\x30\x06\x02\x01\x00\x02\x01\x00",  # r = s = 0
                b"\x30" * 60_000 if self.rng.randrange(_HUGE_EVERY) == 0 else b"\x30" * 80,
            )
        )
        thumb = self.rng.choice((digest, digest, b"", digest[:-1], self.rng.randbytes(32)))
        return replace(message, headers=((SIGNATURE, bad), (THUMBPRINT, thumb)))

    def _nasty_text(self, order: Order) -> HostileMessage:
        name = self.rng.choice(("cl_ord_id", "orig_cl_ord_id", "symbol", "ex_destination", "region"))
        text: dict[str, Any] = {name: self.rng.choice(NASTY_TEXTS)}
        order = replace(order, **text)
        return self._signed(Attack.NASTY_TEXT, order, crafted(order_parts(order)))

    def _absurd_number(self, order: Order) -> HostileMessage:
        qty, price = self.rng.choice(_ABSURD_NUMBERS), self.rng.choice((None, *_ABSURD_NUMBERS))
        order = replace(order, order_qty_e17=qty) if self.rng.random() < 0.5 else replace(order, price_e13=price)
        return self._signed(Attack.ABSURD_NUMBER, order, crafted(order_parts(order)))

    def _absurd_time(self, order: Order) -> HostileMessage:
        name = self.rng.choice(("transact_time_us", "expire_time_us"))
        time_us: dict[str, Any] = {name: self.rng.choice(_ABSURD_TIMES_US)}
        order = replace(order, **time_us)
        return self._signed(Attack.ABSURD_TIME, order, crafted(order_parts(order)))

    def _replayed(self, order: Order) -> HostileMessage:
        if self._last is None:
            return self._sound(Attack.REPLAYED, order)[0]
        return replace(self._last, attack=Attack.REPLAYED)
