"""A market's score: rush orders with a rise are a pump, 10 % are an alarm anywhere, chunks are learned whole."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.baseline import ProfileRowError
from streams.core.market import CHUNK_US, FEATURES, MarketProfile, RushCounter, score_market
from streams.core.orders import Activity

BREAKER = 0.75
QUIET_CHUNKS = 500


class QuietMarket:
    """A market of which every five seconds somebody tells the price; seeded."""

    def __init__(self, seed: int = 1, *, told: bool = True) -> None:
        self.random = random.Random(seed)
        self.market = MarketProfile()
        self.at_us = 1_700_000_000_000_000
        self.price = 100.0
        self.told = told
        self.highest = 0.0

    def step(self, *, move: float | None = None, rush_buys: int = 0, rush_sells: int = 0) -> float:
        self.at_us += 5_000_000
        self.price *= 1.0 + (self.random.gauss(0, 0.0003) if move is None else move)
        volume_e17 = int(self.random.expovariate(1) * 10**17)
        rush_buys += self.random.random() < 0.2
        rush_sells += self.random.random() < 0.2
        rush = Activity(volume_e17, rush_buys, rush_sells)
        self.market.take(self.at_us, self.price, rush if self.told else None)
        score = score_market(self.market).value
        self.highest = max(self.highest, score)
        return score

    def established(self) -> QuietMarket:
        for _ in range(5 * QUIET_CHUNKS):
            self.step()
        return self


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_market_does_not_reach_the_breaker(seed: int, *, told: bool) -> None:
    assert QuietMarket(seed, told=told).established().highest < BREAKER


def test_rush_orders_with_a_rise_are_a_pump() -> None:
    quiet = QuietMarket().established()
    scores = [quiet.step(move=0.012, rush_buys=12) for _ in range(5)]
    assert max(scores) > BREAKER
    assert set(score_market(quiet.market).contributions) == {"rush_buys", "rise"}


def test_neither_rush_orders_nor_a_rise_alone_are_a_pump() -> None:
    rushing, rising = QuietMarket().established(), QuietMarket().established()
    assert max(rushing.step(rush_buys=12) for _ in range(5)) < BREAKER
    assert max(rising.step(move=0.012) for _ in range(5)) < BREAKER


def test_a_feed_without_trades_is_judged_by_its_price_alone() -> None:
    quiet = QuietMarket(told=False).established()
    assert max(quiet.step(move=-0.012) for _ in range(5)) > BREAKER
    assert set(score_market(quiet.market).contributions) == {"fall"}


def test_a_feed_that_does_not_know_rush_orders_has_the_volume_in_their_place() -> None:
    quiet = QuietMarket().established()
    for _ in range(5 * QUIET_CHUNKS):
        quiet.at_us += 5_000_000
        quiet.market.take(quiet.at_us, quiet.price * (1 + quiet.random.gauss(0, 0.0003)), Activity(10**17))
    quiet.market.take(quiet.at_us + 1, quiet.price * 1.05, Activity(10**21))
    score = score_market(quiet.market)
    assert score.value > BREAKER
    assert set(score.contributions) == {"volume", "rise"}


@pytest.mark.parametrize("move", [-0.3, 0.3])
def test_a_move_of_ten_per_cent_is_an_alarm_in_a_market_nobody_knows(move: float) -> None:
    market = MarketProfile()
    market.take(0, 100.0, None)
    market.take(1_000_000, 100.0 * (1.0 + move / 4), Activity(1, 0, 0))
    assert score_market(market).value < BREAKER
    market.take(5_000_000, 100.0 * (1.0 + move), Activity(1, 0, 0))
    score = score_market(market)
    assert BREAKER < score.value < 0.85
    assert set(score.contributions) == {"rise" if move > 0 else "fall"}


def test_a_fall_that_ends_in_the_next_chunk_is_seen_whole() -> None:
    market = MarketProfile()
    market.take(CHUNK_US - 1, 100.0, None)
    market.take(CHUNK_US + 1, 95.0, None)
    market.take(2 * CHUNK_US - 1, 89.0, None)
    assert score_market(market).value > BREAKER
    market.take(4 * CHUNK_US, 89.0, None)
    assert score_market(market).value == 0.0


def test_a_rise_before_a_fall_is_no_rise_from_the_bottom() -> None:
    market = MarketProfile()
    for at_us, price in enumerate([100.0, 104.0, 96.0]):
        market.take(at_us, price, None)
    assert market.rise == pytest.approx(1.04)
    assert market.fall == pytest.approx(104 / 96)


def test_a_sweep_of_one_side_at_one_time_is_a_rush_order() -> None:
    rush = RushCounter()
    for time_ms, buy in [(1, True), (1, True), (1, True), (2, True), (3, False), (3, False), (3, True), (3, True)]:
        rush.add(time_ms, 5, buy=buy)
    assert rush.take() == Activity(40, 2, 1)
    rush.add(3, 5, buy=True)
    assert rush.take() == Activity(5, 0, 0)


def test_a_profile_survives_its_row_and_scores_the_same_afterwards() -> None:
    quiet = QuietMarket().established()
    again = MarketProfile.from_row(json.loads(json.dumps(quiet.market.to_row())))
    for step in range(60):
        for market in (quiet.market, again):
            market.take(quiet.at_us + step * 1_000_000, 100.0 + step, Activity(step, step, 1))
        assert score_market(again) == score_market(quiet.market)
    assert again.to_row() == quiet.market.to_row()


@pytest.mark.parametrize("row", [[], [1], [0, *MarketProfile().to_row()[1:]], [*MarketProfile().to_row(), 0]])
def test_a_row_of_another_version_is_refused(row: list[Any]) -> None:
    with pytest.raises(ProfileRowError):
        MarketProfile.from_row(row)


PRICES = st.tuples(
    st.integers(0, 10**17),
    st.floats(1e-13, 1e25),
    st.none() | st.builds(Activity, st.integers(0, 10**38), st.none() | st.integers(0, 10**9), st.integers(0, 10**9)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PRICES, max_size=40))
def test_any_prices_give_scores_between_zero_and_one(seen: list[tuple[int, float, Activity | None]]) -> None:
    market = MarketProfile()
    for at_us, price, activity in seen:
        market.take(at_us, price, activity)
        score = score_market(market)
        assert 0.0 <= score.value < 0.85
        assert set(score.contributions) <= set(FEATURES)
        assert sum(score.contributions.values()) == pytest.approx(score.value)
