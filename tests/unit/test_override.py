"""Overrides: one trade, two people, once, in time; and nothing else that refuses an order gives way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from streams.core.gate import decide
from streams.core.orders import MsgType, OrdType, Side, TradingState
from streams.core.override import LASTS_US, LIFTED, Override, Terms, lift
from streams.core.reasons import Reason
from streams.names import Topic
from streams.replay.course import Course
from streams.wire.avro import Schema, decode, encode
from streams.wire.commands import Action
from streams.wire.decisions import decode_verdict
from tests.gate_world import NOON, ORDER, eur, make_order, make_policy, make_situation, price, qty
from tests.unit.test_oracle import report_of, swap
from tests.unit.test_safety import BOT, CEO, CFO, LEAD, MARKET, Floor

if TYPE_CHECKING:
    from pathlib import Path

    from streams.core.gate import Decision
    from streams.core.policy import Policy

TIGHT = make_policy(
    ("scope.max_order_value_eur", "1000"),
    ("scope.max_daily_value_eur", "1000"),
    ("scope.allowed_markets", ["BTC_USDT"]),
    ("scope.max_order_qty", {"BTC_USDT": "0.01"}),
    ("risk_controls.price_collar_bps", 10),
)
FAR = make_order(price_e13=price("61000"))
TERMS = Terms("BTC_USDT", Side.BUY, ORDER.order_qty_e17, FAR.price_e13)
SIGNED = Override(TERMS, (CEO, LEAD), ("c-1", "c-2"), NOON + LASTS_US)
# Each of these stands in the way beside what may be lifted.
OTHERS: dict[str, dict[str, Any]] = {
    "a kill": {"kill": "ALL"},
    "a score": {"score": 0.8},
    "no score": {"score": None},
    "a market's breaker": {"market_state": TradingState.HALTED},
    "somebody else": {"authenticated": False},
    "the certificate": {"not_after_us": NOON - 1},
    "the same ClOrdID": {"seen": True},
    "no price": {"reference_live": False},
    "an old order": {"now_us": NOON + 60_000_000},
}
OUT_OF_SCOPE: dict[str, Policy] = {
    "market": make_policy(("scope.allowed_markets", ["ETH_USDT"]), ("scope.max_order_qty", {"ETH_USDT": "1"})),
    "region": make_policy(("scope.max_order_value_eur", "1000"), ("scope.allowed_regions", ["eu-west-2"])),
    "venue": make_policy(("scope.max_order_value_eur", "1000"), ("scope.allowed_venues", ["XXXX"])),
}


def refused(**changes: Any) -> Decision:
    return decide(FAR, make_situation(**{"policy": TIGHT} | changes))


def test_every_limit_on_one_trade_is_lifted_and_named() -> None:
    decision = refused()
    assert {failure.reason for failure in decision.failures} == LIFTED
    assert lift(FAR, decision, SIGNED, NOON) == replace(decision, approved=True, reason=Reason.NONE)


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_nothing_else_is_lifted(changes: dict[str, Any]) -> None:
    decision = refused(**changes)
    assert LIFTED.isdisjoint({decision.reason}) or len(decision.failures) > 1
    assert lift(FAR, decision, SIGNED, NOON) == decision


@pytest.mark.parametrize("policy", OUT_OF_SCOPE.values(), ids=OUT_OF_SCOPE)
def test_the_policys_scope_is_not_lifted(policy: Policy) -> None:
    decision = refused(policy=policy)
    assert not lift(FAR, decision, SIGNED, NOON).approved


@pytest.mark.parametrize(
    "changes",
    [
        {"side": Side.SELL},
        {"order_qty_e17": ORDER.order_qty_e17 + qty("0.00001")},
        {"order_qty_e17": ORDER.order_qty_e17 - qty("0.00001")},
        {"price_e13": price("61000.01")},
        {"ord_type": OrdType.MARKET, "price_e13": None},
        {"msg_type": MsgType.ORDER_CANCEL_REPLACE_REQUEST, "orig_cl_ord_id": "a-0"},
    ],
)
def test_another_trade_is_not_lifted(changes: dict[str, Any]) -> None:
    order = replace(FAR, **changes)
    decision = decide(order, make_situation(policy=TIGHT))
    assert not decision.approved
    assert lift(order, decision, SIGNED, NOON) == decision


def test_one_signature_or_none_in_time_lifts_nothing() -> None:
    decision = refused()
    assert not lift(FAR, decision, replace(SIGNED, signers=(CEO,)), NOON).approved
    assert lift(FAR, decision, SIGNED, SIGNED.until_us).approved
    assert not lift(FAR, decision, SIGNED, SIGNED.until_us + 1).approved


@pytest.mark.parametrize("terms", [TERMS, Terms("BTC_USDT", Side.SELL, 10**37, None)])
def test_a_row_holds_an_override(terms: Terms) -> None:
    override = replace(SIGNED, terms=terms)
    assert Override.from_row(override.to_row()) == override


# In a lane.


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path)


def big(floor: Floor, eur_worth: int = 60_000) -> dict[str, Any]:
    """Return an order above the limit of 50,000 EUR."""
    market = floor.markets[MARKET]
    return {"cl_ord_id": "exit-1", "order_qty_e17": market.qty_for_eur(eur_worth, market.first_price_e13)}


def sign(floor: Floor, person: str, **changes: Any) -> Any:
    terms = {"symbol": MARKET, "side": Side.BUY, "order_qty_e17": big(floor)["order_qty_e17"], "price_e13": None}
    return floor.give(Action.OVERRIDE, person, cl_ord_id="exit-1", terms=Terms(**terms | changes))


def test_two_people_let_one_order_pass_once(floor: Floor) -> None:
    assert floor.order(side=Side.BUY, **big(floor) | {"cl_ord_id": "blocked"}) is Reason.MAX_ORDER_VALUE_EXCEEDED
    assert "waits for a second" in sign(floor, CEO).details["effect"]
    floor.restart()
    assert "in force once" in sign(floor, LEAD).details["effect"]
    floor.restart()
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.NONE
    (event,) = (e for e in floor.events("ORDER_APPROVED") if e.details)
    assert event.approved_by == f"{CEO} {LEAD}"
    assert len(event.details["override"].split()) == 2
    approved = [decode_verdict(r.value or b"") for r in floor.records if r.topic == Topic.ORDERS_APPROVED][-1]
    assert [failure.reason for failure in approved.failures] == [Reason.MAX_ORDER_VALUE_EXCEEDED]
    assert floor.alerts().count("OVERRIDE_USED") == 1
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.MAX_ORDER_VALUE_EXCEEDED
    floor.now_us += 700 * 1_000_000
    floor.decide()
    assert not floor.events("DEADLINE_PASSED")  # there is nothing left to end
    floor.agrees()


def test_one_person_alone_lets_nothing_pass(floor: Floor) -> None:
    sign(floor, CEO)
    assert sign(floor, CEO).details["problem"] == f"issued_by: somebody else than {CEO} must sign too"
    assert sign(floor, CFO).details["problem"].startswith("action: role OVERRIDE required")
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.MAX_ORDER_VALUE_EXCEEDED
    floor.agrees()


def test_the_second_person_signs_what_the_first_did(floor: Floor) -> None:
    sign(floor, CEO)
    problem = sign(floor, LEAD, side=Side.SELL).details["problem"]
    assert problem.startswith("terms: BUY ")
    assert problem.endswith(f"{MARKET} at market")
    floor.agrees()


def test_an_override_that_is_not_used_is_over_in_ten_minutes(floor: Floor) -> None:
    sign(floor, CEO)
    sign(floor, LEAD)
    assert "in force already" in sign(floor, CEO).details["problem"]
    floor.restart()
    floor.now_us += 600 * 1_000_000
    floor.decide()
    floor.decide(1_000_000)  # found late, so that what came in time is read first
    (passed,) = floor.events("DEADLINE_PASSED")
    assert (passed.details["deadline"], passed.details["cl_ord_id"]) == ("OVERRIDE", "exit-1")
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.MAX_ORDER_VALUE_EXCEEDED
    assert "OVERRIDE_OVER" in floor.alerts()
    floor.agrees()


def test_a_killed_bot_stays_killed(floor: Floor) -> None:
    sign(floor, CEO)
    sign(floor, LEAD)
    floor.give(Action.KILL, CFO)
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.KILL_SWITCH_ENGAGED
    floor.agrees()


def test_the_oracle_finds_an_order_that_passed_without_a_second_signature(floor: Floor) -> None:
    sign(floor, CEO)
    second = len(floor.records)
    sign(floor, LEAD)
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.NONE
    floor.agrees()
    leaf = next(r for r in floor.records[second:] if r.topic == Topic.AUDIT_EVENTS)
    event = decode(Schema.AUDIT_EVENT, leaf.value or b"")
    event["subject"] = floor.events("COMMAND_APPLIED")[0].subject
    report = report_of(swap(floor.records, leaf, replace(leaf, value=encode(Schema.AUDIT_EVENT, event))))
    assert {"8 two people", "verdict", "override"} <= report.counts.keys(), str(report)


def test_a_replay_under_the_same_policy_changes_nothing(floor: Floor) -> None:
    sign(floor, CEO)
    sign(floor, LEAD)
    assert floor.order(side=Side.BUY, **big(floor)) is Reason.NONE
    assert floor.order(side=Side.BUY) is Reason.NONE
    registration = floor.lanes[floor.partition(BOT)].registry.get(BOT)
    assert registration is not None
    assert registration.registration is not None
    course = Course(registration.registration.policy, every=False)
    retried = [course.take(r.value or b"") for r in floor.records if r.topic == Topic.AUDIT_EVENTS]
    assert [one.changed for one in retried if one is not None] == [False, False]


def test_the_day_counts_what_passed(floor: Floor) -> None:
    sign(floor, CEO)
    sign(floor, LEAD)
    floor.order(side=Side.BUY, **big(floor))
    (told,) = floor.values(Topic.ORDERS_APPROVED, Schema.VERDICT)
    assert int.from_bytes(told["daily_value"], "big") == int.from_bytes(told["order_value"], "big") > eur("50000")
