"""The nouns: orders, verdicts, reference prices, trades. Integers carry their scale in their name.

`_e17`, `_e13`, `_e5` are decimal fixed point with 17, 13 and 5 fraction digits: the scales of quantities, prices and
money in the EU record formats (Reg. 2017/580 Annex, DECIMAL-18/17, -18/13, -18/5). Times are microseconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from streams.core.reasons import Reason

QTY_SCALE = 17
PRICE_SCALE = 13
MONEY_SCALE = 5


@unique
class Side(StrEnum):
    """FIX Side(54)."""

    BUY = "BUY"
    SELL = "SELL"


@unique
class OrdType(StrEnum):
    """FIX OrdType(40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


@unique
class TimeInForce(StrEnum):
    """FIX TimeInForce(59)."""

    DAY = "DAY"
    GOOD_TILL_CANCEL = "GOOD_TILL_CANCEL"
    IMMEDIATE_OR_CANCEL = "IMMEDIATE_OR_CANCEL"
    FILL_OR_KILL = "FILL_OR_KILL"


@unique
class MsgType(StrEnum):
    """FIX MsgType(35) D, G and F."""

    NEW_ORDER_SINGLE = "NEW_ORDER_SINGLE"
    ORDER_CANCEL_REPLACE_REQUEST = "ORDER_CANCEL_REPLACE_REQUEST"
    ORDER_CANCEL_REQUEST = "ORDER_CANCEL_REQUEST"


@unique
class TradingState(StrEnum):
    """ACTIVE trades; REDUCING may only lower exposure; HALTED does nothing but cancel."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


# Not frozen, though nobody changes one: frozen fields are set one by one through `object`, 1.5 us an order for 0.2.
@dataclass(slots=True, unsafe_hash=True)
class Order:
    """A bot's message as decoded; its fields are not yet known to be sensible."""

    agent_id: str
    cl_ord_id: str
    orig_cl_ord_id: str | None
    msg_type: MsgType
    symbol: str
    ex_destination: str
    region: str
    side: Side
    ord_type: OrdType
    time_in_force: TimeInForce
    order_qty_e17: int
    price_e13: int | None
    transact_time_us: int
    expire_time_us: int | None = None


class Activity(NamedTuple):
    """What was traded in a market since the record before; rush orders are None where the feed does not know them."""

    volume_e17: int
    rush_buys: int | None = None
    rush_sells: int | None = None


@dataclass(frozen=True, slots=True)
class ReferencePrice:
    """A market's reference price, its units, what was traded, and its place in `markets.reference`."""

    symbol: str
    price_e13: int
    price_time_us: int
    quote_currency: str
    eur_rate_e13: int
    tick_size_e13: int
    lot_size_e17: int
    base_dti: str
    mic: str
    source: str
    activity: Activity | None = None
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that did not pass: the limit, the observed value and their unit, as text with full precision."""

    reason: Reason
    limit: str
    observed: str
    unit: str


def decimal_text(value: int, scale: int) -> str:
    """Write a fixed-point integer as a decimal without exponent or trailing zeros."""
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).rjust(scale + 1, "0")
    whole, fraction = digits[:-scale], digits[-scale:].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def parse_decimal(text: str, scale: int) -> int:
    """Read a plain decimal (`-?digits[.digits]`) as a fixed-point integer.

    Raises: ValueError where the text is not plain or has more fraction digits than `scale`.
    """
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, fraction = body.partition(".")
    digits_ok = whole.isascii() and whole.isdigit() and (fraction == "" or (fraction.isascii() and fraction.isdigit()))
    if not digits_ok or body.endswith(".") or len(fraction) > scale or len(whole) > 20:
        raise ValueError(f"not a decimal with at most {scale} fraction digits: {text[:40]!r}")
    return sign * int(whole + fraction.ljust(scale, "0"))
