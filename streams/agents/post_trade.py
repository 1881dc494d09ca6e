"""The post-trade agent: every execution is held against its approval and becomes a regulatory record."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.agents.alerts import CRITICAL
from streams.agents.positions import Positions
from streams.core.alert_kinds import AlertKind
from streams.core.executions import Approval, ExecutionReport, Finding, findings, value_eur_e5
from streams.core.orders import MsgType
from streams.names import Topic
from streams.wire.avro import DecodeError, Schema, encode, to_decimal
from streams.wire.executions import decode_execution_report
from streams.wire.headers import cloud_event
from streams.wire.regulatory import EXECUTION_CODES, SIDE_CODES

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Lane
    from streams.core.orders import Order
    from streams.engine.tables import PartitionTable
    from streams.wire.decisions import Verdict
    from streams.wire.registration import Registration

# A closed order is remembered this long, so that a venue's repeated report is known as such.
_CLOSED_KEPT_US: Final = 3_600_000_000


class _Known(NamedTuple):
    """What is known of a trade beside the venue's report."""

    operator: str
    operator_regulator_id: str
    dti: str
    currency: str
    eur_rate_e13: int
    approval_log_index: int
    policy_sha256: bytes
    approved_at_us: int

    def details(self) -> dict[str, str]:
        """Return it as an audit event's details."""
        return {name: value.hex() if isinstance(value, bytes) else str(value) for name, value in self._asdict().items()}


class PostTradeAgent:
    """Knows the open orders of its partition."""

    def __init__(self, lane: Lane, table: PartitionTable[Approval], positions: PartitionTable[str]) -> None:
        self._lane = lane
        self._table = table
        rows = list(table.items())
        self._closed = deque(sorted((row.closed_at_us, key) for key, row in rows if row.closed_at_us))
        self.positions = Positions(positions, ((key.partition(" ")[0], row) for key, row in rows))
        self._topic = lane.services.topic(Topic.REPORTS_REGULATOR)

    def on_approval(self, order: Order, verdict: Verdict, registration: Registration) -> None:
        """Remember an approved order until it is closed; a cancellation opens nothing."""
        if order.msg_type is MsgType.ORDER_CANCEL_REQUEST:
            return
        approval = Approval(
            order.symbol,
            order.side,
            order.ex_destination,
            order.order_qty_e17,
            order.price_e13,
            verdict.log_index,
            verdict.decision_time_us,
            registration.policy.policy_id,
        )
        key = _key(order.agent_id, order.cl_ord_id)
        before = self._table.get(key)
        if before is not None:  # the identifier's window is over; the venue knows the newer order by it
            self.positions.opened(order.agent_id, before, -before.leaves_e17)
        self._table.put(key, approval)
        self.positions.opened(order.agent_id, approval, approval.leaves_e17)

    def on_report(self, record: ConsumerRecord) -> None:
        """Check a venue's report against its approval; log it, record a trade for the regulator, alert on findings."""
        lane = self._lane
        try:
            report = decode_execution_report(record.value or b"")
        except DecodeError as error:
            details = {"text": error.text[:500]}
            lane.record_event(record, "RECORD_DEAD_LETTERED", "", None, outcome=error.reason, details=details)
            return
        key = _key(report.agent_id, report.cl_ord_id)
        approval = self._table.get(key)
        found = findings(report, approval) if report.is_trade else ()
        repeated = Finding.REPEATED in found
        bot = lane.bots.get(report.agent_id)
        known = self._known(report, approval)
        counts = report.is_trade and not repeated and approval is not None
        worse = lane.anomaly.on_execution(report) if counts else None
        lane.record_event(
            record,
            "TRADE_EXECUTED",
            report.agent_id,
            bot,
            subject=record.value,
            state_before="ACTIVE" if bot is None else bot.trading_state.value,
            policy_sha256=None if approval is None else approval.policy_sha256,
            outcome=found[0] if found else "NONE",
            # With these the regulatory record can be made from the leaf alone (wire/regulatory.py).
            details=known.details()
            | {
                "findings": " ".join(found),
                "repeated": str(repeated).lower(),
                "worse_bps": "" if worse is None else repr(worse),
            },
        )
        if report.is_trade and not repeated:
            self.positions.traded(report)
            self._record(report, known, found)
        if approval is not None and not repeated:
            leaves_e17 = approval.leaves_e17
            self._advance(key, approval, report)
            self.positions.opened(report.agent_id, approval, approval.leaves_e17 - leaves_e17)
        if found and not repeated:
            message = f"execution {report.exec_id} of {report.agent_id}: {', '.join(found)}"
            lane.alerts.raise_alert(
                CRITICAL,
                AlertKind(found[0]),
                message,
                agent_id=report.agent_id,
                symbol=report.symbol,
                cause_us=record.timestamp * 1000,
            )

    def expire(self) -> None:
        """Forget orders closed long ago."""
        until_us = self._lane.now_us - _CLOSED_KEPT_US
        while self._closed and self._closed[0][0] <= until_us:
            self._table.delete(self._closed.popleft()[1])

    def _advance(self, key: str, approval: Approval, report: ExecutionReport) -> None:
        approval.executed_e17 += max(report.last_qty_e17, 0)
        if report.ends_order and not approval.closed_at_us:
            approval.closed_at_us = self._lane.now_us
            self._closed.append((self._lane.now_us, key))
        self._table.touch(key)

    def _known(self, report: ExecutionReport, approval: Approval | None) -> _Known:
        """Return what this log and the market say of a trade at this moment."""
        lane = self._lane
        registered = lane.registry.get(report.agent_id)
        registration = None if registered is None else registered.registration
        reference = lane.references.get(report.symbol)
        return _Known(
            operator="" if registration is None else registration.policy.operator,
            operator_regulator_id="" if registration is None else registration.policy.operator_regulator_id,
            dti="" if reference is None else reference.base_dti,
            currency="" if reference is None else reference.quote_currency,
            eur_rate_e13=0 if reference is None else reference.eur_rate_e13,
            approval_log_index=-1 if approval is None else approval.log_index,
            policy_sha256=b"" if approval is None else approval.policy_sha256,
            approved_at_us=0 if approval is None else approval.approved_at_us,
        )

    def _record(self, report: ExecutionReport, known: _Known, found: tuple[Finding, ...]) -> None:
        lane = self._lane
        value = encode(
            Schema.REGULATORY_RECORD,
            {
                "record_id": f"{report.last_mkt}:{report.exec_id}",
                "agent_id": report.agent_id,
                "operator": known.operator,
                "operator_regulator_id": known.operator_regulator_id,
                "cl_ord_id": report.cl_ord_id,
                "order_id": report.order_id,
                "exec_id": report.exec_id,
                "event": EXECUTION_CODES[report.exec_type],
                "symbol": report.symbol,
                "dti": known.dti,
                "mic": report.last_mkt,
                "side": SIDE_CODES[report.side],
                "quantity": to_decimal(report.last_qty_e17),
                "price": to_decimal(report.last_px_e13),
                "currency": known.currency,
                "value": to_decimal(value_eur_e5(report, known.eur_rate_e13)),
                "remaining": to_decimal(report.leaves_qty_e17),
                "trading_capacity": "DEAL",
                "approval_partition": lane.partition,
                "approval_log_index": known.approval_log_index,
                "policy_sha256": known.policy_sha256,
                "approved_at": known.approved_at_us,
                "executed_at": report.transact_time_us,
                "findings": [str(finding) for finding in found],
            },
        )
        headers = cloud_event("portcullis.transaction", f"/lanes/{lane.partition}", report.exec_id)
        lane.outputs.send(self._topic, report.agent_id.encode(), value, headers)


def _key(agent_id: str, cl_ord_id: str) -> str:
    return f"{agent_id} {cl_ord_id}"
