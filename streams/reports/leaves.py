"""From a leaf to its lines, by the full decoders; `streams.reports.quick` reads most leaves, thousands at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from streams.core.orders import (
    MONEY_SCALE,
    QTY_SCALE,
    decimal_text,
)
from streams.reports.facts import json_text
from streams.reports.layout import EVENTS, INCIDENTS, ORDERS, RECORD_FILES, REJECTED, TRANSACTIONS
from streams.reports.records import (
    KnownTrade,
    OrderParts,
    Place,
    limit_price,
    moment,
    order_line,
    order_terms,
    refusal,
    report_line,
    transaction_line,
)
from streams.wire.decisions import decode_audit_event, decode_verdict_body
from streams.wire.executions import decode_execution_report
from streams.wire.messages import decode_order_body
from streams.wire.regulatory import date_time_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.core.executions import ExecutionReport
    from streams.reports.facts import Facts
    from streams.wire.decisions import AuditEvent, Verdict

ORDER_APPROVED: Final = "ORDER_APPROVED"
ORDER_REJECTED: Final = "ORDER_REJECTED"
TRADE_EXECUTED: Final = "TRADE_EXECUTED"
AGENT_REGISTERED: Final = "AGENT_REGISTERED"
# What an incident is made of; types that begin with INCIDENT_ are others' to add.
_INCIDENT_TYPES: Final = frozenset(
    {"BREAKER_CHANGED", "COMMAND_APPLIED", "COMMAND_REFUSED", "CERTIFICATE_SUSPENDED", "DEADLINE_PASSED"}
)
_INCIDENT: Final = "INCIDENT"

# Of each kind of part, the last so many are kept: some megabytes.
_KEPT: Final = 1 << 14


class Leaf(NamedTuple):
    """A leaf's place, its lines by file, and whom it registers (a framed AgentRecord)."""

    place: Place
    lines: tuple[tuple[int, str], ...]
    registration: bytes | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a batch holds: of one bot or all, of one market or all."""

    bot: str = ""
    market: str = ""

    def takes(self, bot: str, market: str) -> bool:
        """Say whether a record of this bot and market (empty: of none) is wanted."""
        return self.bot in ("", bot) and self.market in ("", market)


class LeafReader:
    """Reads the leaves of a log with a batch's facts."""

    def __init__(self, facts: Facts, selection: Selection) -> None:
        self._takes = selection.takes
        # Whom the records name: codes of venues that reported, markets that orders went to.
        self.venues: set[str] = set()
        self.markets: set[str] = set()
        self._submitter: Callable[[str], str] = lru_cache(_KEPT)(facts.submitter)
        self._market: Callable[[str], tuple[str, str]] = lru_cache(_KEPT)(facts.market)

    def read(self, leaf: bytes, leaf_sha256: bytes) -> Leaf:
        """Return what a leaf with this hash in its log says.

        Raises: DecodeError, KeyError, ValueError where it cannot be read.
        """
        event, verdict = decode_audit_event(leaf)
        place = Place(event.partition, event.log_index, moment(event.event_time_us), leaf_sha256)
        kind = event.event_type
        if kind in ORDER_FILES and verdict is not None:
            return self._decided(place, decode_verdict_body(verdict), ORDER_FILES[kind])
        if kind == TRADE_EXECUTED and event.details.get("repeated") == "false":
            known = KnownTrade(*(event.details[name] for name in KnownTrade._fields))
            return self._report(place, decode_execution_report(event.subject or b""), known)
        registration = event.subject if kind == AGENT_REGISTERED else None
        if not self._takes(event.agent_id, event.details.get("symbol", "")):
            return Leaf(place, (), registration)
        file = _INCIDENTS if kind in _INCIDENT_TYPES or kind.startswith(_INCIDENT) else _EVENTS
        return Leaf(place, ((file, _event_line(place, event)),), registration)

    def _report(self, place: Place, report: ExecutionReport, known: KnownTrade) -> Leaf:
        if not self._takes(report.agent_id, report.symbol):
            return Leaf(place, ())
        self.venues.add(report.last_mkt)
        order = (_ORDERS, report_line(place, report, known))
        if not report.is_trade:
            return Leaf(place, (order,))
        return Leaf(place, (order, (_TRANSACTIONS, transaction_line(place, report, known))))

    def _decided(self, place: Place, verdict: Verdict, file: int) -> Leaf:
        order = decode_order_body(verdict.order)
        if not self._takes(order.agent_id, order.symbol):
            return Leaf(place, ())
        market, currency = self._market(order.symbol)
        value, policy = verdict.order_value_e5, verdict.policy_sha256
        failures = [(str(f.reason), f.limit, f.observed, f.unit) for f in verdict.failures]
        approved = file == _ORDERS
        if approved:
            self.markets.add(order.symbol)
        parts = OrderParts(
            json_text(order.agent_id),
            self._submitter(order.agent_id),
            market,
            json_text(order.ex_destination),
            json_text(order.cl_ord_id),
            "null" if order.orig_cl_ord_id is None else json_text(order.orig_cl_ord_id),
            *order_terms(order.msg_type, order.ord_type, order.time_in_force, order.side, approved=approved),
            limit_price(currency, order.price_e13),
            decimal_text(order.order_qty_e17, QTY_SCALE),
            date_time_text(order.transact_time_us),
            date_time_text(verdict.request_time_us),
            "null" if value is None else f'"{decimal_text(value, MONEY_SCALE)}"',
            "null" if policy is None else f'"{policy.hex()}"',
            "" if approved else refusal(verdict.reason.value, failures),
        )
        return Leaf(place, ((file, order_line(place, parts)),))


_ORDERS, _TRANSACTIONS, _REJECTED, _INCIDENTS, _EVENTS = map(
    RECORD_FILES.index, (ORDERS, TRANSACTIONS, REJECTED, INCIDENTS, EVENTS)
)
ORDER_FILES: Final = {ORDER_APPROVED: _ORDERS, ORDER_REJECTED: _REJECTED}


def _event_line(place: Place, event: AuditEvent) -> str:
    score = event.score
    record: dict[str, Any] = {
        "record_id": f"{place.partition}-{place.log_index}",
        "event": event.event_type,
        "event_time": place.event_time.text,
        "agent_id": event.agent_id,
        "outcome": event.outcome,
        "state_before": event.state_before,
        "state_after": event.state_after,
        "signer": event.signer,
        "authorised_by": event.authorised_by,
        "approved_by": event.approved_by,
        "policy_sha256": None if event.policy_sha256 is None else event.policy_sha256.hex(),
        "score": None if score is None else {"model": score.model, "value": score.value, "features": score.features},
        "details": event.details,
        "source_topic": event.source_topic,
        "source_offset": event.source_offset,
        "log": place.partition,
        "leaf": place.log_index,
        "leaf_sha256": place.leaf_sha256.hex(),
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE).decode()
