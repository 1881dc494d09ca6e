"""Orders that the gate has decided, thousands at once: the lines of `streams.reports.leaves`, and their columns."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.orders import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, MsgType, OrdType, Side, TimeInForce
from streams.reports.arrays import (
    Quoted,
    decimal_texts,
    fill,
    is_plain,
    numbers_of,
    or_null,
    quoted,
    tell,
    texts_of,
    time_column,
    time_texts,
)
from streams.reports.columns import typed_table
from streams.reports.fields import FieldFinder, Found, Values
from streams.reports.layout import ORDERS, RECORD_FILES
from streams.reports.records import DATE_CHARS, FAILURE, FAILURE_FIELDS, LIMIT, ORDER_LINE, REFUSAL, order_terms
from streams.reports.rows import EVENT_FIELDS, Lines, Places, Read, Rows
from streams.wire.avro import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.reports.facts import Facts
    from streams.reports.leaves import Selection

_ORDER: Final = "verdict.order."
_FAILURES: Final = "verdict.failures"
_TEXTS: Final = {
    **{name: f"{_ORDER}{name}" for name in ("agent_id", "cl_ord_id", "orig_cl_ord_id", "symbol", "ex_destination")},
    "reason": "verdict.reason",
}
_DECIMALS: Final = {
    "value": ("verdict.order_value", MONEY_SCALE),
    "quantity": (f"{_ORDER}order_qty", QTY_SCALE),
    "price": (f"{_ORDER}price", PRICE_SCALE),
}
_TIMES: Final = (f"{_ORDER}transact_time", "verdict.request_time")
_ENUMS: Final = {"msg_type": MsgType, "ord_type": OrdType, "time_in_force": TimeInForce, "side": Side}
_TERMS: Final = tuple(product(*_ENUMS.values()))
"""The enums' members together, in the order in which their places count."""
_FINDER: Final = FieldFinder(
    Schema.AUDIT_EVENT,
    (
        *EVENT_FIELDS,
        *_TEXTS.values(),
        *(path for path, _ in _DECIMALS.values()),
        *_TIMES,
        *(f"{_ORDER}{name}" for name in _ENUMS),
        *(f"{_FAILURES}.{name}" for name in FAILURE_FIELDS),
        "verdict.policy_sha256",
    ),
    opened={"verdict": (Schema.VERDICT, False), "verdict.order": (Schema.ORDER, False)},
)


class DecidedReader:
    """Reads decided orders with a batch's facts; `markets` learns where approved ones went."""

    def __init__(self, facts: Facts, selection: Selection, markets: set[str]) -> None:
        self._facts = facts
        self._selection = selection
        self._markets = markets

    def read(self, leaves: Values, places: Places, file: int) -> Read:
        """Return what leaves of one kind say: orders that were approved, or refused, by the file."""
        approved = RECORD_FILES[file] == ORDERS
        rows = Rows(_FINDER.find(leaves), places)
        rows.require(rows.found[f"{_ORDER}symbol"].present)
        rows.take_texts(_TEXTS)
        rows.take_decimals(_DECIMALS)
        rows.take_times(_TIMES)
        failures = rows.found.items[_FAILURES]
        for item in failures:
            for name in FAILURE_FIELDS:
                rows.require(is_plain(texts_of(item, f"{_FAILURES}.{name}")))
        if not approved:
            rows.require(failures[0].good if failures else False)
        chosen = rows.selected(self._selection)
        if approved:
            symbols = rows.texts["symbol"].filter(pa.array(chosen)).unique()
            self._markets.update(symbol.decode() for symbol in symbols.to_pylist())
        good, times_us = rows.good, rows.found["event_time"].numbers
        rows = rows.only(chosen & places.in_range)
        return Read(good, times_us, (self._lines(rows, file, approved=approved),) if len(rows.good) else ())

    def _lines(self, rows: Rows, file: int, *, approved: bool) -> Lines:
        parts, columns = rows.evidence()
        for made in (self._names(rows), _terms(rows, approved=approved), _numbers(rows), _moments(rows)):
            parts |= made[0]
            columns |= made[1]
        market = tell(rows.texts["symbol"], lambda name: self._facts.market(name.decode())[1])
        limit = {"currency": market.json, "price": parts["price"]}
        parts["limit"] = pc.fill_null(fill(LIMIT, limit), "")
        amount = "Ordr.OrdrData.OrdrPrics.LmtPric.MntryVal.Amt."
        currency = tell(rows.texts["symbol"], lambda name: f'"Ccy":{self._facts.market(name.decode())[1]}', at=amount)
        columns[f"{amount}Ccy"] = pc.if_else(parts["price"].is_valid(), currency.columns[f"{amount}Ccy"], None)
        parts["refusal"] = ""
        if not approved:
            parts["refusal"], refused = _refusal(rows)
            # Where an order was refused, a time is what its bot wrote.
            columns |= {**refused, "SplmtryData.submitted_at": parts["submitted_at"]}
        return Lines(file, rows.places.indexes, fill(ORDER_LINE, parts), typed_table(RECORD_FILES[file], columns))

    def _names(self, rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return whom and what an order names."""
        texts = {name: column.cast(pa.string()) for name, column in rows.texts.items()}
        submitter = tell(texts["agent_id"], self._facts.submitter, at="Ordr.OrdrData.")
        market = tell(texts["symbol"], lambda name: self._facts.market(name)[0], at="Ordr.OrdrIdData.")
        policy = texts_of(rows.found, "verdict.policy_sha256")
        policy = pc.if_else(policy.is_valid(), tell(policy, lambda digest: (digest or b"").hex()).json, None)
        log, leaf = str(rows.places.partition), pa.array(rows.places.indexes).cast(pa.string())
        parts = {
            "agent_id": Quoted(texts["agent_id"]),
            "submitter": submitter.json,
            "market": market.json,
            "venue": Quoted(texts["ex_destination"]),
            "cl_ord_id": Quoted(texts["cl_ord_id"]),
            "orig_cl_ord_id": or_null(quoted(texts["orig_cl_ord_id"])),
            "policy_sha256": or_null(quoted(policy)),
        }
        columns = {
            **submitter.columns,
            **market.columns,
            "RptId": pc.binary_join_element_wise(log, leaf, "-"),
            "Ordr.OrdrIdData.SeqNb": pa.array(rows.places.indexes + 1),
            "Ordr.OrdrIdData.TradVn": texts["ex_destination"],
            "Ordr.OrdrIdData.OrdrId": texts["cl_ord_id"],
            "SplmtryData.agent_id": texts["agent_id"],
            "SplmtryData.orig_cl_ord_id": texts["orig_cl_ord_id"],
            "SplmtryData.policy_sha256": policy,
        }
        return parts, columns


def _terms(rows: Rows, *, approved: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the members that enums say."""
    code = np.zeros(len(rows.good), np.int64)
    for name, members in _ENUMS.items():
        code = code * len(members) + rows.found[f"{_ORDER}{name}"].numbers
    parts, columns = {}, dict[str, Any]()
    places = {"validity": "Ordr.OrdrIdData.", "kind": "Ordr.OrdrData.", "side": "Ordr.OrdrData.InstrData."}
    for number, (name, at) in enumerate(places.items()):
        told = tell(
            pa.array(code), [order_terms(*terms, approved=approved)[number] for terms in _TERMS].__getitem__, at=at
        )
        parts[name] = told.json
        columns |= told.columns
    return parts, columns


def _numbers(rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return quantity, limit price and value."""
    quantity, price, value = (rows.decimals[name] for name in ("quantity", "price", "value"))
    parts = {
        "quantity": decimal_texts(quantity),
        "price": decimal_texts(price),
        "value_eur": or_null(quoted(decimal_texts(value))),
    }
    columns = {
        "Ordr.OrdrData.InstrData.InitlQty.Unit": quantity,
        "Ordr.OrdrData.OrdrPrics.LmtPric.MntryVal.Amt.value": price,
        "SplmtryData.order_value_eur": value,
    }
    return parts, columns


def _moments(rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return when an order was submitted, received and decided."""
    paths = {"submitted_at": _TIMES[0], "received_at": _TIMES[1], "event_time": "event_time"}
    times = {name: numbers_of(rows.found, path) for name, path in paths.items()}
    parts = {name: time_texts(column) for name, column in times.items()}
    parts["received_date"] = pc.binary_slice(parts["received_at"].cast(pa.binary()), 0, DATE_CHARS).cast(pa.string())
    columns = {
        "Ordr.OrdrIdData.TmStmp": time_column(times["event_time"]),
        "Ordr.OrdrIdData.DtOfRct": parts["received_date"],
        "SplmtryData.submitted_at": time_column(times["submitted_at"]),
        "SplmtryData.received_at": time_column(times["received_at"]),
    }
    return parts, columns


def _refusal(rows: Rows) -> tuple[Any, dict[str, Any]]:
    """Return why orders were refused: the members of the line, and the columns."""
    items = [_failure(item) for item in rows.found.items[_FAILURES]]
    checks = pc.binary_join_element_wise(
        *(fill(FAILURE, {name: Quoted(text) for name, text in item.items()}) for item in items),
        ",",
        null_handling="skip",
    )
    reason = rows.texts["reason"].cast(pa.string())
    line = fill(REFUSAL, {"reason": Quoted(reason), "checks": checks})
    return line, {"SplmtryData.reason": reason, "SplmtryData.failures": _list_of(items)}


def _failure(item: Found) -> Mapping[str, Any]:
    return {name: texts_of(item, f"{_FAILURES}.{name}").cast(pa.string()) for name in FAILURE_FIELDS}


def _list_of(items: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - Arrow's arrays
    """Return the items of each row as a list, from the first items of all rows, the second, and so on."""
    present = np.stack([np.asarray(item[FAILURE_FIELDS[0]].is_valid()) for item in items], axis=1)
    order = np.arange(present.size).reshape(present.shape[::-1]).T[present]
    columns = [pa.concat_arrays([item[name] for item in items]).take(pa.array(order)) for name in FAILURE_FIELDS]
    cuts = np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(cuts), pa.StructArray.from_arrays(columns, FAILURE_FIELDS))
