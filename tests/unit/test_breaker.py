"""The breaker's table, every state with every signal, and how scores signal."""

from __future__ import annotations

import json
import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.breaker import TRANSITIONS, Breaker, Signal, breaker_fields, next_state, score_signal
from streams.core.orders import TradingState

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED

EXPECTED = {
    Signal.SCORE_ABOVE_BREAKER: {ACTIVE: REDUCING, REDUCING: REDUCING, HALTED: HALTED},
    Signal.SCORE_ABOVE_KILL: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.FAILURES: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.PERSON_HALT: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.PERSON_RELEASE: {ACTIVE: ACTIVE, REDUCING: ACTIVE, HALTED: ACTIVE},
    Signal.PROBES_CALM: {ACTIVE: ACTIVE, REDUCING: ACTIVE, HALTED: HALTED},
    Signal.HEARTBEAT_LOST: {ACTIVE: HALTED, REDUCING: HALTED, HALTED: HALTED},
    Signal.PERSON_REDUCE: {ACTIVE: REDUCING, REDUCING: REDUCING, HALTED: HALTED},
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


def test_a_breaker_is_open_until_its_moment_and_then_half_open() -> None:
    breaker = Breaker()
    breaker.trip(40, 60, 0.8)
    breaker.trip(30, 60, 0.76)
    assert (breaker.breaker_open_until_us, breaker.breaker_score) == (100, 0.76)
    assert not breaker.is_half_open(99)
    assert breaker.is_half_open(100)
    assert breaker.trading_state is REDUCING


def test_a_cool_down_doubles_up_to_a_bound_and_a_day() -> None:
    breaker, now_us, lasted = Breaker(), 0, []
    for _ in range(8):
        breaker.trip(now_us, 60, 0.8)
        lasted.append(breaker.breaker_open_until_us - now_us)
        now_us = breaker.breaker_open_until_us
    assert lasted == [60, 120, 240, 480, 960, 1920, 1920, 1920]
    long = Breaker(breaker_trips=4, trading_state=REDUCING)
    long.trip(0, 43_200_000_000, 0.8)
    assert long.breaker_open_until_us == 86_400_000_000


def test_who_reduced_or_halted_may_not_release_and_no_time_ends_it() -> None:
    breaker = Breaker()
    breaker.stop(Signal.PERSON_REDUCE, "ceo@acme")
    breaker.stop(Signal.PERSON_HALT, "cfo@acme")
    breaker.stop(Signal.PERSON_HALT, "cfo@acme")
    assert breaker.stoppers() == ("ceo@acme", "cfo@acme")
    assert [breaker.may_release(name) for name in ("ceo@acme", "cfo@acme", "eo@acme")] == [False, False, True]
    assert not breaker.is_half_open(10**18)
    breaker.close()
    assert breaker == Breaker()


def test_a_breaker_survives_its_row() -> None:
    breaker = Breaker()
    breaker.trip(40, 60, 0.8)
    breaker.stop(Signal.PERSON_REDUCE, "ceo@acme")
    assert Breaker(**breaker_fields(json.loads(json.dumps(breaker.breaker_row())))) == breaker


@given(st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 200)), max_size=40))
def test_no_sequence_of_signals_leads_out_of_a_stop_but_a_release(steps: list[tuple[Signal, int]]) -> None:
    breaker, now_us, held = Breaker(), 0, False
    for signal, gap_us in steps:
        now_us += gap_us
        before = breaker.trading_state
        if signal is Signal.SCORE_ABOVE_BREAKER:
            breaker.trip(now_us, 60, 0.8)
        elif signal is Signal.PROBES_CALM:
            if breaker.is_half_open(now_us):
                breaker.probe(1)
        elif signal is Signal.PERSON_RELEASE:
            breaker.close()
        else:
            breaker.stop(signal, "ceo@acme" if signal.startswith("PERSON") else None)
        held = (held or signal is Signal.PERSON_REDUCE) and signal is not Signal.PERSON_RELEASE
        assert breaker.trading_state is next_state(before, signal) or signal is Signal.PROBES_CALM
        if before is HALTED:
            assert (breaker.trading_state is HALTED) == (signal is not Signal.PERSON_RELEASE)
        if held:
            assert breaker.trading_state is not ACTIVE
