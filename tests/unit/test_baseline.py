"""A baseline: its estimate holds on known distributions, it forgets, it is not talked into an attack."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.baseline import DECADES_AT_BREAKER, DECADES_MAX, Baseline, Tuning, score_of, together

if TYPE_CHECKING:
    from collections.abc import Callable

TUNING = Tuning(memory=5_000, grain=0.1)
DRAWS: dict[str, Callable[[random.Random], float]] = {
    "exponential": lambda chance: chance.expovariate(1.0),
    "normal": lambda chance: chance.gauss(0.0, 1.0),
    "uniform": lambda chance: chance.random(),
    "log of lognormal volume": lambda chance: math.log1p(math.exp(chance.gauss(2.0, 1.5))),
}


def taught(values: list[float], tuning: Tuning = TUNING) -> Baseline:
    baseline = Baseline(tuning)
    for value in values:
        baseline.take(value)
    return baseline


def test_a_score_stands_for_a_probability() -> None:
    assert score_of(0.0) == 0.0
    assert score_of(DECADES_AT_BREAKER) == pytest.approx(0.75, abs=1e-5)
    assert score_of(6.1793) == pytest.approx(0.85, abs=1e-4)
    assert 0.75 < score_of(DECADES_MAX) < 0.85


@pytest.mark.parametrize("name", DRAWS)
def test_three_decades_are_seen_at_most_once_in_five_hundred(name: str) -> None:
    chance = random.Random(1)
    baseline = Baseline(TUNING)
    decades = [baseline.take(DRAWS[name](chance)) for _ in range(30_000)]
    assert sum(value >= 3.0 for value in decades) <= 60
    assert sum(value >= DECADES_AT_BREAKER for value in decades) <= 3


def test_an_exponential_tail_is_estimated_right() -> None:
    chance = random.Random(2)
    baseline = Baseline(Tuning(memory=10_000, grain=0.0))
    frequent = 0
    for _ in range(100_000):
        frequent += baseline.take(chance.expovariate(1.0)) >= 4.0
    assert 1 <= frequent <= 100_000 * 10**-4.0 * 10


def test_a_young_baseline_is_surprised_by_little() -> None:
    assert taught([]).judge(1e9) == 0.0
    assert taught([1.0]).judge(1e9) == 0.0
    assert taught([1.0, 1.1]).judge(2.0) < 1.0


def test_what_is_usual_is_learned_and_what_is_past_is_forgotten() -> None:
    baseline = taught([0.0] * 1_000)
    first = baseline.take(0.1)
    assert 3.0 < first < DECADES_MAX
    assert baseline.judge(0.1) < first - 1.0
    for _ in range(30_000):
        baseline.take(0.0)
    assert baseline.judge(0.1) > 0.9 * first


def test_an_attack_does_not_become_usual_by_repetition() -> None:
    wary = taught([0.0] * 1_000, TUNING._replace(alarmed=0.01))
    assert min(wary.take(1.0) for _ in range(10)) > DECADES_AT_BREAKER
    trusting = taught([0.0] * 1_000)
    assert min(trusting.take(1.0) for _ in range(10)) < DECADES_AT_BREAKER / 2


def test_a_creeping_quantity_is_not_followed_at_once() -> None:
    ramp = [step / 10 for step in range(40)]
    follows, holds = taught([0.0] * 1_000), taught([0.0] * 1_000, TUNING._replace(learning=0.05))
    assert max(holds.take(x) for x in ramp) > max(follows.take(x) for x in ramp)


def test_cells_continue_where_they_were_taken() -> None:
    chance = random.Random(3)
    one = taught([chance.gauss(0, 1) for _ in range(100)])
    other = Baseline(TUNING, one.cells())
    for _ in range(200):
        value = chance.gauss(0, 2)
        assert one.take(value) == other.take(value)


def test_things_seen_at_once_add_up_but_not_wholly() -> None:
    assert together([]) == 0.0
    assert together([0.0, 5.0, 0.0]) == 5.0
    assert together([2.0, 5.0, 3.0]) == together([5.0, 3.0]) == pytest.approx(5.9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e150, 1e150), max_size=80), st.sampled_from([0.05, 0.5, 1.0]))
def test_any_values_give_finite_numbers_in_range(values: list[float], learning: float) -> None:
    baseline = Baseline(Tuning(memory=20, grain=0.3, learning=learning, alarmed=0.01))
    for value in values:
        assert 0.0 <= baseline.take(value) <= DECADES_MAX
        assert all(math.isfinite(cell) for cell in baseline.cells())
        assert baseline.high >= baseline.mean or math.isclose(baseline.high, baseline.mean, rel_tol=1e-9)
