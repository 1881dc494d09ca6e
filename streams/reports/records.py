"""The lines of a batch: what a leaf says of an order or a trade, in the elements of auth.113 and auth.016.

A line is a pure function of the leaf and the batch's facts, so whoever has both can check it. Lines are put together by
hand: there are a million of them, and of every line most is the same. `schemas/reports/` says what each must look like.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import orjson

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
from streams.reports.facts import json_text, market_of, submitter_of
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
    """What a line says of an order, each part as JSON already: most come again and again, so they are kept by others.

    ``submitter``, ``market`` and ``terms`` are members; ``limit`` is a member with its comma, or empty; so is
    ``refusal``, which only a refused order has.
    """

    agent_id: str
    submitter: str
    market: str
    venue: str
    cl_ord_id: str
    orig_cl_ord_id: str
    terms: tuple[str, str, str]
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


def order_line(place: Place, order: OrderParts) -> str:
    """Return the record of a decided order: of one that went to a venue, or of one that was refused, with why."""
    partition, index, event_time, leaf_sha256 = place
    bot, submitter, market, venue, own_id, replaced, terms, limit, qty, submitted, received, value, policy, no = order
    code, kind, side = terms
    return (
        f'{{"RptId":"{partition}-{index}","Ordr":{{"OrdrIdData":{{{market},"SeqNb":{index + 1}'
        f',"TmStmp":"{event_time.text}","TradVn":{venue},"OrdrId":{own_id},"DtOfRct":"{received[:10]}",{code}}}'
        f',"OrdrData":{{{submitter},{kind},{limit}"InstrData":{{{side},"InitlQty":{{"Unit":"{qty}"}}}}}}}}'
        f',"SplmtryData":{{"agent_id":{bot},"log":{partition},"leaf":{index},"leaf_sha256":"{leaf_sha256.hex()}"'
        f',"policy_sha256":{policy},"orig_cl_ord_id":{replaced},"submitted_at":"{submitted}","received_at":"{received}"'
        f',"order_value_eur":{value}{no}}}}}\n'
    )


def report_line(place: Place, report: ExecutionReport, known: KnownTrade) -> str:
    """Return the record of an order's execution, cancellation, expiry or refusal by the venue."""
    lei = _lei(known.operator_regulator_id)
    currency = json_text(known.currency)
    market = _market_of(report.symbol, _dti(known.dti))
    traded = ""
    if report.is_trade:
        amount = _amount(currency, decimal_text(report.last_px_e13, PRICE_SCALE))
        traded = (
            f',"TxData":{{"TxPric":{{"Pric":{amount}}},"TraddQty":{{"Unit":"{_qty_text(report.last_qty_e17)}"}}'
            f',"TxId":{id_text(report.exec_id)}}}'
        )
    return (
        f'{{"RptId":"{place.partition}-{place.log_index}","Ordr":{{"OrdrIdData":{{{market}'
        f',"SeqNb":{place.log_index + 1},"TmStmp":"{date_time_text(report.transact_time_us)}"'
        f',"TradVn":{json_text(report.last_mkt)},"OrdrId":{id_text(report.cl_ord_id)}'
        f',"EvtTp":{{"Cd":"{REPORT_CODES[report.exec_type]}"}}}},"OrdrData":{{{submitter_of(report.agent_id, lei)}'
        f',"TradgCpcty":"{OWN_ACCOUNT}","InstrData":{{"BuySellInd":"{SIDE_CODES[report.side]}"'
        f',"RmngQty":{{"Unit":"{_qty_text(report.leaves_qty_e17)}"}}}}{traded}}}}}'
        f',"SplmtryData":{{{_evidence(place, report.agent_id, known.policy_sha256)}'
        f',"venue_order_id":{id_text(report.order_id)},"approval_log_index":{known.approval_log_index}'
        f',"findings":{json_words(known.findings)}}}}}\n'
    )


def transaction_line(place: Place, report: ExecutionReport, known: KnownTrade) -> str:
    """Return the record of a trade."""
    lei = _lei(known.operator_regulator_id)
    value = decimal_text(value_eur_e5(report, int(known.eur_rate_e13)), MONEY_SCALE)
    venue = json_text(report.last_mkt)
    firm = f'{{"LEI":"{lei}"}}' if lei else f'{{"Othr":{json_text(known.operator_regulator_id)}}}'
    other = f'{{"MIC":{venue}}}' if report.counterparty is None else f'{{"Othr":{id_text(report.counterparty)}}}'
    buyer, seller = (firm, other) if report.side is Side.BUY else (other, firm)
    dti = _dti(known.dti)
    instrument = f'"Id":"{dti}"' if dti else f'"Othr":{json_text(report.symbol)}'
    algorithm = json_text(report.agent_id)
    price = decimal_text(report.last_px_e13, PRICE_SCALE)
    return (
        f'{{"TxId":{id_text(f"{report.last_mkt}:{report.exec_id}")},"ExctgPty":{firm},"Buyr":{buyer},"Sellr":{seller}'
        f',"Tx":{{"TradDt":"{date_time_text(report.transact_time_us)}","TradgCpcty":"{OWN_ACCOUNT}"'
        f',"Qty":{{"Unit":"{_qty_text(report.last_qty_e17)}"}},"Pric":{_amount(json_text(known.currency), price)}'
        f',"NetAmt":{{"Amt":{{"Ccy":"EUR","value":"{value}"}}}},"TradVn":{venue}}},"FinInstrm":{{{instrument}}}'
        f',"InvstmtDcsnPrsn":{{"Algo":{algorithm}}},"ExctgPrsn":{{"Algo":{algorithm}}}'
        f',"SplmtryData":{{{_evidence(place, report.agent_id, known.policy_sha256)}'
        f',"symbol":{json_text(report.symbol)},"event":"{REPORT_CODES[report.exec_type]}"'
        f',"cl_ord_id":{id_text(report.cl_ord_id)},"venue_order_id":{id_text(report.order_id)}'
        f',"remaining_quantity":"{_qty_text(report.leaves_qty_e17)}"'
        f',"approved_at":"{date_time_text(int(known.approved_at_us))}"'
        f',"approval_log_index":{known.approval_log_index},"findings":{json_words(known.findings)}}}}}\n'
    )


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


def _evidence(place: Place, bot: str, policy_sha256: str) -> str:
    policy = json_text(policy_sha256) if policy_sha256 else "null"
    return (
        f'"agent_id":{json_text(bot)},"log":{place.partition},"leaf":{place.log_index}'
        f',"leaf_sha256":"{place.leaf_sha256.hex()}","policy_sha256":{policy}'
    )


def refusal(reason: str, failures: Iterable[Sequence[str]]) -> str:
    """Return the members that say why an order was refused: each failed check's reason, limit, observed value, unit."""
    checks = ",".join(
        f'{{"reason":{json_text(code)},"limit":{id_text(limit)},"observed":{id_text(observed)},"unit":{json_text(unit)}}}'
        for code, limit, observed, unit in failures
    )
    return f',"reason":{json_text(reason)},"failures":[{checks}]'


def limit_price(currency: str, price_e13: int | None) -> str:
    """Return the member of a limit price, currency as JSON; empty where there is none."""
    if price_e13 is None:
        return ""
    return f'"OrdrPrics":{{"LmtPric":{_amount(currency, decimal_text(price_e13, PRICE_SCALE))}}},'


def moment(time_us: int) -> Moment:
    """Return a time with its text."""
    return Moment(time_us, date_time_text(time_us))


def _amount(currency: str, value: str) -> str:
    return f'{{"MntryVal":{{"Amt":{{"Ccy":{currency},"value":"{value}"}}}}}}'


_market_of = lru_cache(16384)(market_of)


@lru_cache(4096)
def _lei(regulator_id: str) -> str:
    return regulator_id if is_well_formed(Identifier.LEI, regulator_id) else ""


@lru_cache(4096)
def _dti(code: str) -> str:
    return code if is_well_formed(Identifier.DTI, code) else ""


@lru_cache(65536)
def _qty_text(value_e17: int) -> str:
    return decimal_text(value_e17, QTY_SCALE)


def id_text(text: str) -> str:
    """Return an identifier as JSON: hardly one comes twice, and most need no escape."""
    return f'"{text}"' if text.isalnum() and text.isascii() else orjson.dumps(text).decode()
