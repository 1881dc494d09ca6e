"""Post-trade rules: does an execution fit the approval it names? Integers with the scales of `core.orders`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from streams.core.orders import Side

_VALUE_DIVISOR: Final = 10**38
ROW_VERSION: Final = 1


@unique
class ExecType(StrEnum):
    """FIX ExecType(150), as far as venues report it here."""

    PARTIAL_FILL = "PARTIAL_FILL"
    FILL = "FILL"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


@unique
class Finding(StrEnum):
    """What is wrong with an execution. Source: RTS 6 Art. 17(1), 17(4)."""

    WITHOUT_APPROVAL = "EXECUTION_WITHOUT_APPROVAL"
    REPEATED = "EXECUTION_REPEATED"
    OTHER_MARKET = "EXECUTION_OTHER_MARKET"
    OTHER_SIDE = "EXECUTION_OTHER_SIDE"
    OVERFILLED = "EXECUTION_OVERFILLED"
    WORSE_THAN_LIMIT = "EXECUTION_WORSE_THAN_LIMIT"
    OTHER_VENUE = "EXECUTION_OTHER_VENUE"
    WRONG_QUANTITIES = "EXECUTION_WRONG_QUANTITIES"


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """What a venue did with an order; see `schemas/avro/execution-report.v1.avsc`."""

    agent_id: str
    exec_id: str
    order_id: str
    cl_ord_id: str
    exec_type: ExecType
    symbol: str
    side: Side
    last_qty_e17: int
    last_px_e13: int
    cum_qty_e17: int
    leaves_qty_e17: int
    last_mkt: str
    counterparty: str | None
    transact_time_us: int

    @property
    def is_trade(self) -> bool:
        """Say whether something was traded."""
        return self.exec_type in (ExecType.PARTIAL_FILL, ExecType.FILL)

    @property
    def ends_order(self) -> bool:
        """Say whether nothing can follow."""
        return self.exec_type is not ExecType.PARTIAL_FILL


@dataclass(slots=True)
class Approval:
    """An approved order as post-trade knows it, and how much of it was executed."""

    symbol: str
    side: Side
    venue: str
    order_qty_e17: int
    price_e13: int | None
    log_index: int
    approved_at_us: int
    policy_sha256: bytes
    executed_e17: int = 0
    closed_at_us: int = 0

    @property
    def leaves_e17(self) -> int:
        """Return what may still trade."""
        return 0 if self.closed_at_us else max(self.order_qty_e17 - self.executed_e17, 0)

    def to_row(self) -> list[Any]:
        """Return the approval as a list; decimals beyond 64 bits are text."""
        return [
            ROW_VERSION,
            self.symbol,
            self.side.value,
            self.venue,
            str(self.order_qty_e17),
            None if self.price_e13 is None else str(self.price_e13),
            self.log_index,
            self.approved_at_us,
            self.policy_sha256.hex(),
            str(self.executed_e17),
            self.closed_at_us,
        ]

    @classmethod
    def from_row(cls, row: list[Any]) -> Approval:
        """Return the approval that `to_row` wrote."""
        return cls(
            symbol=row[1],
            side=Side(row[2]),
            venue=row[3],
            order_qty_e17=int(row[4]),
            price_e13=None if row[5] is None else int(row[5]),
            log_index=row[6],
            approved_at_us=row[7],
            policy_sha256=bytes.fromhex(row[8]),
            executed_e17=int(row[9]),
            closed_at_us=row[10],
        )


def findings(report: ExecutionReport, approval: Approval | None) -> tuple[Finding, ...]:
    """Return everything that is wrong with a trade, in a fixed order; empty where it fits its approval."""
    if approval is None:
        return (Finding.WITHOUT_APPROVAL,)
    executed_e17 = approval.executed_e17 + report.last_qty_e17
    if report.cum_qty_e17 <= approval.executed_e17 and report.last_qty_e17 > 0:
        return (Finding.REPEATED,)
    limit = approval.price_e13
    worse = limit is not None and (
        report.last_px_e13 > limit if approval.side is Side.BUY else report.last_px_e13 < limit
    )
    tests = (
        (report.symbol != approval.symbol, Finding.OTHER_MARKET),
        (report.side is not approval.side, Finding.OTHER_SIDE),
        (executed_e17 > approval.order_qty_e17, Finding.OVERFILLED),
        (worse, Finding.WORSE_THAN_LIMIT),
        (report.last_mkt != approval.venue, Finding.OTHER_VENUE),
        (
            report.last_qty_e17 <= 0 or report.last_px_e13 <= 0 or report.cum_qty_e17 != executed_e17,
            Finding.WRONG_QUANTITIES,
        ),
    )
    return tuple(finding for found, finding in tests if found)


def value_eur_e5(report: ExecutionReport, eur_rate_e13: int) -> int:
    """Return a trade's value in EUR, rounded half to even as the record formats ask."""
    return traded_eur_e5(report.last_qty_e17, report.last_px_e13, eur_rate_e13)


def traded_eur_e5(qty_e17: int, price_e13: int, eur_rate_e13: int) -> int:
    """Return what a quantity at a price is in EUR, rounded half to even."""
    exact = qty_e17 * price_e13 * eur_rate_e13
    value, rest = divmod(exact, _VALUE_DIVISOR)
    return value + (2 * rest > _VALUE_DIVISOR or (2 * rest == _VALUE_DIVISOR and value & 1))
