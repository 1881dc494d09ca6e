"""A bot's state: who may release, what a release clears, and the table row."""

from __future__ import annotations

import json

import pytest

from streams.core.orders import TradingState
from streams.core.state import BotState, StateRowError
from streams.core.windows import WindowCounter


def stopped_bot() -> BotState:
    bot = BotState(
        audit_seq=7,
        received_us=1_780_000_000_000_000,
        registered_policy="ab" * 32,
        revoked_at_us=5,
        consecutive_failures=3,
        throttle_tripped_at=1_001,
        executions=WindowCounter(60, 4),
    )
    bot.rate.add(bot.received_us)
    bot.trip(99, 60, 0.8)
    bot.suspend(99)
    bot.heartbeat_us, bot.heartbeat_sent_us = 98, 97
    bot.kill("command-1", "ceo@acme")
    return bot


def test_received_never_goes_back() -> None:
    bot = BotState(received_us=100)
    assert [bot.received_at(at) for at in (99, 100, 101)] == [100, 100, 101]


def test_who_killed_may_not_release_and_killing_again_changes_nothing_about_it() -> None:
    bot = stopped_bot()
    bot.kill("command-2", "cfo@acme")
    bot.kill("command-3", "ceo@acme")
    assert bot.kill_command == "command-1"
    assert not bot.may_release("ceo@acme")
    assert not bot.may_release("cfo@acme")
    assert bot.may_release("compliance_lead@acme")
    assert bot.may_release("eo@acme")


def test_a_release_clears_every_stop_but_a_revocation() -> None:
    bot = stopped_bot()
    bot.release()
    assert bot.trading_state is TradingState.ACTIVE
    assert (bot.halt_reason, bot.kill_command, bot.stopped_by, bot.breaker_score) == (None, None, None, None)
    assert (bot.breaker_open_until_us, bot.breaker_trips, bot.breaker_probes) == (0, 0, 0)
    assert (bot.suspended_at_us, bot.throttle_tripped_at, bot.consecutive_failures) == (None, 0, 0)
    assert (bot.revoked_at_us, bot.audit_seq, bot.executions.count) == (5, 7, 4)
    assert bot.may_release("ceo@acme")


@pytest.mark.parametrize("bot", [BotState(), stopped_bot()], ids=["fresh", "stopped"])
def test_a_state_survives_its_row_as_json(bot: BotState) -> None:
    row = bot.to_row()
    again = BotState.from_row(json.loads(json.dumps(row)))
    assert again.to_row() == row
    assert (again.trading_state, again.halt_reason) == (bot.trading_state, bot.halt_reason)
    assert again.rate.count_at(bot.received_us) == bot.rate.count_at(bot.received_us)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -1.0, 1.5, None])
def test_a_score_that_is_none_is_not_kept(score: float | None) -> None:
    bot = BotState()
    bot.trip(99, 60, score)
    assert (bot.trading_state, bot.breaker_score) == (TradingState.REDUCING, None)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_extreme_scores_are_kept(score: float) -> None:
    bot = BotState()
    bot.trip(99, 60, score)
    assert bot.breaker_score == score


def test_a_new_bot_has_nothing_behind_it() -> None:
    closed = ["ACTIVE", 0, None, 0, 0, None]
    nothing = [0, 0, None, None, None, None, None, 0, 0, 0, 0, 0, 0, 0]
    assert BotState().to_row() == [2, *closed, *nothing]


@pytest.mark.parametrize("row", [[], [2], [1, *BotState().to_row()[1:]], BotState().to_row()[:20]])
def test_a_row_of_another_version_is_refused(row: list[object]) -> None:
    with pytest.raises(StateRowError):
        BotState.from_row(row)
