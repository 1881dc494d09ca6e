"""Regulatory records: what an audit event says of an order or a trade, in the field names and codes of the EU formats.

A record is a pure function of its leaf, so whoever has the leaf can check the record.
Source: Reg. 2017/580 Annex, Reg. 2025/1140 and 2025/416 as far as they could be read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from streams.core.executions import ExecType, value_eur_e5
from streams.core.orders import (
    MONEY_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
    MsgType,
    OrdType,
    Side,
    TimeInForce,
    decimal_text,
)
from streams.wire.decisions import decode_verdict_body
from streams.wire.executions import decode_execution_report
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from streams.wire.decisions import AuditEvent

SIDE_CODES: Final = {Side.BUY: "BUYI", Side.SELL: "SELL"}
EXECUTION_CODES: Final = {ExecType.PARTIAL_FILL: "PARF", ExecType.FILL: "FILL"}
_APPROVED_CODES: Final = {
    MsgType.NEW_ORDER_SINGLE: "NEWO",
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: "REME",
    MsgType.ORDER_CANCEL_REQUEST: "CAME",
}
_REJECTED_CODE: Final = "REMO"
_TYPE_CODES: Final = {OrdType.LIMIT: "LMTO", OrdType.MARKET: "MRTO"}
_VALIDITY_CODES: Final = {
    TimeInForce.DAY: "DAVY",
    TimeInForce.GOOD_TILL_CANCEL: "GTCV",
    TimeInForce.IMMEDIATE_OR_CANCEL: "IOCV",
    TimeInForce.FILL_OR_KILL: "FOKV",
}
_NO_PRICE: Final = "NOAP"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def date_time_text(moment_us: int) -> str:
    """Return a moment as ISO 8601 with six fraction digits, UTC; the bare number where no calendar has it."""
    try:
        return f"{_EPOCH + timedelta(microseconds=moment_us):%Y-%m-%dT%H:%M:%S.%fZ}"
    except OverflowError:
        return str(moment_us)


def order_record(event: AuditEvent, verdict_body: bytes) -> dict[str, Any]:
    """Return the record of a decided order.

    Raises: DecodeError where the verdict or its order cannot be read.
    """
    verdict = decode_verdict_body(verdict_body)
    order = decode_order_body(verdict.order)
    value_e5 = verdict.order_value_e5
    return {
        "event": _APPROVED_CODES[order.msg_type] if verdict.approved else _REJECTED_CODE,
        "event_time": date_time_text(event.event_time_us),
        "agent_id": order.agent_id,
        "cl_ord_id": order.cl_ord_id,
        "orig_cl_ord_id": order.orig_cl_ord_id,
        "reason": verdict.reason.value,
        "failures": [failure.reason.value for failure in verdict.failures],
        "symbol": order.symbol,
        "mic": order.ex_destination,
        "side": SIDE_CODES[order.side],
        "order_type": _TYPE_CODES[order.ord_type],
        "validity_period": _VALIDITY_CODES[order.time_in_force],
        "initial_quantity": decimal_text(order.order_qty_e17, QTY_SCALE),
        "limit_price": _NO_PRICE if order.price_e13 is None else decimal_text(order.price_e13, PRICE_SCALE),
        "order_value_eur": None if value_e5 is None else decimal_text(value_e5, MONEY_SCALE),
        "submitted_at": date_time_text(order.transact_time_us),
        "received_at": date_time_text(verdict.request_time_us),
        "policy_sha256": None if verdict.policy_sha256 is None else verdict.policy_sha256.hex(),
        "partition": event.partition,
        "log_index": event.log_index,
    }


def transaction_record(event: AuditEvent) -> dict[str, Any] | None:
    """Return the record of a trade; None where the event is no trade or repeats one.

    Raises: DecodeError where the venue's report cannot be read.
    """
    report = decode_execution_report(event.subject or b"")
    details = event.details
    if not report.is_trade or details["repeated"] == "true":
        return None
    value_e5 = value_eur_e5(report, int(details["eur_rate_e13"]))
    return {
        "record_id": f"{report.last_mkt}:{report.exec_id}",
        "agent_id": report.agent_id,
        "operator": details["operator"],
        "operator_regulator_id": details["operator_regulator_id"],
        "cl_ord_id": report.cl_ord_id,
        "order_id": report.order_id,
        "exec_id": report.exec_id,
        "event": EXECUTION_CODES[report.exec_type],
        "symbol": report.symbol,
        "dti": details["dti"],
        "mic": report.last_mkt,
        "side": SIDE_CODES[report.side],
        "quantity": decimal_text(report.last_qty_e17, QTY_SCALE),
        "price": decimal_text(report.last_px_e13, PRICE_SCALE),
        "currency": details["currency"],
        "value_eur": decimal_text(value_e5, MONEY_SCALE),
        "remaining_quantity": decimal_text(report.leaves_qty_e17, QTY_SCALE),
        "trading_capacity": "DEAL",
        "approved_at": date_time_text(int(details["approved_at_us"])),
        "executed_at": date_time_text(report.transact_time_us),
        "policy_sha256": details["policy_sha256"],
        "findings": details["findings"].split(),
        "partition": event.partition,
        "log_index": event.log_index,
        "approval_log_index": int(details["approval_log_index"]),
    }
