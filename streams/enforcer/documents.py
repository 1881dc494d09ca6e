"""Orders and verdicts as JSON: FIX's names in snake case, decimals as text, times as RFC 3339 in UTC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from streams.core.documents import MARKET, MIC, REGION, DocumentReader, load_json
from streams.core.orders import (
    MONEY_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
    MsgType,
    Order,
    OrdType,
    Side,
    TimeInForce,
    decimal_text,
    parse_decimal,
)
from streams.core.texts import time_text
from streams.enforcer.problems import Decision, Problem, ProblemError

if TYPE_CHECKING:
    from streams.audit.proof import Inclusion
    from streams.wire.decisions import Verdict

BODY_BYTES_MAX: Final = 16 * 1024
CL_ORD_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,50}")
QUANTITY: Final = re.compile(r"(?=[0-9.]*[1-9])[0-9]{1,20}(\.[0-9]{1,17})?")
PRICE: Final = re.compile(r"(?=[0-9.]*[1-9])[0-9]{1,20}(\.[0-9]{1,13})?")

_OPTIONAL: Final = ("cl_ord_id", "orig_cl_ord_id", "msg_type", "time_in_force", "price")


def read_order(document: bytes, agent_id: str, cl_ord_id: str, now_us: int, expire_us: int) -> Order:
    """Return the order of a request body; `cl_ord_id` is taken where the body names none.

    A cancellation has no end of its own: it lowers risk whenever it arrives.

    Raises: ProblemError with every field that does not hold.
    """
    try:
        body = load_json(document)
    except (ValueError, RecursionError):
        raise ProblemError(Problem.ORDER_MALFORMED, "body: JSON in UTF-8, no key twice, required") from None
    reader = DocumentReader(body, "", [])
    given = {name for name in _OPTIONAL if isinstance(body, dict) and name in body}

    def text(name: str, form: re.Pattern[str]) -> str | None:
        return reader.text(name, form) if name in given else None

    msg_type = MsgType.NEW_ORDER_SINGLE
    if "msg_type" in given:
        msg_type = MsgType(reader.choice("msg_type", tuple(MsgType)) or msg_type)
    time_in_force = TimeInForce.DAY
    if "time_in_force" in given:
        time_in_force = TimeInForce(reader.choice("time_in_force", tuple(TimeInForce)) or time_in_force)
    price = text("price", PRICE)
    cancelling = msg_type is MsgType.ORDER_CANCEL_REQUEST
    order = Order(
        agent_id=agent_id,
        cl_ord_id=text("cl_ord_id", CL_ORD_ID) or cl_ord_id,
        orig_cl_ord_id=text("orig_cl_ord_id", CL_ORD_ID),
        msg_type=msg_type,
        symbol=reader.text("symbol", MARKET),
        ex_destination=reader.text("ex_destination", MIC),
        region=reader.text("region", REGION),
        side=Side(reader.choice("side", tuple(Side)) or Side.BUY),
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        time_in_force=time_in_force,
        order_qty_e17=parse_decimal(reader.text("order_qty", QUANTITY) or "0", QTY_SCALE),
        price_e13=None if not price else parse_decimal(price, PRICE_SCALE),
        transact_time_us=now_us,
        expire_time_us=None if cancelling else expire_us,
    )
    reader.finish()
    if reader.problems:
        raise ProblemError(Problem.ORDER_MALFORMED, "fields that do not hold", errors=reader.problems)
    return order


def verdict_document(verdict: Verdict, inclusion: Inclusion | None) -> dict[str, Any]:
    """Return a verdict as JSON, an approval with its place in the audit log."""
    made: dict[str, Any] = {
        "decision": (Decision.APPROVED if verdict.approved else Decision.REJECTED).value,
        "agent_id": verdict.agent_id,
        "cl_ord_id": verdict.cl_ord_id,
        "reason": verdict.reason.value,
        "failures": [
            {"reason": failure.reason.value, "limit": failure.limit, "observed": failure.observed, "unit": failure.unit}
            for failure in verdict.failures
        ],
        "order_value_eur": _money(verdict.order_value_e5),
        "daily_value_eur": _money(verdict.daily_value_e5),
        "score": verdict.score,
        "request_time": time_text(verdict.request_time_us),
        "decision_time": time_text(verdict.decision_time_us),
        "log_index": verdict.log_index,
    }
    if inclusion is not None:
        checkpoint = inclusion.checkpoint
        made["proof"] = {"origin": checkpoint.origin, "index": inclusion.index, "tree_size": checkpoint.size}
    return made


def _money(value_e5: int | None) -> str | None:
    return None if value_e5 is None else decimal_text(value_e5, MONEY_SCALE)
