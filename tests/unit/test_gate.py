"""Every check of topology/gate.md: in order it passes, at the limit it passes, one unit beyond it fails."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from streams.core.gate import CHECKS, Applies, Situation, apply, decide
from streams.core.orders import Failure, MsgType, Order, OrdType, ReferencePrice, Side, TradingState
from streams.core.reasons import FAILURES, RULES, Reason
from streams.core.state import BotState
from streams.core.windows import WindowCounter
from tests.gate_world import (
    AGENT,
    NOON,
    ORDER,
    POLICY,
    REFERENCE,
    S_US,
    eur,
    make_cancel,
    make_order,
    make_policy,
    make_situation,
    price,
    qty,
    us,
)

GATE_PAGE = Path(__file__).parents[2] / "topology" / "gate.md"
REPLACE = MsgType.ORDER_CANCEL_REPLACE_REQUEST
WHOLE_WEEK: tuple[tuple[str, Any], ...] = (
    ("scope.trading_hours.start", "00:00"),
    ("scope.trading_hours.end", "00:00"),
    ("scope.trading_hours.exclude_weekends", False),
)
TESTED_IN_JUNE = make_policy(*WHOLE_WEEK)
ALWAYS_OPEN = make_policy(*WHOLE_WEEK, ("testing.last_passed.scenario.day", "2027-05-01"))


@dataclass(frozen=True)
class Case:
    """One check: a message and situation on the edge that pass it, and those one unit beyond that do not."""

    reason: Reason
    passes: tuple[Order, Situation]
    fails: tuple[Order, Situation]
    shown: tuple[str, ...]  # limit, observed, unit
    also: tuple[Reason, ...] = ()


def order_case(
    reason: Reason, passes: dict[str, Any], fails: dict[str, Any], *shown: str, also: tuple[Reason, ...] = ()
) -> Case:
    good, bad = make_order(**passes), make_order(**fails)
    return Case(reason, (good, make_situation()), (bad, make_situation()), shown, also)


def state_case(reason: Reason, passes: dict[str, Any], fails: dict[str, Any], *shown: str) -> Case:
    return Case(reason, (ORDER, make_situation(**passes)), (ORDER, make_situation(**fails)), shown)


def at(received_us: int, **changes: Any) -> dict[str, Any]:
    reference = replace(REFERENCE, price_time_us=received_us)
    return {"now_us": received_us, "received_us": received_us, "reference": reference, **changes}


def timed(reason: Reason, passes: dict[str, Any], fails: dict[str, Any], *shown: str) -> Case:
    good, bad = make_situation(**passes), make_situation(**fails)
    return Case(
        reason,
        (make_order(transact_time_us=good.received_us), good),
        (make_order(transact_time_us=bad.received_us), bad),
        shown,
    )


def busy_bot(messages: int) -> BotState:
    bot = BotState(received_us=NOON)
    for _ in range(messages):
        bot.rate.add(NOON)
    return bot


def executing_bot(approved: int) -> BotState:
    return BotState(executions=WindowCounter(NOON, approved))


def broken_reference(field: str, value: Any) -> ReferencePrice:
    return replace(REFERENCE, **{field: value})


REVOKED = Failure(Reason.CERTIFICATE_REVOKED, "not revoked", "2026-06-01T00:00:00.000000Z", "TIME")
FORGED = Failure(Reason.SIGNATURE_INVALID, "valid", "missing", "TEXT")
UNTRUSTED = Failure(Reason.CERTIFICATE_INVALID, "trusted", "no path to a root", "TEXT")
MAY, JAN, NEXT_MAY = us("2026-05-01T00:00:00+00:00"), us("2026-01-01T00:00:00+00:00"), us("2027-05-01T00:00:00+00:00")
WHOLE_DAY = {"policy": ALWAYS_OPEN}

CASES = [
    state_case(Reason.ALGO_NOT_AUTHORISED, {}, {"policy": None}, "registered", AGENT, "TEXT"),
    state_case(Reason.ALGO_NOT_AUTHORISED, {}, {"bot": None}, "registered", AGENT, "TEXT"),
    state_case(
        Reason.SIGNATURE_INVALID, {}, {"identity": (FORGED,), "authenticated": False}, "valid", "missing", "TEXT"
    ),
    state_case(Reason.SIGNATURE_INVALID, {}, {"authenticated": False}, "valid", "invalid", "TEXT"),
    state_case(Reason.CERTIFICATE_INVALID, {}, {"identity": (UNTRUSTED,)}, "trusted", "no path to a root", "TEXT"),
    state_case(
        Reason.CERTIFICATE_EXPIRED,
        {"not_after_us": NOON},
        {"not_after_us": NOON - 1},
        "2026-06-03T11:59:59.999999Z",
        "2026-06-03T12:00:00.000000Z",
        "TIME",
    ),
    state_case(
        Reason.CERTIFICATE_EXPIRED,
        {"not_before_us": NOON},
        {"not_before_us": NOON + 1},
        "2026-06-03T12:00:00.000001Z",
        "2026-06-03T12:00:00.000000Z",
        "TIME",
    ),
    state_case(
        Reason.CERTIFICATE_REVOKED,
        {},
        {"bot": BotState(revoked_at_us=MAY)},
        "not revoked",
        "2026-05-01T00:00:00.000000Z",
        "TIME",
    ),
    state_case(
        Reason.CERTIFICATE_REVOKED,
        {},
        {"identity": (REVOKED,)},
        "not revoked",
        "2026-06-01T00:00:00.000000Z",
        "TIME",
    ),
    timed(
        Reason.POLICY_NOT_IN_FORCE,
        at(MAY, **WHOLE_DAY),
        at(MAY - 1, **WHOLE_DAY),
        "2026-05-01T00:00:00.000000Z",
        "2026-04-30T23:59:59.999999Z",
        "TIME",
    ),
    timed(
        Reason.POLICY_NOT_IN_FORCE,
        at(NEXT_MAY - 1, not_after_us=NEXT_MAY, **WHOLE_DAY),
        at(NEXT_MAY, not_after_us=NEXT_MAY, **WHOLE_DAY),
        "2027-05-01T00:00:00.000000Z",
        "2027-05-01T00:00:00.000000Z",
        "TIME",
    ),
    timed(
        Reason.TESTING_OVERDUE,
        at(us("2026-09-01T23:59:59.999999+00:00"), policy=TESTED_IN_JUNE),
        at(us("2026-09-02T00:00:00+00:00"), policy=TESTED_IN_JUNE),
        "scenario by 2026-09-01",
        "passed 2026-06-01",
        "TEXT",
    ),
    state_case(
        Reason.CERTIFICATE_SUSPENDED,
        {},
        {"bot": BotState(suspended_at_us=us("2026-06-01T00:00:00+00:00"))},
        "not suspended",
        "2026-06-01T00:00:00.000000Z",
        "TIME",
    ),
    state_case(Reason.KILL_SWITCH_ENGAGED, {}, {"kill": "OPERATOR acme"}, "none", "OPERATOR acme", "STATE"),
    state_case(
        Reason.KILL_SWITCH_ENGAGED,
        {},
        {"bot": BotState(kill_command="c-1", stopped_by="ceo@acme")},
        "none",
        f"BOT {AGENT}",
        "STATE",
    ),
    state_case(
        Reason.TRADING_HALTED,
        {"bot": BotState(trading_state=TradingState.REDUCING, breaker_open_until_us=NOON)},
        {"bot": BotState(trading_state=TradingState.HALTED)},
        "ACTIVE",
        "HALTED",
        "STATE",
    ),
    state_case(
        Reason.CIRCUIT_BREAKER_ACTIVE,
        {"score": 0.75},
        {"score": math.nextafter(0.75, 1)},
        "0.75",
        "0.7500000000000001",
        "SCORE",
    ),
    state_case(Reason.CIRCUIT_BREAKER_ACTIVE, {"score": 0.0}, {"score": math.nan}, "0.75", "nan", "SCORE"),
    state_case(Reason.CIRCUIT_BREAKER_ACTIVE, {"score": 0.0}, {"score": None}, "0.75", "missing", "SCORE"),
    state_case(
        Reason.CIRCUIT_BREAKER_ACTIVE,
        {"bot": BotState(breaker_open_until_us=NOON, breaker_score=0.8)},
        {"bot": BotState(breaker_open_until_us=NOON + 1, breaker_score=0.8)},
        "0.75",
        "0.8",
        "SCORE",
    ),
    state_case(
        Reason.CIRCUIT_BREAKER_ACTIVE,
        {},
        {"bot": BotState(breaker_open_until_us=NOON + 1, trading_state=TradingState.REDUCING)},
        "ACTIVE",
        "REDUCING",
        "STATE",
    ),
    state_case(Reason.CIRCUIT_BREAKER_ACTIVE, {}, {"market_state": TradingState.HALTED}, "ACTIVE", "HALTED", "STATE"),
    state_case(
        Reason.CIRCUIT_BREAKER_ACTIVE, {}, {"market_state": TradingState.REDUCING}, "ACTIVE", "REDUCING", "STATE"
    ),
    state_case(
        Reason.INSTRUMENT_RESTRICTED,
        {"policy": make_policy(("scope.restricted_markets", ["ETH_USDT"]))},
        {"policy": make_policy(("scope.restricted_markets", ["BTC_USDT"]))},
        "not restricted",
        "BTC_USDT",
        "TEXT",
    ),
    order_case(
        Reason.MARKET_NOT_ALLOWED,
        {},
        {"symbol": "DOGE_USDT"},
        "BTC_USDT, ETH_USDT",
        "DOGE_USDT",
        "TEXT",
        also=(Reason.MAX_ORDER_VOLUME_EXCEEDED, Reason.REFERENCE_PRICE_UNAVAILABLE),
    ),
    order_case(Reason.REGION_NOT_ALLOWED, {}, {"region": "us-east-1"}, "eu-west-1", "us-east-1", "TEXT"),
    order_case(Reason.VENUE_NOT_ALLOWED, {}, {"ex_destination": "XXXX"}, "XOFF", "XXXX", "TEXT"),
    timed(
        Reason.OUTSIDE_TRADING_HOURS,
        at(us("2026-06-03T08:00:00+00:00")),
        at(us("2026-06-03T07:59:59.999999+00:00")),
        "08:00-17:00 UTC, no weekends, no holidays",
        "2026-06-03T07:59:59.999999+00:00 Wed",
        "TIME",
    ),
    timed(
        Reason.OUTSIDE_TRADING_HOURS,
        at(us("2026-06-03T16:59:59.999999+00:00")),
        at(us("2026-06-03T17:00:00+00:00")),
        "08:00-17:00 UTC, no weekends, no holidays",
        "2026-06-03T17:00:00.000000+00:00 Wed",
        "TIME",
    ),
    order_case(
        Reason.INVALID_FIELD,
        {"cl_ord_id": "Az09._-" + "x" * 43},
        {"cl_ord_id": "Az09._-" + "x" * 44},
        "1 to 50 of A-Z a-z 0-9 . _ -",
        "cl_ord_id=Az09._-" + "x" * 44,
        "TEXT",
    ),
    order_case(
        Reason.INVALID_FIELD,
        {},
        {"cl_ord_id": "a\n"},
        "1 to 50 of A-Z a-z 0-9 . _ -",
        "cl_ord_id=a\\n",
        "TEXT",
    ),
    order_case(Reason.INVALID_FIELD, {}, {"cl_ord_id": ""}, "1 to 50 of A-Z a-z 0-9 . _ -", "cl_ord_id=", "TEXT"),
    order_case(
        Reason.INVALID_FIELD,
        {},
        {"orig_cl_ord_id": "a-0"},
        "none for a new order",
        "orig_cl_ord_id=a-0",
        "TEXT",
    ),
    order_case(
        Reason.INVALID_FIELD,
        {"msg_type": REPLACE, "orig_cl_ord_id": "a-0"},
        {"msg_type": REPLACE, "orig_cl_ord_id": None},
        "1 to 50 of A-Z a-z 0-9 . _ -",
        "orig_cl_ord_id=none",
        "TEXT",
    ),
    order_case(
        Reason.INVALID_FIELD,
        {"order_qty_e17": qty("0.00001")},
        {"order_qty_e17": 0},
        "above 0",
        "order_qty=0",
        "TEXT",
    ),
    order_case(Reason.INVALID_FIELD, {}, {"order_qty_e17": -1}, "above 0", "order_qty=-0.00000000000000001", "TEXT"),
    order_case(Reason.INVALID_FIELD, {}, {"price_e13": None}, "a price for LIMIT", "price=none", "TEXT"),
    order_case(
        Reason.INVALID_FIELD,
        {"ord_type": OrdType.MARKET, "price_e13": None},
        {"ord_type": OrdType.MARKET},
        "none for MARKET",
        "price=60000",
        "TEXT",
    ),
    order_case(
        Reason.INVALID_FIELD, {}, {"price_e13": 0}, "above 0", "price=0", "TEXT", also=(Reason.PRICE_COLLAR_EXCEEDED,)
    ),
    order_case(
        Reason.INVALID_FIELD,
        {},
        {"price_e13": -5},
        "above 0",
        "price=-0.0000000000005",
        "TEXT",
        also=(Reason.PRICE_COLLAR_EXCEEDED,),
    ),
    order_case(
        Reason.INVALID_QUANTITY,
        {"order_qty_e17": qty("0.10001")},
        {"order_qty_e17": qty("0.10001") + 1},
        "0.00001",
        "0.10001000000000001",
        "UNIT",
    ),
    order_case(
        Reason.INVALID_PRICE_INCREMENT,
        {"price_e13": price("60000.01")},
        {"price_e13": price("60000.01") + 1},
        "0.01",
        "60000.0100000000001",
        "QUOTE",
    ),
    state_case(
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        {"policy": make_policy(("scope.max_order_value_eur", "5400"))},
        {"policy": make_policy(("scope.max_order_value_eur", "5399.99999"))},
        "5399.99999",
        "5400",
        "EUR",
    ),
    state_case(
        Reason.MAX_ORDER_VOLUME_EXCEEDED,
        {"policy": make_policy(("scope.max_order_qty", {"BTC_USDT": "0.1", "ETH_USDT": "1"}))},
        {"policy": make_policy(("scope.max_order_qty", {"BTC_USDT": "0.09999999999999999", "ETH_USDT": "1"}))},
        "0.09999999999999999",
        "0.1",
        "UNIT",
    ),
    order_case(
        Reason.PRICE_COLLAR_EXCEEDED,
        {"price_e13": price("63000")},
        {"price_e13": price("63000.01")},
        "500",
        "500.0017",
        "BPS",
    ),
    order_case(
        Reason.PRICE_COLLAR_EXCEEDED,
        {"price_e13": price("57000")},
        {"price_e13": price("56999.99")},
        "500",
        "500.0017",
        "BPS",
    ),
    state_case(
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
        {"daily_value_e5": eur("994600")},
        {"daily_value_e5": eur("994600.00001")},
        "1000000",
        "1000000.00001",
        "EUR",
    ),
    state_case(
        Reason.MESSAGE_RATE_EXCEEDED,
        {"bot": busy_bot(49)},
        {"bot": busy_bot(50)},
        "50",
        "51",
        "MSG_PER_S",
    ),
    state_case(
        Reason.EXECUTION_THROTTLE_TRIPPED,
        {"bot": executing_bot(999)},
        {"bot": executing_bot(1000)},
        "1000",
        "1001",
        "ORDERS",
    ),
    state_case(
        Reason.EXECUTION_THROTTLE_TRIPPED,
        {},
        {"bot": BotState(throttle_tripped_at=1001)},
        "1000",
        "1001",
        "ORDERS",
    ),
    state_case(
        Reason.CONSECUTIVE_FAILURES_EXCEEDED,
        {"bot": BotState(consecutive_failures=2)},
        {"bot": BotState(consecutive_failures=3)},
        "3",
        "3",
        "ORDERS",
    ),
    state_case(Reason.DUPLICATE_ORDER, {}, {"seen": True}, "600 s", "a-1", "TEXT"),
    order_case(
        Reason.STALE_ORDER,
        {"transact_time_us": NOON - 10 * S_US},
        {"transact_time_us": NOON - 10 * S_US - 1},
        "10000",
        "10000.001",
        "MS",
    ),
    order_case(
        Reason.STALE_ORDER,
        {"transact_time_us": NOON + 10 * S_US},
        {"transact_time_us": NOON + 10 * S_US + 1},
        "10000",
        "-10000.001",
        "MS",
    ),
    Case(
        Reason.STALE_ORDER,
        (make_order(expire_time_us=NOON + S_US), make_situation(now_us=NOON + S_US)),
        (make_order(expire_time_us=NOON + S_US), make_situation(now_us=NOON + S_US + 1)),
        ("2026-06-03T12:00:01.000000Z", "2026-06-03T12:00:01.000001Z", "TIME"),
    ),
    Case(
        Reason.STALE_ORDER,
        (ORDER, make_situation(now_us=NOON + 10 * S_US)),
        (
            ORDER,
            make_situation(now_us=NOON + 10 * S_US + 1, reference=replace(REFERENCE, price_time_us=NOON + 9 * S_US)),
        ),
        ("10000", "10000.001", "MS"),
    ),
    state_case(
        Reason.REFERENCE_PRICE_UNAVAILABLE,
        {"reference": replace(REFERENCE, price_time_us=NOON - 10 * S_US)},
        {"reference": replace(REFERENCE, price_time_us=NOON - 10 * S_US - 1)},
        "10000",
        "10000.001",
        "MS",
    ),
    state_case(
        Reason.REFERENCE_PRICE_UNAVAILABLE,
        {"reference": replace(REFERENCE, price_time_us=NOON + 10 * S_US)},
        {"reference": replace(REFERENCE, price_time_us=NOON + 10 * S_US + 1)},
        "10000",
        "-10000.001",
        "MS",
    ),
    state_case(Reason.REFERENCE_PRICE_UNAVAILABLE, {}, {"reference": None}, "10000", "missing", "MS"),
    state_case(
        Reason.REFERENCE_PRICE_UNAVAILABLE,
        {},
        {"reference": replace(REFERENCE, symbol="ETH_USDT")},
        "10000",
        "missing",
        "MS",
    ),
    state_case(
        Reason.REFERENCE_PRICE_UNAVAILABLE, {}, {"reference_live": False}, "10000", "reader not caught up", "MS"
    ),
    *(
        state_case(
            Reason.REFERENCE_PRICE_UNAVAILABLE,
            {},
            {"reference": broken_reference(field, bad)},
            "10000",
            "not above zero",
            "MS",
        )
        for field in ("price_e13", "eur_rate_e13", "tick_size_e13", "lot_size_e17")
        for bad in (0, -1)
    ),
]
IDS = [f"{case.reason}-{case.shown[1][:24]}" for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_value_at_its_limit_passes(case: Case) -> None:
    decision = decide(*case.passes)
    assert decision.approved, decision.failures
    assert (decision.reason, decision.failures) == (Reason.NONE, ())


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_one_unit_beyond_fails_for_that_reason(case: Case) -> None:
    decision = decide(*case.fails)
    assert not decision.approved
    assert decision.failures[0] == Failure(case.reason, *case.shown)
    assert tuple(failure.reason for failure in decision.failures[1:]) == case.also
    assert decision.reason is case.reason


def test_every_check_has_a_case() -> None:
    assert {case.reason for case in CASES} == {reason for reason, _, _ in CHECKS}


def test_the_checks_are_the_reasons_in_their_order() -> None:
    assert [reason for reason, _, _ in CHECKS] == [reason for reason in Reason if reason is not Reason.NONE]
    assert set(RULES) == {reason for reason, _, _ in CHECKS}


def test_the_checks_are_the_rows_of_the_page() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (all|entering) \|", GATE_PAGE.read_text(), re.MULTILINE)
    printed = [(str(place), reason.value, applies.value) for place, (reason, applies, _) in enumerate(CHECKS, 1)]
    assert printed == rows


@pytest.mark.parametrize("reason", [reason for reason, applies, _ in CHECKS if applies is Applies.ENTERING])
def test_a_cancellation_is_not_held_up_by_a_check_for_entering_messages(reason: Reason) -> None:
    for case in CASES:
        if case.reason is reason:
            decision = decide(make_cancel(), case.fails[1])
            stale = case.fails[1].now_us - NOON > 10 * S_US or case.fails[1].received_us != NOON
            assert decision.approved or stale, decision.failures


@pytest.mark.parametrize("reason", [reason for reason, applies, _ in CHECKS if applies is Applies.ALL])
def test_a_cancellation_is_held_to_the_checks_for_all(reason: Reason) -> None:
    bad: dict[Reason, dict[str, Any]] = {
        Reason.ALGO_NOT_AUTHORISED: {"policy": None},
        Reason.SIGNATURE_INVALID: {"authenticated": False, "identity": (FORGED,)},
        Reason.CERTIFICATE_INVALID: {"identity": (UNTRUSTED,)},
        Reason.CERTIFICATE_EXPIRED: {"not_after_us": NOON - 1},
        Reason.CERTIFICATE_REVOKED: {"identity": (REVOKED,)},
        Reason.MESSAGE_RATE_EXCEEDED: {"bot": busy_bot(50)},
        Reason.DUPLICATE_ORDER: {"seen": True},
        Reason.STALE_ORDER: {"now_us": NOON + 11 * S_US},
    }
    order = make_cancel(orig_cl_ord_id=None) if reason is Reason.INVALID_FIELD else make_cancel()
    decision = decide(order, make_situation(**bad.get(reason, {})))
    assert [failure.reason for failure in decision.failures] == [reason]
    assert decision.value_e5 is None


def test_a_cancellation_needs_no_quantity_price_or_score() -> None:
    order = make_cancel(order_qty_e17=0, price_e13=None, ord_type=OrdType.LIMIT)
    assert decide(order, make_situation(score=None, reference=None)).approved


def test_all_failures_are_carried_in_check_order_and_the_first_names_the_verdict() -> None:
    order = make_order(
        cl_ord_id="", symbol="DOGE", region="r", ex_destination="v", order_qty_e17=-1, price_e13=-1, transact_time_us=0
    )
    bot = BotState(
        revoked_at_us=1,
        suspended_at_us=1,
        kill_command="c",
        trading_state=TradingState.HALTED,
        breaker_open_until_us=NOON + 1,
        consecutive_failures=9,
        throttle_tripped_at=5,
    )
    policy = replace(
        POLICY,
        valid_until_us=0,
        restricted_markets=frozenset({"DOGE"}),
        message_rate_max_per_s=0,
        testing=replace(POLICY.testing, tested_until_us=0),
    )
    situation = make_situation(
        policy=policy,
        bot=bot,
        identity=(FORGED, UNTRUSTED),
        not_after_us=0,
        score=0.9,
        seen=True,
        reference=None,
        received_us=us("2026-06-06T12:00:00+00:00"),
    )
    reasons = [failure.reason for failure in decide(order, situation).failures]
    order_of_checks = [reason for reason, _, _ in CHECKS]
    assert reasons == sorted(reasons, key=order_of_checks.index)
    assert reasons == [
        reason
        for reason in order_of_checks
        if reason
        not in {
            Reason.ALGO_NOT_AUTHORISED,
            Reason.INVALID_QUANTITY,
            Reason.INVALID_PRICE_INCREMENT,
            Reason.MAX_ORDER_VALUE_EXCEEDED,
            Reason.MAX_ORDER_VOLUME_EXCEEDED,
            Reason.PRICE_COLLAR_EXCEEDED,
            Reason.DAILY_VALUE_LIMIT_EXCEEDED,
        }
    ]


def test_a_whole_list_of_limits_can_fail_at_once() -> None:
    order = make_order(order_qty_e17=qty("30") + 1, price_e13=price("70000") + 1)
    decision = decide(order, make_situation(daily_value_e5=eur("999999")))
    assert [failure.reason for failure in decision.failures] == [
        Reason.INVALID_QUANTITY,
        Reason.INVALID_PRICE_INCREMENT,
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        Reason.MAX_ORDER_VOLUME_EXCEEDED,
        Reason.PRICE_COLLAR_EXCEEDED,
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
    ]


def test_without_a_registration_nothing_else_is_checked() -> None:
    decision = decide(make_order(agent_id="x" * 99, cl_ord_id="", symbol=""), make_situation(policy=None, kill="ALL"))
    assert decision.failures == (Failure(Reason.ALGO_NOT_AUTHORISED, "registered", "x" * 60 + "...", "TEXT"),)


def test_a_reference_that_cannot_be_used_still_gives_lot_and_tick() -> None:
    order = make_order(order_qty_e17=qty("0.1") + 1, price_e13=price("90000") + 1)
    decision = decide(order, make_situation(reference_live=False))
    assert [failure.reason for failure in decision.failures] == [
        Reason.INVALID_QUANTITY,
        Reason.INVALID_PRICE_INCREMENT,
        Reason.REFERENCE_PRICE_UNAVAILABLE,
    ]
    assert decision.value_e5 is None


def test_the_value_is_rounded_up() -> None:
    reference = replace(REFERENCE, eur_rate_e13=price("0.9") + 1)
    assert decide(ORDER, make_situation()).value_e5 == eur("5400")
    assert decide(ORDER, make_situation(reference=reference)).value_e5 == eur("5400.00001")


def test_a_market_order_is_valued_at_the_reference_price() -> None:
    order = make_order(ord_type=OrdType.MARKET, price_e13=None, order_qty_e17=qty("0.2"))
    assert decide(order, make_situation()).value_e5 == eur("10800")


@pytest.mark.parametrize(
    ("side", "limit", "value"),
    [
        (Side.SELL, "30000", "5400"),
        (Side.SELL, "59999.99", "5400"),
        (Side.SELL, "60000", "5400"),
        (Side.SELL, "90000", "8100"),
        (Side.BUY, "30000", "2700"),
        (Side.BUY, "90000", "8100"),
    ],
)
def test_a_sale_counts_at_no_less_than_the_reference_price(side: Side, limit: str, value: str) -> None:
    order = make_order(side=side, price_e13=price(limit))
    assert decide(order, make_situation()).value_e5 == eur(value)


def test_a_sale_far_below_the_market_cannot_slip_under_the_value_limits() -> None:
    policy = make_policy(("scope.max_order_value_eur", "5000"), ("risk_controls.price_collar_bps", 9000))
    order = make_order(side=Side.SELL, price_e13=price("30000"))
    decision = decide(order, make_situation(policy=policy, daily_value_e5=eur("995000")))
    assert [failure.reason for failure in decision.failures] == [
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
    ]


def test_a_value_beyond_the_verdicts_decimal_is_left_out_but_named() -> None:
    decision = decide(make_order(order_qty_e17=10**38, price_e13=10**38), make_situation())
    assert decision.value_e5 is None
    named = {failure.reason: failure.observed for failure in decision.failures}
    assert named[Reason.MAX_ORDER_VALUE_EXCEEDED] == "9" + "0" * 45


def test_a_symbol_the_policy_gives_no_quantity_has_none() -> None:
    decision = decide(make_order(symbol="DOGE_USDT"), make_situation(reference=replace(REFERENCE, symbol="DOGE_USDT")))
    assert decision.failures[1:] == (Failure(Reason.MAX_ORDER_VOLUME_EXCEEDED, "0", "0.1", "UNIT"),)


def test_a_restricted_market_fails_though_it_is_allowed() -> None:
    policy = make_policy(("scope.restricted_markets", ["BTC_USDT"]))
    assert decide(ORDER, make_situation(policy=policy)).reason is Reason.INSTRUMENT_RESTRICTED


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_only_the_bots_own_doing_counts_as_failure(case: Case) -> None:
    order, situation = case.fails
    if situation.bot is None or situation.policy is None:
        return
    bot = BotState.from_row(situation.bot.to_row())
    before = bot.consecutive_failures
    apply(order, replace(situation, bot=bot), decide(order, situation))
    assert bot.consecutive_failures == before + (case.reason in FAILURES)


@pytest.mark.parametrize(
    ("order", "reasons"),
    [
        (make_order(order_qty_e17=1), [Reason.INVALID_QUANTITY]),
        (make_order(price_e13=1), [Reason.INVALID_PRICE_INCREMENT, Reason.PRICE_COLLAR_EXCEEDED]),
    ],
    ids=["quantity", "price"],
)
def test_the_smallest_amounts_are_well_formed_and_worth_something(order: Order, reasons: list[Reason]) -> None:
    decision = decide(order, make_situation())
    assert [failure.reason for failure in decision.failures] == reasons
    assert decision.value_e5 == 1


@pytest.mark.parametrize("order", [make_order(order_qty_e17=0), make_order(price_e13=0), make_order(price_e13=None)])
def test_what_has_no_quantity_or_price_has_no_value(order: Order) -> None:
    assert decide(order, make_situation()).value_e5 is None


def test_a_reference_may_be_as_small_as_its_scales_allow() -> None:
    reference = replace(REFERENCE, price_e13=1, eur_rate_e13=1, tick_size_e13=1, lot_size_e17=1)
    assert decide(make_order(price_e13=1, order_qty_e17=1), make_situation(reference=reference)).approved


@pytest.mark.parametrize(("value_e5", "carried"), [(10**38 - 1, 10**38 - 1), (10**38, None)])
def test_the_verdicts_decimal_holds_38_digits(value_e5: int, carried: int | None) -> None:
    one = replace(REFERENCE, price_e13=price("1"), eur_rate_e13=price("1"))
    order = make_order(price_e13=price("1"), order_qty_e17=value_e5 * 10**12)
    assert decide(order, make_situation(reference=one)).value_e5 == carried


def test_a_stale_order_names_the_age_that_is_too_high() -> None:
    waited_long_enough = make_situation(now_us=NOON + 10 * S_US)
    order = make_order(transact_time_us=NOON - 20 * S_US)
    assert decide(order, waited_long_enough).failures == (Failure(Reason.STALE_ORDER, "10000", "20000", "MS"),)
