"""Execution reports between bytes and `core.executions`."""

from __future__ import annotations

from streams.core.executions import ExecType, ExecutionReport
from streams.core.orders import Side
from streams.wire.avro import Schema, decode, encode, from_decimal, to_decimal


def decode_execution_report(value: bytes) -> ExecutionReport:
    """Read a venue's report. Raises: DecodeError."""
    record = decode(Schema.EXECUTION_REPORT, value)
    return ExecutionReport(
        agent_id=record["agent_id"],
        exec_id=record["exec_id"],
        order_id=record["order_id"],
        cl_ord_id=record["cl_ord_id"],
        exec_type=ExecType(record["exec_type"]),
        symbol=record["symbol"],
        side=Side(record["side"]),
        last_qty_e17=from_decimal("last_qty", record["last_qty"]),
        last_px_e13=from_decimal("last_px", record["last_px"]),
        cum_qty_e17=from_decimal("cum_qty", record["cum_qty"]),
        leaves_qty_e17=from_decimal("leaves_qty", record["leaves_qty"]),
        last_mkt=record["last_mkt"],
        counterparty=record["counterparty"],
        transact_time_us=record["transact_time"],
    )


def encode_execution_report(report: ExecutionReport) -> bytes:
    """Return a report as a framed value."""
    return encode(
        Schema.EXECUTION_REPORT,
        {
            "agent_id": report.agent_id,
            "exec_id": report.exec_id,
            "order_id": report.order_id,
            "cl_ord_id": report.cl_ord_id,
            "exec_type": str(report.exec_type),
            "symbol": report.symbol,
            "side": str(report.side),
            "last_qty": to_decimal(report.last_qty_e17),
            "last_px": to_decimal(report.last_px_e13),
            "cum_qty": to_decimal(report.cum_qty_e17),
            "leaves_qty": to_decimal(report.leaves_qty_e17),
            "last_mkt": report.last_mkt,
            "counterparty": report.counterparty,
            "transact_time": report.transact_time_us,
        },
    )
