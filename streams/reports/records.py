"""The lines of a batch: what a leaf says of an order or a trade, in the elements of auth.113 and auth.016.

A line is a pure function of the leaf and the batch's facts, so whoever has both can check it. Lines are put together
from templates: there are a million of them, and of every line most is the same. `schemas/reports/` says what each must
look like.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.core.executions import ExecutionReport, value_eur_e5
from streams.core.identifiers import Identifier, is_well_formed
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
from streams.reports.facts import instrument_of, json_text, market_of, submitter_of
from streams.wire.regulatory import (
    APPROVED_CODES,
    OWN_ACCOUNT,
    REJECTED_CODE,
    REPORT_CODES,
    SIDE_CODES,
    TYPE_CODES,
    VALIDITY_CODES,
    date_time_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DATE_CHARS: Final = len("2026-01-31")


class Moment(NamedTuple):
    """A time, in microseconds UTC and as text."""

    us: int
    text: str


class Place(NamedTuple):
    """Where a record's leaf is, when it happened, and the leaf's hash."""

    partition: int
    log_index: int
    event_time: Moment
    leaf_sha256: bytes


class OrderParts(NamedTuple):
    """What a line says of an order, each part as JSON already.

    ``submitter``, ``market``, ``validity``, ``kind`` and ``side`` are members; ``limit`` is a member with its comma, or
    empty; so is ``refusal``, which only a refused order has.
    """

    agent_id: str
    submitter: str
    market: str
    venue: str
    cl_ord_id: str
    orig_cl_ord_id: str
    validity: str
    kind: str
    side: str
    limit: str
    quantity: str
    submitted_at: str
    received_at: str
    value_eur: str
    policy_sha256: str
    refusal: str


class KnownTrade(NamedTuple):
    """What a leaf's details say of a venue's report, as text; in the order in which post-trade writes them."""

    operator: str
    operator_regulator_id: str
    dti: str
    currency: str
    eur_rate_e13: str
    approval_log_index: str
    policy_sha256: str
    approved_at_us: str
    findings: str
    repeated: str
    worse_bps: str


ORDER_LINE: Final = (
    '{{"RptId":"{log}-{leaf}","Ordr":{{"OrdrIdData":{{{market},"SeqNb":{seq},"TmStmp":"{event_time}","TradVn":{venue}'
    ',"OrdrId":{cl_ord_id},"DtOfRct":"{received_date}",{validity}}},"OrdrData":{{{submitter},{kind},{limit}'
    '"InstrData":{{{side},"InitlQty":{{"Unit":"{quantity}"}}}}}}}},"SplmtryData":{{"agent_id":{agent_id},"log":{log}'
    ',"leaf":{leaf},"leaf_sha256":"{leaf_sha256}","policy_sha256":{policy_sha256},"orig_cl_ord_id":{orig_cl_ord_id}'
    ',"submitted_at":"{submitted_at}","received_at":"{received_at}","order_value_eur":{value_eur}{refusal}}}}}\n'
)
_EVIDENCE: Final = (
    '"agent_id":{agent_id},"log":{log},"leaf":{leaf},"leaf_sha256":"{leaf_sha256}","policy_sha256":{policy_sha256}'
)
REPORT_LINE: Final = (
    '{{"RptId":"{log}-{leaf}","Ordr":{{"OrdrIdData":{{{market},"SeqNb":{seq},"TmStmp":"{done_at}","TradVn":{venue}'
    ',"OrdrId":{cl_ord_id},"EvtTp":{{"Cd":"{event}"}}}},"OrdrData":{{{submitter},"TradgCpcty":"'
    + OWN_ACCOUNT
    + '","InstrData":{{"BuySellInd":"{side}","RmngQty":{{"Unit":"{remaining}"}}}}{traded}}}}},"SplmtryData":{{'
    + _EVIDENCE
    + ',"venue_order_id":{venue_order_id},"approval_log_index":{approval_log_index},"findings":{findings}}}}}\n'
)
AMOUNT: Final = '{{"MntryVal":{{"Amt":{{"Ccy":{currency},"value":"{price}"}}}}}}'
LIMIT: Final = '"OrdrPrics":{{"LmtPric":' + AMOUNT + "}},"
TRADED: Final = ',"TxData":{{"TxPric":{{"Pric":' + AMOUNT + '}},"TraddQty":{{"Unit":"{quantity}"}},"TxId":{exec_id}}}'
REFUSAL: Final = ',"reason":{reason},"failures":[{checks}]'
FAILURE_FIELDS: Final = ("reason", "limit", "observed", "unit")
FAILURE: Final = '{{"reason":{reason},"limit":{limit},"observed":{observed},"unit":{unit}}}'
TRANSACTION_LINE: Final = (
    '{{"TxId":{venue_exec_id},"ExctgPty":{firm},"Buyr":{buyer},"Sellr":{seller},"Tx":{{"TradDt":"{done_at}"'
    ',"TradgCpcty":"' + OWN_ACCOUNT + '","Qty":{{"Unit":"{quantity}"}},"Pric":' + AMOUNT + ',"NetAmt":{{"Amt":'
    '{{"Ccy":"EUR","value":"{value_eur}"}}}},"TradVn":{venue}}},"FinInstrm":{{{instrument}}}'
    ',"InvstmtDcsnPrsn":{{"Algo":{agent_id}}},"ExctgPrsn":{{"Algo":{agent_id}}},"SplmtryData":{{'
    + _EVIDENCE
    + ',"symbol":{symbol},"event":"{event}","cl_ord_id":{cl_ord_id},"venue_order_id":{venue_order_id}'
    ',"remaining_quantity":"{remaining}","approved_at":"{approved_at}","approval_log_index":{approval_log_index}'
    ',"findings":{findings}}}}}\n'
)
"""Lines and parts of lines; whoever makes one line fills one in, whoever makes thousands puts columns into it."""


def order_line(place: Place, order: OrderParts) -> str:
    """Return the record of a decided order: of one that went to a venue, or of one that was refused, with why."""
    return ORDER_LINE.format(
        **_place(place),
        **order._asdict(),
        event_time=place.event_time.text,
        received_date=order.received_at[:DATE_CHARS],
    )


def report_line(place: Place, report: ExecutionReport, known: KnownTrade) -> str:
    """Return the record of an order's execution, cancellation, expiry or refusal by the venue."""
    parts = _report_parts(place, report, known)
    return REPORT_LINE.format(**parts, traded=TRADED.format(**parts) if report.is_trade else "")


def transaction_line(place: Place, report: ExecutionReport, known: KnownTrade) -> str:
    """Return the record of a trade."""
    firm, venue = firm_of(known.operator_regulator_id), json_text(report.last_mkt)
    other = f'{{"MIC":{venue}}}' if report.counterparty is None else f'{{"Othr":{json_text(report.counterparty)}}}'
    buyer, seller = (firm, other) if report.side is Side.BUY else (other, firm)
    return TRANSACTION_LINE.format(
        **_report_parts(place, report, known),
        venue_exec_id=json_text(f"{report.last_mkt}:{report.exec_id}"),
        firm=firm,
        buyer=buyer,
        seller=seller,
        value_eur=decimal_text(value_eur_e5(report, int(known.eur_rate_e13)), MONEY_SCALE),
        instrument=instrument_of(report.symbol, dti_of(known.dti)),
        symbol=json_text(report.symbol),
        approved_at=date_time_text(int(known.approved_at_us)),
    )


def _place(place: Place) -> dict[str, object]:
    leaf = place.log_index
    return {"log": place.partition, "leaf": leaf, "seq": leaf + 1, "leaf_sha256": place.leaf_sha256.hex()}


def _report_parts(place: Place, report: ExecutionReport, known: KnownTrade) -> dict[str, object]:
    return {
        **_place(place),
        "market": market_of(report.symbol, dti_of(known.dti)),
        "done_at": date_time_text(report.transact_time_us),
        "venue": json_text(report.last_mkt),
        "cl_ord_id": json_text(report.cl_ord_id),
        "event": REPORT_CODES[report.exec_type],
        "submitter": submitter_of(report.agent_id, lei_of(known.operator_regulator_id)),
        "side": SIDE_CODES[report.side],
        "remaining": decimal_text(report.leaves_qty_e17, QTY_SCALE),
        "agent_id": json_text(report.agent_id),
        "policy_sha256": json_text(known.policy_sha256) if known.policy_sha256 else "null",
        "venue_order_id": json_text(report.order_id),
        "approval_log_index": known.approval_log_index,
        "findings": json_words(known.findings),
        "currency": json_text(known.currency),
        "price": decimal_text(report.last_px_e13, PRICE_SCALE),
        "quantity": decimal_text(report.last_qty_e17, QTY_SCALE),
        "exec_id": json_text(report.exec_id),
    }


def json_words(text: str) -> str:
    """Return words as a JSON array."""
    return f"[{','.join(map(json_text, text.split()))}]"


@lru_cache(4096)
def order_terms(
    kind: MsgType, ord_type: OrdType, validity: TimeInForce, side: Side, *, approved: bool
) -> tuple[str, str, str]:
    """Return the members of which there are a few dozen: validity and event, capacity and order type, side."""
    event = APPROVED_CODES[kind] if approved else REJECTED_CODE
    code = f'"VldtyPrd":{{"VldtyPrdCd":"{VALIDITY_CODES[validity]}"}},"EvtTp":{{"Cd":"{event}"}}'
    kinds = f'"OrdrTp":"{ord_type}","OrdrTpClssfctn":"{TYPE_CODES[ord_type]}"'
    terms = f'"TradgCpcty":"{OWN_ACCOUNT}","OrdrClssfctn":{{{kinds}}}'
    return code, terms, f'"BuySellInd":"{SIDE_CODES[side]}"'


def refusal(reason: str, failures: Iterable[Sequence[str]]) -> str:
    """Return the members that say why an order was refused: each failed check's reason, limit, observed value, unit."""
    checks = ",".join(
        FAILURE.format(**dict(zip(FAILURE_FIELDS, map(json_text, failure), strict=True))) for failure in failures
    )
    return REFUSAL.format(reason=json_text(reason), checks=checks)


def limit_price(currency: str, price_e13: int | None) -> str:
    """Return the member of a limit price, currency as JSON; empty where there is none."""
    if price_e13 is None:
        return ""
    return LIMIT.format(currency=currency, price=decimal_text(price_e13, PRICE_SCALE))


def moment(time_us: int) -> Moment:
    """Return a time with its text."""
    return Moment(time_us, date_time_text(time_us))


def firm_of(regulator_id: str) -> str:
    """Return an operator as a party of a trade."""
    lei = lei_of(regulator_id)
    return f'{{"LEI":"{lei}"}}' if lei else f'{{"Othr":{json_text(regulator_id)}}}'


@lru_cache(4096)
def lei_of(regulator_id: str) -> str:
    """Return an operator's LEI; empty where the identifier is none."""
    return regulator_id if is_well_formed(Identifier.LEI, regulator_id) else ""


@lru_cache(4096)
def dti_of(code: str) -> str:
    """Return an asset's DTI; empty where the code is none."""
    return code if is_well_formed(Identifier.DTI, code) else ""
