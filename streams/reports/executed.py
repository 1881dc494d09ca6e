"""What venues reported, thousands at once: the lines of `streams.reports.leaves`, and their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.executions import ExecType, traded_eur_e5
from streams.core.orders import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, Side
from streams.reports.arrays import (
    PRECISION,
    Quoted,
    decimal_column,
    decimal_texts,
    fill,
    integers,
    is_number,
    numbers_of,
    or_null,
    quoted,
    short_decimals,
    tell,
    time_column,
    time_texts,
)
from streams.reports.columns import typed_table
from streams.reports.facts import instrument_of, market_of, submitter_of
from streams.reports.fields import FieldFinder, Values
from streams.reports.layout import ORDERS, RECORD_FILES, TRANSACTIONS
from streams.reports.records import (
    REPORT_LINE,
    TRADED,
    TRANSACTION_LINE,
    KnownTrade,
    dti_of,
    firm_of,
    json_words,
    lei_of,
)
from streams.reports.rows import EVENT_FIELDS, Lines, Places, Read, Rows
from streams.wire.avro import Schema
from streams.wire.regulatory import OWN_ACCOUNT, REPORT_CODES, SIDE_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.reports.leaves import Selection

_REPORT: Final = "subject."
_KNOWN: Final = "details."
_TEXTS: Final = {
    name: f"{_REPORT}{name}"
    for name in ("agent_id", "exec_id", "order_id", "cl_ord_id", "symbol", "last_mkt", "counterparty")
} | {name: f"{_KNOWN}{name}" for name in KnownTrade._fields}
_NUMBERS: Final = ("eur_rate_e13", "approval_log_index", "approved_at_us")
_DECIMALS: Final = {
    "quantity": (f"{_REPORT}last_qty", QTY_SCALE),
    "price": (f"{_REPORT}last_px", PRICE_SCALE),
    "remaining": (f"{_REPORT}leaves_qty", QTY_SCALE),
}
_TIME: Final = f"{_REPORT}transact_time"
_KIND: Final = f"{_REPORT}exec_type"
_SIDE: Final = f"{_REPORT}side"
_KINDS: Final = tuple(ExecType)
_SIDES: Final = tuple(Side)
# With the 17 digits of a rate, the exact product of two such numbers has the 75 digits of the 76 that Arrow has.
_FACTOR_DIGITS: Final = 28
_TRADES: Final = tuple(kind in (ExecType.PARTIAL_FILL, ExecType.FILL) for kind in _KINDS)
_FINDER: Final = FieldFinder(
    Schema.AUDIT_EVENT,
    (*EVENT_FIELDS, *_TEXTS.values(), *(path for path, _ in _DECIMALS.values()), _TIME, _KIND, _SIDE),
    opened={"subject": (Schema.EXECUTION_REPORT, True)},
    maps={"details": KnownTrade._fields},
)
_ORDERS, _TRANSACTIONS = RECORD_FILES.index(ORDERS), RECORD_FILES.index(TRANSACTIONS)


class ExecutedReader:
    """Reads venues' reports; `venues` learns who reported."""

    def __init__(self, selection: Selection, venues: set[str]) -> None:
        self._selection = selection
        self._venues = venues

    def read(self, leaves: Values, places: Places) -> Read:
        """Return what leaves of trades say."""
        rows = Rows(_FINDER.find(leaves), places)
        rows.require(rows.found[_TIME].present)
        rows.take_texts(_TEXTS)
        rows.take_decimals(_DECIMALS)
        rows.take_times((_TIME,))
        for name in _NUMBERS:
            rows.require(is_number(rows.texts[name]))
        rows.require(np.asarray(pc.equal(pc.fill_null(rows.texts["repeated"], b""), b"false")))
        chosen = rows.selected(self._selection)
        markets = rows.texts["last_mkt"].filter(pa.array(chosen)).unique()
        self._venues.update(market.decode() for market in markets.to_pylist())
        good, times_us = rows.good, rows.found["event_time"].numbers
        rows = rows.only(chosen & places.in_range)
        return Read(good, times_us, tuple(_lines(rows)) if len(rows.good) else ())


def _lines(rows: Rows) -> list[Lines]:
    """Return the events of orders, and of those that are trades the transactions."""
    texts = {name: column.cast(pa.string()) for name, column in rows.texts.items()}
    parts, columns = rows.evidence()
    parts |= _parts(rows, texts)
    columns |= {
        "SplmtryData.agent_id": texts["agent_id"],
        "SplmtryData.policy_sha256": _some(texts["policy_sha256"]),
        "SplmtryData.venue_order_id": texts["order_id"],
        "SplmtryData.approval_log_index": texts["approval_log_index"].cast(pa.int64()),
        "SplmtryData.findings": _words(texts["findings"]),
    }
    is_trade = np.array(_TRADES)[rows.found[_KIND].numbers]
    lines = [_events(rows, texts, parts, columns, pa.array(is_trade))]
    if is_trade.any():
        some = pa.array(is_trade)
        kept = [{k: _only(v, some) for k, v in each.items()} for each in (parts, columns)]
        texts = {name: column.filter(some) for name, column in texts.items()}
        lines.append(_transactions(rows.only(is_trade), texts, *kept))
    return lines


def _parts(rows: Rows, texts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that events and transactions share."""
    names = {"venue": "last_mkt", "venue_order_id": "order_id"}
    names |= {name: name for name in ("cl_ord_id", "agent_id", "currency", "exec_id", "symbol")}
    return {
        **{part: Quoted(texts[name]) for part, name in names.items()},
        **{name: decimal_texts(column) for name, column in rows.decimals.items()},
        "done_at": time_texts(numbers_of(rows.found, _TIME)),
        "event": _coded(rows, _KIND, [REPORT_CODES[kind] for kind in _KINDS]),
        "side": _coded(rows, _SIDE, [SIDE_CODES[side] for side in _SIDES]),
        "policy_sha256": or_null(quoted(_some(texts["policy_sha256"]))),
        "approval_log_index": texts["approval_log_index"],
        "findings": tell(texts["findings"], json_words).json,
    }


def _events(rows: Rows, texts: dict[str, Any], parts: dict[str, Any], columns: dict[str, Any], trades: Any) -> Lines:  # noqa: ANN401 - arrays
    market = _pairs(texts, "symbol", "dti", lambda symbol, dti: market_of(symbol, dti_of(dti)), "Ordr.OrdrIdData.")
    submitter = _pairs(
        texts, "agent_id", "operator_regulator_id", lambda bot, firm: submitter_of(bot, lei_of(firm)), "Ordr.OrdrData."
    )
    traded = pc.if_else(trades, fill(TRADED, parts), "")
    lines = fill(REPORT_LINE, {**parts, "market": market.json, "submitter": submitter.json, "traded": traded})
    data, traded_at = "Ordr.OrdrData.", "Ordr.OrdrData.TxData."
    amount = f"{traded_at}TxPric.Pric.MntryVal.Amt."
    log, leaf = parts["log"], parts["leaf"]
    table = {
        **columns,
        **market.columns,
        **submitter.columns,
        "RptId": pc.binary_join_element_wise(log, leaf, "-"),
        "Ordr.OrdrIdData.SeqNb": pa.array(rows.places.indexes + 1),
        "Ordr.OrdrIdData.TmStmp": time_column(numbers_of(rows.found, _TIME)),
        "Ordr.OrdrIdData.TradVn": texts["last_mkt"],
        "Ordr.OrdrIdData.OrdrId": texts["cl_ord_id"],
        "Ordr.OrdrIdData.EvtTp.Cd": parts["event"],
        f"{data}TradgCpcty": pa.array([OWN_ACCOUNT] * len(lines)),
        f"{data}InstrData.BuySellInd": parts["side"],
        f"{data}InstrData.RmngQty.Unit": rows.decimals["remaining"],
        f"{amount}Ccy": pc.if_else(trades, texts["currency"], None),
        f"{amount}value": pc.if_else(trades, rows.decimals["price"], None),
        f"{traded_at}TraddQty.Unit": pc.if_else(trades, rows.decimals["quantity"], None),
        f"{traded_at}TxId": pc.if_else(trades, texts["exec_id"], None),
    }
    return Lines(_ORDERS, rows.places.indexes, lines, typed_table(ORDERS, table))


def _transactions(rows: Rows, texts: dict[str, Any], parts: dict[str, Any], columns: dict[str, Any]) -> Lines:
    firm = tell(texts["operator_regulator_id"], firm_of).json
    venue = fill('{{"MIC":{venue}}}', parts)
    other = pc.coalesce(fill('{{"Othr":{other}}}', {"other": Quoted(texts["counterparty"])}), venue)
    buys = pa.array(rows.found[_SIDE].numbers == _SIDES.index(Side.BUY))
    buyer, seller = pc.if_else(buys, firm, other), pc.if_else(buys, other, firm)
    instrument = _pairs(texts, "symbol", "dti", lambda symbol, dti: instrument_of(symbol, dti_of(dti)), "FinInstrm.")
    values = values_in_eur(rows.decimals["quantity"], rows.decimals["price"], texts["eur_rate_e13"].cast(pa.int64()))
    approved = texts["approved_at_us"].cast(pa.int64())
    trade_id = pc.binary_join_element_wise(texts["last_mkt"], texts["exec_id"], ":")
    whole = {
        **parts,
        "venue_exec_id": Quoted(trade_id),
        "firm": firm,
        "buyer": buyer,
        "seller": seller,
        "instrument": instrument.json,
        "value_eur": decimal_texts(values),
        "approved_at": time_texts(approved),
    }
    table = {
        **columns,
        **instrument.columns,
        "TxId": trade_id,
        "Tx.TradDt": time_column(numbers_of(rows.found, _TIME)),
        "Tx.TradgCpcty": pa.array([OWN_ACCOUNT] * len(trade_id)),
        "Tx.Qty.Unit": rows.decimals["quantity"],
        "Tx.Pric.MntryVal.Amt.Ccy": texts["currency"],
        "Tx.Pric.MntryVal.Amt.value": rows.decimals["price"],
        "Tx.NetAmt.Amt.Ccy": pa.array(["EUR"] * len(trade_id)),
        "Tx.NetAmt.Amt.value": values,
        "Tx.TradVn": texts["last_mkt"],
        "InvstmtDcsnPrsn.Algo": texts["agent_id"],
        "ExctgPrsn.Algo": texts["agent_id"],
        "SplmtryData.symbol": texts["symbol"],
        "SplmtryData.event": parts["event"],
        "SplmtryData.cl_ord_id": texts["cl_ord_id"],
        "SplmtryData.remaining_quantity": rows.decimals["remaining"],
        "SplmtryData.approved_at": time_column(approved),
    }
    for name, party in (("ExctgPty", firm), ("Buyr", buyer), ("Sellr", seller)):
        table |= tell(party, lambda said: said[1:-1], at=f"{name}.").columns
    return Lines(_TRANSACTIONS, rows.places.indexes, fill(TRANSACTION_LINE, whole), typed_table(TRANSACTIONS, table))


def values_in_eur(quantities: Any, prices: Any, rates: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return what trades are worth, as `traded_eur_e5` rounds it; rates are integers of at most 17 digits."""
    try:
        factors = [each.cast(pa.decimal256(_FACTOR_DIGITS, each.type.scale)) for each in (quantities, prices)]
    except pa.ArrowInvalid:
        each = map(traded_eur_e5, integers(quantities), integers(prices), rates.to_pylist())
        return decimal_column(each, MONEY_SCALE)
    exact = pc.multiply(pc.multiply(*factors), short_decimals(rates, PRICE_SCALE))
    return pc.round(exact, MONEY_SCALE, "half_to_even").cast(pa.decimal128(PRECISION, MONEY_SCALE))


def _pairs(texts: dict[str, Any], one: str, two: str, says: Callable[[str, str], str], at: str) -> Any:  # noqa: ANN401 - arrays
    keys = pc.binary_join_element_wise(texts[one], texts[two], "\n")
    return tell(keys, lambda pair: says(*pair.split("\n")), at=at)


def _only(part: Any, some: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    if isinstance(part, Quoted):
        return Quoted(part.texts.filter(some))
    return part if isinstance(part, str) else part.filter(some)


def _coded(rows: Rows, path: str, codes: Sequence[str]) -> Any:  # noqa: ANN401 - Arrow's arrays
    return pa.array(codes).take(pa.array(rows.found[path].numbers))


def _some(texts: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return texts, null where they are empty."""
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _words(texts: Any) -> Any:  # noqa: ANN401 - Arrow's arrays
    coded = texts.dictionary_encode()
    found = [text.split() for text in coded.dictionary.to_pylist()]
    return pa.array(found, pa.list_(pa.string())).take(coded.indices)
