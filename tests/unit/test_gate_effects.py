"""What a decision changes in the bot's state, and what later decisions see of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.core.exposure import Exposure
from streams.core.gate import Decision, Situation, apply, counted_value_e5, decide, remembered_id
from streams.core.orders import Failure, Order, Side, TradingState
from streams.core.reasons import Reason
from streams.core.state import BotState
from tests.gate_world import (
    MS_US,
    NOON,
    ORDER,
    S_US,
    Desk,
    eur,
    make_cancel,
    make_order,
    make_policy,
    make_situation,
    qty,
    us,
)


def applied(order: Order, situation: Situation) -> BotState:
    assert situation.bot is not None
    apply(order, situation, decide(order, situation))
    return situation.bot


@pytest.mark.parametrize("score", [None, 0.1, 0.8, 0.9])
@pytest.mark.parametrize(
    "order",
    [ORDER, make_cancel(), make_order(cl_ord_id=""), make_order(symbol="X")],
    ids=["order", "cancel", "bad", "market"],
)
def test_a_message_that_is_not_the_bots_own_changes_nothing(order: Order, score: float | None) -> None:
    bot = BotState()
    for _ in range(3):
        bot.rate.add(NOON)
    bot.trip(NOON - 61 * S_US, 60 * S_US, 0.8)
    before = bot.to_row()
    situation = make_situation(bot=bot, authenticated=False, score=score, received_us=NOON + S_US)
    assert applied(order, situation).to_row() == before
    assert remembered_id(order, situation) is None


def test_a_message_of_an_unregistered_bot_changes_nothing() -> None:
    bot = BotState()
    before = bot.to_row()
    situation = make_situation(bot=bot, policy=None)
    apply(ORDER, situation, decide(ORDER, situation))
    assert bot.to_row() == before
    assert remembered_id(ORDER, situation) is None
    assert remembered_id(ORDER, make_situation(bot=None)) is None


def test_every_authenticated_message_counts_for_the_rate_whatever_its_verdict() -> None:
    bot = BotState()
    for order in (ORDER, make_cancel(), make_order(symbol="X"), make_order(cl_ord_id="")):
        applied(order, make_situation(bot=bot))
    assert bot.rate.count_at(NOON) == 4


def test_an_approved_order_counts_its_value_and_ends_a_row_of_failures() -> None:
    bot = BotState(consecutive_failures=2)
    situation = make_situation(bot=bot)
    decision = decide(ORDER, situation)
    apply(ORDER, situation, decision)
    assert counted_value_e5(ORDER, decision) == eur("5400")
    assert (bot.consecutive_failures, bot.executions.count, bot.executions.start_us) == (0, 1, NOON)


def test_an_approved_cancellation_counts_neither_value_nor_execution_nor_success() -> None:
    bot = BotState(consecutive_failures=2)
    situation = make_situation(bot=bot)
    decision = decide(make_cancel(), situation)
    apply(make_cancel(), situation, decision)
    assert decision.approved
    assert counted_value_e5(make_cancel(), decision) == 0
    assert (bot.consecutive_failures, bot.executions.count) == (2, 0)


def test_a_refused_order_counts_no_value() -> None:
    assert counted_value_e5(ORDER, decide(ORDER, make_situation(kill="ALL"))) == 0


def test_the_third_failure_halts_the_bot_until_a_person_releases_it() -> None:
    desk = Desk()
    for number in range(3):
        assert desk.bot.trading_state is TradingState.ACTIVE
        decision = desk.send(make_order(cl_ord_id=f"x-{number}", region="mars"), NOON)
        assert decision.reason is Reason.REGION_NOT_ALLOWED
    assert desk.bot.halt_reason is Reason.CONSECUTIVE_FAILURES_EXCEEDED
    halted = desk.send(make_order(cl_ord_id="good"), NOON)
    assert [failure.reason for failure in halted.failures] == [
        Reason.TRADING_HALTED,
        Reason.CONSECUTIVE_FAILURES_EXCEEDED,
    ]
    assert desk.send(make_cancel(cl_ord_id="cancel"), NOON).approved
    desk.bot.release()
    assert desk.send(make_order(cl_ord_id="better"), NOON).approved


def test_a_tripped_throttle_stays_tripped_in_the_next_window_and_across_a_restart() -> None:
    desk = Desk(make_policy(("risk_controls.execution_max", 2)))
    assert [desk.send(make_order(cl_ord_id=f"t-{n}"), NOON).approved for n in range(3)] == [True, True, False]
    desk.bot = BotState.from_row(desk.bot.to_row())
    later = desk.send(make_order(cl_ord_id="t-3", transact_time_us=NOON + 3600 * S_US), NOON + 3600 * S_US)
    assert later.failures == (Failure(Reason.EXECUTION_THROTTLE_TRIPPED, "2", "3", "ORDERS"),)
    desk.bot.release()
    again = desk.send(make_order(cl_ord_id="t-4", transact_time_us=NOON + 3600 * S_US), NOON + 3600 * S_US)
    assert again.approved


def test_the_throttle_does_not_trip_on_an_order_refused_for_an_earlier_reason() -> None:
    desk = Desk(make_policy(("risk_controls.execution_max", 1)))
    assert desk.send(make_order(cl_ord_id="t-0"), NOON).approved
    refused = desk.send(make_order(cl_ord_id="t-1", region="mars"), NOON)
    assert refused.failures[-1].reason is Reason.EXECUTION_THROTTLE_TRIPPED
    minute = NOON + 60 * S_US
    assert desk.send(make_order(cl_ord_id="t-2", transact_time_us=minute), minute).approved


def test_the_message_that_crosses_the_breaker_is_refused_and_the_breaker_stays_open_for_its_cool_down() -> None:
    desk = Desk()
    orders = [make_order(cl_ord_id=f"s-{number}", transact_time_us=NOON) for number in range(4)]
    crossing = desk.send(orders[0], NOON, score=0.76)
    assert crossing.failures == (Failure(Reason.CIRCUIT_BREAKER_ACTIVE, "0.75", "0.76", "SCORE"),)
    assert desk.bot.trading_state == "REDUCING"
    almost = NOON + 60 * S_US - 1
    still = desk.send(make_order(cl_ord_id="s-1", transact_time_us=almost), almost, score=0.1)
    assert still.failures == (Failure(Reason.CIRCUIT_BREAKER_ACTIVE, "0.75", "0.76", "SCORE"),)
    assert desk.bot.consecutive_failures == 0
    over = NOON + 60 * S_US
    assert desk.send(make_order(cl_ord_id="s-2", transact_time_us=over), over, score=0.1).approved
    assert desk.bot.trading_state == "REDUCING"


def probe(desk: Desk, number: int, at_us: int, score: float) -> Decision:
    return desk.send(make_order(cl_ord_id=f"p-{number}", transact_time_us=at_us), at_us, score=score)


def test_calm_probes_after_the_cool_down_close_the_breaker_and_not_one_fewer() -> None:
    desk = Desk(make_policy(("risk_controls.circuit_breaker_probe_orders", 3)))
    probe(desk, 0, NOON, 0.8)
    at_us = NOON + 60 * S_US
    for number in (1, 2):
        assert probe(desk, number, at_us, 0.6).approved
        assert desk.bot.trading_state is TradingState.REDUCING
    between = probe(desk, 3, at_us, 0.61)  # calmer than the threshold, not as calm as a probe must be
    assert between.failures == (Failure(Reason.CIRCUIT_BREAKER_ACTIVE, "0.6", "0.61", "SCORE"),)
    assert probe(desk, 4, at_us, 0.0).approved
    assert (desk.bot.trading_state, desk.bot.breaker_trips) == (TradingState.ACTIVE, 0)
    assert probe(desk, 5, at_us, 0.75).approved


def test_a_crossing_probe_opens_the_breaker_for_twice_as_long() -> None:
    desk = Desk()
    at_us = NOON
    for number, cooldown_s in enumerate((60, 120, 240)):
        assert not probe(desk, 2 * number, at_us, 0.8).approved
        assert desk.bot.breaker_open_until_us == at_us + cooldown_s * S_US
        at_us += cooldown_s * S_US - 1
        assert not probe(desk, 2 * number + 1, at_us, 0.1).approved
        at_us += 1


def test_an_open_breaker_lets_an_order_pass_that_can_only_lower_the_position() -> None:
    desk = Desk()
    held = Exposure(net_e17=qty("0.3"), open_sell_e17=qty("0.1"))
    probe(desk, 0, NOON, 0.8)
    for number, (side, amount, score, passes) in enumerate(
        (
            (Side.SELL, "0.2", 0.1, True),
            (Side.SELL, "0.2", 0.85, True),  # above the breaker's threshold, not above the kill's
            (Side.SELL, "0.20001", 0.1, False),  # with what is open it would go short
            (Side.BUY, "0.00001", 0.1, False),
        ),
        start=1,
    ):
        order = make_order(cl_ord_id=f"r-{number}", side=side, order_qty_e17=qty(amount))
        assert desk.send(order, NOON, score=score, exposure=held).approved is passes, (side, amount)
    halted: dict[str, Any] = {"market_state": TradingState.HALTED}
    order = make_order(cl_ord_id="m", side=Side.SELL, order_qty_e17=qty("0.1"))
    assert not desk.send(order, NOON, score=0.1, exposure=held, **halted).approved
    assert not desk.send(replace(order, cl_ord_id="k"), NOON, score=0.86, exposure=held).approved
    assert desk.bot.trading_state is TradingState.HALTED


def test_a_score_above_the_kill_threshold_halts_for_good() -> None:
    desk = Desk()
    assert desk.send(ORDER, NOON, score=0.86).reason is Reason.CIRCUIT_BREAKER_ACTIVE
    assert (desk.bot.trading_state, desk.bot.halt_reason) == (TradingState.HALTED, Reason.CIRCUIT_BREAKER_ACTIVE)
    later = NOON + 3600 * S_US
    decision = desk.send(make_order(cl_ord_id="b", transact_time_us=later), later, score=0.0)
    assert [failure.reason for failure in decision.failures] == [Reason.CERTIFICATE_SUSPENDED, Reason.TRADING_HALTED]
    assert desk.send(make_cancel(cl_ord_id="c", transact_time_us=later), later).approved


def test_a_score_at_the_breakers_threshold_opens_nothing() -> None:
    desk = Desk()
    assert desk.send(ORDER, NOON, score=0.75).approved
    assert (desk.bot.trading_state, desk.bot.breaker_open_until_us) == (TradingState.ACTIVE, 0)


def test_a_score_at_the_kill_threshold_opens_the_breaker_only() -> None:
    desk = Desk()
    desk.send(ORDER, NOON, score=0.85)
    assert desk.bot.trading_state is TradingState.REDUCING


def test_received_never_goes_back_even_if_the_broker_does() -> None:
    desk = Desk()
    early, late = us("2026-06-03T16:59:59+00:00"), us("2026-06-03T17:00:00+00:00")
    desk.send(make_order(cl_ord_id="l", transact_time_us=late), late)
    decision = desk.send(make_order(cl_ord_id="e", transact_time_us=early), early)
    assert decision.reason is Reason.OUTSIDE_TRADING_HOURS
    assert desk.bot.received_us == late


def test_the_day_turns_at_midnight_utc() -> None:
    hours = (("scope.trading_hours.start", "00:00"), ("scope.trading_hours.end", "00:00"))
    desk = Desk(make_policy(("scope.max_daily_value_eur", "5400"), *hours))
    before, after = us("2026-06-03T23:59:59.999999+00:00"), us("2026-06-04T00:00:00+00:00")
    assert desk.send(make_order(cl_ord_id="d-0", transact_time_us=before), before).approved
    second = desk.send(make_order(cl_ord_id="d-1", transact_time_us=before), before)
    assert second.failures == (Failure(Reason.DAILY_VALUE_LIMIT_EXCEEDED, "5400", "10800", "EUR"),)
    assert desk.send(make_order(cl_ord_id="d-2", transact_time_us=after), after).approved


def test_an_identifier_may_be_used_again_when_its_window_is_over_and_a_repetition_does_not_lengthen_it() -> None:
    desk = Desk()
    window = 600 * S_US
    for offset, approved in ((0, True), (window - 1, False), (window, True), (2 * window - 1, False)):
        decision = desk.send(make_order(transact_time_us=NOON + offset), NOON + offset)
        assert decision.approved is approved, offset


def test_a_malformed_identifier_is_not_remembered() -> None:
    assert remembered_id(make_order(cl_ord_id="no spaces"), make_situation()) is None
    assert remembered_id(make_order(cl_ord_id="ok"), make_situation(seen=True)) is None
    assert remembered_id(make_order(cl_ord_id="ok"), make_situation(kill="ALL")) == "ok"


def test_a_burst_blocks_itself_until_it_pauses() -> None:
    many_failures = ("risk_controls.max_consecutive_failures", 99)
    desk = Desk(make_policy(("risk_controls.message_rate_max_per_s", 10), many_failures))
    burst = [desk.send(make_order(cl_ord_id=f"b-{n}"), NOON + n * MS_US).approved for n in range(20)]
    assert burst == [True] * 10 + [False] * 10
    later = NOON + 1_100 * MS_US
    assert desk.send(make_order(cl_ord_id="b-20", transact_time_us=later), later).approved
