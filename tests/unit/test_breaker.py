"""The breaker's table, every state with every signal, and how scores signal."""

from __future__ import annotations

import math
from itertools import product

import pytest

from streams.core.breaker import TRANSITIONS, Signal, next_state, score_signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.core.state import BotState

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED

EXPECTED = {
    Signal.SCORE_ABOVE_BREAKER: {ACTIVE: REDUCING, REDUCING: REDUCING, HALTED: HALTED},
    Signal.SCORE_ABOVE_KILL: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.FAILURES: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.PERSON_HALT: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.PERSON_RELEASE: {ACTIVE: ACTIVE, REDUCING: ACTIVE, HALTED: ACTIVE},
    Signal.COOLDOWN_OVER: {ACTIVE: ACTIVE, REDUCING: ACTIVE, HALTED: HALTED},
}


@pytest.mark.parametrize(("state", "signal"), list(product(TradingState, Signal)))
def test_every_state_answers_every_signal(state: TradingState, signal: Signal) -> None:
    assert next_state(state, signal) is EXPECTED[signal][state]


def test_the_table_holds_nothing_else() -> None:
    assert set(TRANSITIONS) == set(product(TradingState, Signal))


def test_only_a_person_leads_out_of_a_halt() -> None:
    assert {signal for signal in Signal if next_state(HALTED, signal) is not HALTED} == {Signal.PERSON_RELEASE}


@pytest.mark.parametrize(
    ("score", "signal"),
    [
        (0.0, None),
        (0.75, None),
        (math.nextafter(0.75, 1), Signal.SCORE_ABOVE_BREAKER),
        (0.85, Signal.SCORE_ABOVE_BREAKER),
        (math.nextafter(0.85, 1), Signal.SCORE_ABOVE_KILL),
        (1.0, Signal.SCORE_ABOVE_KILL),
        (math.nan, Signal.SCORE_ABOVE_KILL),
    ],
)
def test_a_score_at_a_threshold_is_still_below_it(score: float, signal: Signal | None) -> None:
    assert score_signal(score, breaker_threshold=0.75, kill_threshold=0.85) is signal


def test_an_open_breaker_cools_down_at_its_moment_and_not_before() -> None:
    bot = BotState()
    bot.open_breaker(100, 0.8)
    bot.open_breaker(90, 0.76)
    bot.cool_down(99)
    assert (bot.trading_state, bot.breaker_open_until_us, bot.breaker_score) == (REDUCING, 100, 0.76)
    bot.cool_down(100)
    assert (bot.trading_state, bot.breaker_open_until_us, bot.breaker_score) == (ACTIVE, 0, None)


def test_a_halt_outlives_the_cool_down_and_keeps_its_first_reason() -> None:
    bot = BotState()
    bot.open_breaker(100, 0.8)
    bot.halt(Signal.FAILURES, Reason.CONSECUTIVE_FAILURES_EXCEEDED)
    bot.halt(Signal.SCORE_ABOVE_KILL, Reason.CIRCUIT_BREAKER_ACTIVE)
    bot.cool_down(10**18)
    assert (bot.trading_state, bot.halt_reason) == (HALTED, Reason.CONSECUTIVE_FAILURES_EXCEEDED)
