"""The guide that started this: each of its pre-trade cases works here, and each of its nine mistakes does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from streams.core.gate import decide
from streams.core.merkle import Frontier, hash_leaf
from streams.core.orders import TradingState
from streams.core.policy import PolicyError, parse_policy
from streams.core.reasons import Reason
from streams.core.state import BotState
from tests.gate_world import (
    NOON,
    ORDER,
    POLICY,
    REFERENCE,
    S_US,
    Desk,
    document,
    eur,
    make_cancel,
    make_order,
    make_policy,
    make_situation,
    price,
    qty,
    us,
)

ROOT = Path(__file__).parents[2]
EURO = replace(REFERENCE, price_e13=price("50000"), eur_rate_e13=price("1"))  # one coin is worth EUR 50,000


# "Pre-trade risk check": the guide's five checks with the guide's numbers.


@pytest.mark.parametrize(("quantity", "reason"), [("1", Reason.NONE), ("1.00001", Reason.MAX_ORDER_VALUE_EXCEEDED)])
def test_check_1_an_order_of_50000_euro_passes_and_more_does_not(quantity: str, reason: Reason) -> None:
    order = make_order(order_qty_e17=qty(quantity), price_e13=price("50000"))
    assert decide(order, make_situation(reference=EURO)).reason is reason


def test_check_2_a_market_outside_the_scope_is_refused_with_the_list() -> None:
    failure = decide(make_order(symbol="DOGE_USDT"), make_situation()).failures[0]
    assert (failure.reason, failure.limit, failure.observed) == (
        Reason.MARKET_NOT_ALLOWED,
        "BTC_USDT, ETH_USDT",
        "DOGE_USDT",
    )


@pytest.mark.parametrize(
    ("before", "reason"), [("950000", Reason.NONE), ("950000.00001", Reason.DAILY_VALUE_LIMIT_EXCEEDED)]
)
def test_check_3_the_day_ends_at_a_million_euro(before: str, reason: Reason) -> None:
    order = make_order(order_qty_e17=qty("1"), price_e13=price("50000"))
    assert decide(order, make_situation(reference=EURO, daily_value_e5=eur(before))).reason is reason


@pytest.mark.parametrize(
    ("clock", "reason"),
    [
        ("07:59:59", Reason.OUTSIDE_TRADING_HOURS),
        ("08:00:00", Reason.NONE),
        ("16:59:59", Reason.NONE),
        ("17:00:00", Reason.OUTSIDE_TRADING_HOURS),
    ],
)
def test_check_4_trading_is_from_8_to_17_utc(clock: str, reason: Reason) -> None:
    at_us = us(f"2026-06-03T{clock}+00:00")
    assert Desk().send(make_order(transact_time_us=at_us), at_us).reason is reason


@pytest.mark.parametrize(
    ("score", "reason"),
    [(0.23, Reason.NONE), (0.75, Reason.NONE), (math.nextafter(0.75, 1), Reason.CIRCUIT_BREAKER_ACTIVE)],
)
def test_check_5_the_breaker_opens_above_three_quarters(score: float, reason: Reason) -> None:
    assert decide(ORDER, make_situation(score=score)).reason is reason


# "Define governance framework": everything that Article 67's policy lists is demanded.


@pytest.mark.parametrize(
    "path",
    [
        "agent_id",
        "operator",
        "operator_regulator_id",
        "scope.max_order_value_eur",
        "scope.max_daily_value_eur",
        "scope.allowed_markets",
        "scope.allowed_regions",
        "scope.trading_hours",
        "risk_controls.kill_switch_manual",
        "risk_controls.kill_switch_automatic",
        "risk_controls.max_consecutive_failures",
        "risk_controls.circuit_breaker_threshold",
        "testing.fitness_test_due",
        "testing.scenario_testing",
        "testing.penetration_testing",
        "testing.last_passed",
        "governance.documented_by",
        "governance.approved_by",
        "governance.last_review",
        "governance.next_review",
        "governance.documents",
        "governance.board_resolution",
    ],
)
def test_a_policy_without_one_of_the_guides_items_is_refused(path: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(json.dumps(document((path, None))).encode())
    assert any(problem.startswith(path) for problem in refused.value.problems)


def test_the_board_resolution_names_who_passed_it_and_when() -> None:
    governance = POLICY.governance
    assert governance.resolution_approved_by == {"ceo@acme", "cfo@acme", "compliance_lead@acme"}
    assert governance.resolution_passed.isoformat() == "2026-05-01"


def test_named_people_may_kill_and_another_of_them_releases() -> None:
    bot = BotState()
    bot.kill("command-1", "ceo@acme")
    assert decide(ORDER, make_situation(bot=bot)).reason is Reason.KILL_SWITCH_ENGAGED
    assert decide(make_cancel(), make_situation(bot=bot)).approved
    assert [person for person in sorted(POLICY.manual_kill_by) if bot.may_release(person)] == [
        "cfo@acme",
        "compliance_lead@acme",
    ]


# The nine mistakes.


def test_mistake_1_a_refusal_is_never_truthy() -> None:
    decision = decide(make_order(symbol="DOGE_USDT"), make_situation())
    assert decision.approved is False
    assert all(isinstance(failure.limit, str) for failure in decision.failures)


@pytest.mark.parametrize(
    ("moment", "region", "reason"),
    [
        ("2026-06-06T12:00:00+00:00", "eu-west-1", Reason.OUTSIDE_TRADING_HOURS),
        ("2026-06-07T12:00:00+00:00", "eu-west-1", Reason.OUTSIDE_TRADING_HOURS),
        ("2026-06-03T12:00:00+00:00", "us-east-1", Reason.REGION_NOT_ALLOWED),
    ],
    ids=["Saturday", "Sunday", "region"],
)
def test_mistake_2_weekends_and_regions_are_not_only_declared(moment: str, region: str, reason: Reason) -> None:
    at_us = us(moment)
    assert Desk().send(make_order(region=region, transact_time_us=at_us), at_us).reason is reason


def test_mistake_2_consecutive_failures_are_not_only_declared() -> None:
    desk = Desk()
    for number in range(3):
        assert not desk.send(make_order(cl_ord_id=f"f-{number}", symbol="DOGE_USDT"), NOON).approved
    assert desk.send(make_order(cl_ord_id="f-3"), NOON).reason is Reason.TRADING_HALTED


@pytest.mark.parametrize("tz", ["UTC", "Asia/Tokyo"])
def test_mistake_3_the_hours_are_the_policys(tz: str) -> None:
    policy = make_policy(
        ("scope.trading_hours.start", "20:00"), ("scope.trading_hours.end", "22:00"), ("scope.trading_hours.tz", tz)
    )
    noon = Desk(policy).send(ORDER, NOON).reason
    evening_us = us("2026-06-03T20:00:00+00:00" if tz == "UTC" else "2026-06-03T11:00:00+00:00")
    evening = Desk(policy).send(make_order(transact_time_us=evening_us), evening_us).reason
    expected = Reason.NONE if tz == "Asia/Tokyo" else Reason.OUTSIDE_TRADING_HOURS
    assert (noon, evening) == (expected, Reason.NONE)


def test_mistake_4_orders_in_flight_count_for_the_day() -> None:
    desk = Desk(reference=EURO)
    verdicts = []
    for number in range(21):
        order = make_order(cl_ord_id=f"v-{number}", order_qty_e17=qty("1"), price_e13=price("50000"))
        verdicts.append(desk.send(order, NOON).reason)
    assert verdicts == [Reason.NONE] * 20 + [Reason.DAILY_VALUE_LIMIT_EXCEEDED]
    assert list(desk.daily_value_e5.values()) == [eur("1000000")]


def test_mistake_5_spot_trades_are_not_reported_as_derivatives() -> None:
    schemas = sorted((ROOT / "schemas" / "avro").glob("*.avsc"))
    assert schemas
    assert not [path.name for path in schemas if "EMIR" in path.read_text()]


def test_mistake_6_a_currency_pair_is_no_crypto_asset_and_has_no_reference() -> None:
    policy = make_policy(
        ("scope.allowed_markets", ["EUR_USD", "GBP_EUR"]), ("scope.max_order_qty", {"EUR_USD": "2", "GBP_EUR": "2"})
    )
    decision = decide(make_order(symbol="EUR_USD"), make_situation(policy=policy, reference=None))
    assert [failure.reason for failure in decision.failures] == [Reason.REFERENCE_PRICE_UNAVAILABLE]
    fields = json.loads((ROOT / "schemas" / "avro" / "reference-price.v1.avsc").read_text())["fields"]
    assert [field["type"] for field in fields if field["name"] == "base_dti"] == ["string"]


def test_mistake_7_a_kill_has_no_grace() -> None:
    desk = Desk()
    assert not desk.send(ORDER, NOON, score=0.9).approved
    assert desk.bot.trading_state is TradingState.HALTED
    grace = [
        desk.send(make_order(cl_ord_id=f"g-{second}", transact_time_us=NOON + second * S_US), NOON + second * S_US)
        for second in range(0, 301, 10)
    ]
    assert not [decision for decision in grace if decision.approved]


def test_mistake_8_an_omitted_event_shows() -> None:
    def root(events: list[bytes]) -> bytes:
        return Frontier().extend(hash_leaf(event) for event in events).root()

    bot, events = BotState(), []
    for _ in range(5):
        bot.audit_seq += 1
        events.append(b"event %d" % bot.audit_seq)
    assert BotState.from_row(bot.to_row()).audit_seq == 5
    assert len({root(events)} | {root(events[:gap] + events[gap + 1 :]) for gap in range(5)}) == 6
    names = {field["name"] for field in json.loads((ROOT / "schemas/avro/audit-event.v1.avsc").read_text())["fields"]}
    assert {"agent_seq", "log_index"} <= names


def test_mistake_9_the_verdict_says_what_was_observed_and_nothing_by_default() -> None:
    score = decide(ORDER, make_situation(score=0.8)).failures[0]
    value = decide(make_order(order_qty_e17=qty("1.5")), make_situation()).failures[0]
    forged = decide(ORDER, make_situation(authenticated=False)).failures[0]
    assert [(one.reason, one.observed) for one in (score, value, forged)] == [
        (Reason.CIRCUIT_BREAKER_ACTIVE, "0.8"),
        (Reason.MAX_ORDER_VALUE_EXCEEDED, "81000"),
        (Reason.SIGNATURE_INVALID, "invalid"),
    ]
    assert decide(ORDER, make_situation()).failures == ()
