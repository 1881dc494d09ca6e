"""Codes and spellings of the EU record formats, for orders, trades and times.

Source: Reg. 2017/580 Annex (RTS 24), Reg. 2025/1140 and 2025/416 as far as they could be read; the names of elements
are ISO 20022's auth.113.001.01 (order book report) and auth.016.001.01 (transaction report).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from streams.core.executions import ExecType
from streams.core.orders import MsgType, OrdType, Side, TimeInForce

SIDE_CODES: Final = {Side.BUY: "BUYI", Side.SELL: "SELL"}
EXECUTION_CODES: Final = {ExecType.PARTIAL_FILL: "PARF", ExecType.FILL: "FILL"}
# What a venue reports of an order. CANCELED is CAMO, off the book by the venue's doing: where the bot had asked for it,
# its request is the CAME before.
REPORT_CODES: Final = EXECUTION_CODES | {
    ExecType.CANCELED: "CAMO",
    ExecType.REJECTED: "REMO",
    ExecType.EXPIRED: "EXPI",
}
APPROVED_CODES: Final = {
    MsgType.NEW_ORDER_SINGLE: "NEWO",
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: "REME",
    MsgType.ORDER_CANCEL_REQUEST: "CAME",
}
REJECTED_CODE: Final = "REMO"
# RTS 24 field 22 knows LIMIT, an order that may trade at once, and STOP, one that waits for a price; a market order is
# of the first kind, and its own name stands in field 21.
TYPE_CODES: Final = {OrdType.LIMIT: "LMTO", OrdType.MARKET: "LMTO"}
VALIDITY_CODES: Final = {
    TimeInForce.DAY: "DAVY",
    TimeInForce.GOOD_TILL_CANCEL: "GTCV",
    TimeInForce.IMMEDIATE_OR_CANCEL: "IOCV",
    TimeInForce.FILL_OR_KILL: "FOKV",
}
OWN_ACCOUNT: Final = "DEAL"

_SECOND_US: Final = 1_000_000
_FIRST: Final = "0001-01-01T00:00:00.000000Z"
_LAST: Final = "9999-12-31T23:59:59.999999Z"
LAST_US: Final = 253_402_300_799_999_999
"""The last moment that a calendar has, in microseconds UTC."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def date_time_text(moment_us: int) -> str:
    """Return a moment as ISO 8601 with six fraction digits, UTC; one that no calendar has as its first or last."""
    seconds, rest_us = divmod(moment_us, _SECOND_US)
    second = _second_text(seconds)
    return f"{second}{rest_us:06d}Z" if second else _FIRST if moment_us < 0 else _LAST


@lru_cache(65536)
def _second_text(seconds: int) -> str:
    try:
        # isoformat, since strftime does not pad the years before 1000.
        return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(timespec="seconds") + "."
    except OverflowError:
        return ""
