"""From a leaf to its lines: quick for orders and trades, by the full decoders for everything else; the same lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import orjson

from streams.core.executions import ExecType, ExecutionReport
from streams.core.orders import (
    MONEY_SCALE,
    QTY_SCALE,
    MsgType,
    OrdType,
    Side,
    TimeInForce,
    decimal_text,
)
from streams.reports.facts import json_text
from streams.reports.layout import EVENTS, INCIDENTS, ORDERS, RECORD_FILES, REJECTED, TRANSACTIONS
from streams.reports.records import (
    KnownTrade,
    Moment,
    OrderParts,
    Place,
    id_text,
    limit_price,
    moment,
    order_line,
    order_terms,
    refusal,
    report_line,
    transaction_line,
)
from streams.wire.avro import Schema, prefix, schema_document
from streams.wire.decisions import EVENT_TYPES, decode_audit_event, decode_verdict_body
from streams.wire.executions import decode_execution_report
from streams.wire.messages import decode_order_body
from streams.wire.regulatory import date_time_text
from streams.wire.scan import Scanner, decimal, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

_EVENT_FIELDS: Final = ("log_index", "partition", "event_time")
_VERDICT_FIELDS: Final = ("policy_sha256", "order_value", "request_time", "reason", "failures")
_ORDER_FIELDS: Final = (
    *("agent_id", "cl_ord_id", "orig_cl_ord_id", "msg_type", "symbol", "ex_destination", "side", "ord_type"),
    *("time_in_force", "order_qty", "price", "transact_time"),
)
_REPORT_FIELDS: Final = tuple(field["name"] for field in schema_document(Schema.EXECUTION_REPORT)["fields"])


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
    """Reads the leaves of a log with a batch's facts; ``quick`` off reads each by the full decoders."""

    def __init__(self, facts: Facts, selection: Selection, *, quick: bool = True) -> None:
        self._takes = selection.takes
        self._everything = selection == Selection()
        self._quick = quick
        # Whom the records name: codes of venues that reported, markets that orders went to.
        self.venues: set[str] = set()
        self.markets: set[str] = set()
        # Parts of lines, by the bytes that say them: a text is made once.
        self._submitter: Callable[[str], str] = lru_cache(_KEPT)(facts.submitter)
        self._market: Callable[[str], tuple[str, str]] = lru_cache(_KEPT)(facts.market)

    def read(self, leaf: bytes) -> Leaf:
        """Return what a leaf says.

        Raises: DecodeError, KeyError, ValueError where it cannot be read.
        """
        if self._quick:
            kind = _kind_of(leaf)
            found = None
            if kind in _ORDER_FILES:
                found = self._scan_order(leaf, _ORDER_FILES[kind])
            elif kind == TRADE_EXECUTED:
                found = self._scan_report(leaf)
            if found is not None:
                return found
        return self._read_plainly(leaf)

    def _scan_order(self, leaf: bytes, file: int) -> Leaf | None:
        found = _order_scanner.scan(leaf)
        if found is None:
            return None
        index, partition, time, policy, value, received, reason, failed, *order = found
        bot, own_id, replaced, kind, symbol, venue, side, ord_type, validity, qty, price, submitted = order
        refused = ""
        if file == _REJECTED:
            refused = _refusal_of(reason, failed)
            if not refused:
                return None
        place = Place(_numbers(partition), number(index), _moments(time), sha256(b"\x00" + leaf).digest())
        name, market = _texts(bot), _texts(symbol)
        if not (self._everything or self._takes(name, market)):
            return Leaf(place, ())
        members, currency = self._market(market)
        if not refused:
            self.markets.add(market)
        parts = OrderParts(
            json_text(name),
            self._submitter(name),
            members,
            _names(venue),
            id_text(text(own_id)),
            _null_or(replaced, _id_of),
            _terms_of(kind, ord_type, validity, side, file),
            _limit_of(currency, price),
            _quantity_of(qty),
            date_time_text(number(submitted)),
            _moments(received).text,
            _null_or(value, _money_of),
            _null_or(policy, _digest_of),
            refused,
        )
        return Leaf(place, ((file, order_line(place, parts)),))

    def _scan_report(self, leaf: bytes) -> Leaf | None:
        found = _report_scanner.scan(leaf)
        if found is None:
            return None
        index, partition, time, *rest = found
        known = KnownTrade(*map(_texts, rest[len(_REPORT_FIELDS) :]))
        if known.repeated != "false":
            return None
        bot, exec_id, order_id, own_id, kind, symbol, side, qty, price, done, left, venue, other, at = rest[:14]
        report = ExecutionReport(
            agent_id=_texts(bot),
            exec_id=text(exec_id),
            order_id=text(order_id),
            cl_ord_id=text(own_id),
            exec_type=_EXEC_TYPES[kind],
            symbol=_texts(symbol),
            side=_SIDES[side],
            last_qty_e17=decimal(qty),
            last_px_e13=decimal(price),
            cum_qty_e17=decimal(done),
            leaves_qty_e17=decimal(left),
            last_mkt=_texts(venue),
            counterparty=None if other is None else text(other),
            transact_time_us=number(at),
        )
        place = Place(_numbers(partition), number(index), _moments(time), sha256(b"\x00" + leaf).digest())
        return self._report(place, report, known)

    def _report(self, place: Place, report: ExecutionReport, known: KnownTrade) -> Leaf:
        if not self._takes(report.agent_id, report.symbol):
            return Leaf(place, ())
        self.venues.add(report.last_mkt)
        order = (_ORDERS, report_line(place, report, known))
        if not report.is_trade:
            return Leaf(place, (order,))
        return Leaf(place, (order, (_TRANSACTIONS, transaction_line(place, report, known))))

    def _read_plainly(self, leaf: bytes) -> Leaf:
        event, verdict = decode_audit_event(leaf)
        place = Place(event.partition, event.log_index, moment(event.event_time_us), sha256(b"\x00" + leaf).digest())
        kind = event.event_type
        if kind in _ORDER_FILES and verdict is not None:
            return self._decided(place, decode_verdict_body(verdict), _ORDER_FILES[kind])
        if kind == TRADE_EXECUTED and event.details.get("repeated") == "false":
            known = KnownTrade(*(event.details[name] for name in KnownTrade._fields))
            return self._report(place, decode_execution_report(event.subject or b""), known)
        registration = event.subject if kind == AGENT_REGISTERED else None
        if not self._takes(event.agent_id, event.details.get("symbol", "")):
            return Leaf(place, (), registration)
        file = _INCIDENTS if kind in _INCIDENT_TYPES or kind.startswith(_INCIDENT) else _EVENTS
        return Leaf(place, ((file, _event_line(place, event)),), registration)

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
            id_text(order.cl_ord_id),
            "null" if order.orig_cl_ord_id is None else id_text(order.orig_cl_ord_id),
            order_terms(order.msg_type, order.ord_type, order.time_in_force, order.side, approved=approved),
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
_ORDER_FILES: Final = {ORDER_APPROVED: _ORDERS, ORDER_REJECTED: _REJECTED}
_HEAD: Final = len(prefix(Schema.AUDIT_EVENT))


def _kind_of(leaf: bytes) -> str:
    place = leaf[_HEAD] >> 1 if len(leaf) > _HEAD else len(EVENT_TYPES)
    return EVENT_TYPES[place] if place < len(EVENT_TYPES) else ""


_order_scanner: Final = Scanner(
    Schema.AUDIT_EVENT,
    (
        *_EVENT_FIELDS,
        *(f"verdict.{name}" for name in _VERDICT_FIELDS),
        *(f"verdict.order.{name}" for name in _ORDER_FIELDS),
    ),
    opened={"verdict": (Schema.VERDICT, False), "verdict.order": (Schema.ORDER, False)},
)
_report_scanner: Final = Scanner(
    Schema.AUDIT_EVENT,
    (
        *_EVENT_FIELDS,
        *(f"subject.{name}" for name in _REPORT_FIELDS),
        *(f"details.{name}" for name in KnownTrade._fields),
    ),
    opened={"subject": (Schema.EXECUTION_REPORT, True)},
    maps={"details": KnownTrade._fields},
)
_Member = TypeVar("_Member")


def _by_byte(members: Iterable[_Member]) -> dict[bytes, _Member]:
    """Return an enum's members as Avro writes them: a byte, twice the place."""
    return {bytes([place << 1]): member for place, member in enumerate(members)}


_MSG_TYPES: Final = _by_byte(MsgType)
_SIDES: Final = _by_byte(Side)
_ORD_TYPES: Final = _by_byte(OrdType)
_VALIDITIES: Final = _by_byte(TimeInForce)
_EXEC_TYPES: Final = _by_byte(ExecType)
_texts: Final = lru_cache(_KEPT)(text)
_numbers: Final = lru_cache(_KEPT)(number)


@lru_cache(_KEPT)
def _moments(raw: bytes) -> Moment:
    return moment(number(raw))


@lru_cache(_KEPT)
def _names(raw: bytes) -> str:
    return json_text(text(raw))


def _null_or(raw: bytes | None, read: Callable[[bytes], str]) -> str:
    return "null" if raw is None else read(raw)


def _id_of(raw: bytes) -> str:
    return id_text(text(raw))


def _money_of(raw: bytes) -> str:
    return f'"{decimal_text(decimal(raw), MONEY_SCALE)}"'


@lru_cache(_KEPT)
def _digest_of(raw: bytes) -> str:
    return f'"{raw[1:].hex()}"'


@lru_cache(_KEPT)
def _quantity_of(raw: bytes) -> str:
    return decimal_text(decimal(raw), QTY_SCALE)


@lru_cache(_KEPT)
def _limit_of(currency: str, raw: bytes | None) -> str:
    return limit_price(currency, None if raw is None else decimal(raw))


@lru_cache(_KEPT)
def _terms_of(kind: bytes, ord_type: bytes, validity: bytes, side: bytes, file: int) -> tuple[str, str, str]:
    members = _MSG_TYPES[kind], _ORD_TYPES[ord_type], _VALIDITIES[validity], _SIDES[side]
    return order_terms(*members, approved=file == _ORDERS)


@lru_cache(_KEPT)
def _refusal_of(reason: bytes, failed: bytes) -> str:
    """Return the members that say why; empty where the failures are spelled in another way than ours."""
    failures = texts(failed, 4)
    return "" if failures is None else refusal(text(reason), failures)


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
