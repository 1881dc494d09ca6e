"""Counterparty default: the venue goes dark with orders in flight; bots retry; it comes back as a new process."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.core.orders import MsgType, Side
from streams.core.reasons import Reason
from streams.drills.common import count, shown
from streams.drills.ground import pause
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, bot
from streams.names import Topic
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes
    from streams.kafka.reading import Stored

_SYMBOL: Final = "ETH_USDT"
_WAITER, _RETRIER, _LATER = "waiter-01", "retrier-01", "taker-01"
_IN_FLIGHT: Final = 5
_RETRIES: Final = 3
_RESTING: Final = 5
_STALE_MS: Final = 1_500
_TRY_EVERY_S: Final = 0.3
_TRIES_MAX: Final = 60


def _play(ground: Ground, notes: Notes) -> None:
    waiter, retrier, later = (ground.trader(name) for name in (_WAITER, _RETRIER, _LATER))
    ground.calm([_WAITER, _RETRIER, _LATER], _SYMBOL, rounds=20, gap_s=0.015)
    price_e13 = ground.last(_SYMBOL)
    for place in range(_RESTING):
        notes.add("resting", waiter.rest(Side.BUY, _SYMBOL, 100, price_e13 * (998 - place) // 1000))
    ground.wait_for_answers()
    ground.disconnect()
    qty_e17 = ground.stage.markets[_SYMBOL].qty_for_eur(100, price_e13)
    for _ in range(_IN_FLIGHT):
        notes.add("in flight", retrier.order(Side.BUY, _SYMBOL, qty_e17))
    ground.wait_for_answers()
    for _ in range(_RETRIES):  # no answer from the venue, so the bot sends the same order again
        for cl_ord_id in notes.orders["in flight"]:
            retrier.order(Side.BUY, _SYMBOL, qty_e17, cl_ord_id=cl_ord_id)
    _try_until(ground, notes, "dark", Reason.REFERENCE_PRICE_UNAVAILABLE)
    ground.reconnect()
    _try_until(ground, notes, "back", Reason.NONE)
    later.worth(Side.SELL, _SYMBOL, 100, price_e13)


def _try_until(ground: Ground, notes: Notes, what: str, wanted: Reason) -> None:
    """Send new orders until one is answered as wanted; whether it was is the pass list's to say."""
    later, topics = ground.trader(_LATER), (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)

    def fits(record: Stored) -> bool:
        verdict = decode_verdict(record.value)
        return verdict.cl_ord_id in notes.orders[what] and verdict.reason is wanted

    for _ in range(_TRIES_MAX):
        notes.add(what, later.worth(Side.BUY, _SYMBOL, 100, ground.last(_SYMBOL)))
        ground.wait_for_answers()
        if any(ground.watch.happens(topic, fits, 0.0) for topic in topics):
            return
        pause(_TRY_EVERY_S)


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    return [
        _no_order_twice(evidence, notes),
        _dark(evidence, notes),
        _alerted(evidence),
        _accounted(evidence),
        _back(evidence, notes),
    ]


def _no_order_twice(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["in flight"])
    approvals = Counter(t.verdict.cl_ord_id for t in told if t.verdict.approved)
    refused = [t for t in told if Reason.DUPLICATE_ORDER in t.reasons]
    executed: Counter[str] = Counter()
    for report in evidence.reports:
        executed[report.cl_ord_id] += report.is_trade and report.ends_order
    identities = Counter((report.last_mkt, report.exec_id) for report in evidence.reports)
    once = all(approvals[cl_ord_id] == executed[cl_ord_id] == 1 for cl_ord_id in notes.orders["in flight"])
    passed = once and len(refused) == _IN_FLIGHT * _RETRIES and max(identities.values(), default=0) == 1
    text = (
        f"{_IN_FLIGHT} orders, each sent {1 + _RETRIES} times: approved {approvals.total()},"
        f" refused as repetitions {len(refused)}, executed {sum(executed[i] for i in notes.orders['in flight'])}"
    )
    return Check("no_order_twice", passed, text)


def _dark(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["dark"])
    last = told[-1].verdict
    text = f"new orders while the venue was dark: {shown(count(told))}; the last one: {last.reason}"
    return Check("no_order_without_fresh_price", Reason.REFERENCE_PRICE_UNAVAILABLE in told[-1].reasons, text)


def _alerted(evidence: Evidence) -> Check:
    kinds = Counter(alert.kind for alert in evidence.alerts)
    told = kinds[Reason.REFERENCE_PRICE_UNAVAILABLE]
    return Check("outage_alerted", told > 0, f"{told} alerts REFERENCE_PRICE_UNAVAILABLE")


def _accounted(evidence: Evidence) -> Check:
    """Check that every approved order has its end at the venue, or is open there, and none is both or neither."""
    approved = {
        (t.verdict.agent_id, t.verdict.cl_ord_id)
        for t in evidence.approved()
        if t.order.msg_type is MsgType.NEW_ORDER_SINGLE
    }
    ended = Counter((r.agent_id, r.cl_ord_id) for r in evidence.reports if r.ends_order)
    passed = max(ended.values(), default=0) == 1 and approved - ended.keys() == evidence.open_ids
    text = f"{len(approved)} approved orders: {len(ended)} ended, {len(evidence.open_ids)} open at the venue"
    return Check("open_orders_accounted_for", passed and ended.keys() <= approved, text)


def _back(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["back"])
    return Check(
        "trading_resumed", bool(told) and told[-1].verdict.approved, f"after it came back: {shown(count(told))}"
    )


PLAN: Final = DrillPlan(
    name=DrillName.COUNTERPARTY_DEFAULT,
    source="seed guide Art. 72; RTS 6 Art. 14(3), 16(5)",
    bots=(bot(_WAITER), bot(_RETRIER), bot(_LATER)),
    limits={
        _RETRIER: {"risk_controls": {"max_consecutive_failures": 1_000}},
        # Short, so that the drill need not last; the retrier keeps a minute: its orders must be approved in the dark.
        _LATER: {"risk_controls": {"reference_max_age_ms": _STALE_MS, "max_consecutive_failures": 1_000}},
    },
    instruments=(Instrument(_SYMBOL, "2400.01"),),
    play=_play,
    judge=_judge,
)
