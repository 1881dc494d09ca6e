"""The score: quiet on honest bots, loud on what no honest bot does, exact on replay, and small."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.anomaly import (
    FEATURES,
    WARM_UP_MESSAGES,
    BotProfile,
    Feature,
    Observation,
    Score,
    observation,
    observe,
    record_cancellation,
    record_execution,
    record_outcome,
    worse_bps,
)
from streams.core.baseline import ProfileRowError
from streams.core.executions import ExecType, ExecutionReport
from streams.core.orders import OrdType, Side
from tests.gate_world import NOON, ORDER, REFERENCE, S_US, eur, make_order, price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET = Path(__file__).parents[3] / "shared" / "data" / "ticks_quiet"
BREAKER, KILL = 0.75, 0.85


class HonestBot:
    """An honest bot with seeded habits: sizes, prices and pauses that vary, about one message a second."""

    def __init__(self, seed: int, *, poisson: bool = False, size_spread: float = 0.2) -> None:
        self.random = random.Random(seed)
        self.profile = BotProfile()
        self.at_us = NOON
        self.poisson = poisson
        self.size_spread = size_spread
        self.highest = 0.0

    def observation(self, **changes: Any) -> Observation:
        value = eur("1000") * math.exp(self.random.gauss(0, self.size_spread))
        usual = Observation(self.at_us, self.random.random() < 0.5, int(value), abs(self.random.gauss(0, 5)))
        return usual._replace(**changes)

    def send(self, **changes: Any) -> Score:
        pause_s = self.random.expovariate(1) if self.poisson else self.random.uniform(0.5, 1.5)
        self.at_us += int(changes.pop("pause_s", pause_s) * S_US)
        score = observe(self.profile, self.observation(**changes))
        record_outcome(self.profile, rejected=False)
        self.highest = max(self.highest, score.value)
        return score

    def established(self, messages: int = 500) -> HonestBot:
        for _ in range(messages):
            self.send()
        return self


def buying(value_e5: int | None, distance_bps: float | None) -> Observation:
    return Observation(received_us=NOON, buy=True, value_e5=value_e5, distance_bps=distance_bps)


BOTS: list[Callable[[int], HonestBot]] = [
    HonestBot,
    lambda seed: HonestBot(seed, poisson=True),
    lambda seed: HonestBot(seed, size_spread=0.35),
]
each_bot = pytest.mark.parametrize("make", BOTS, ids=["regular", "poisson", "varied sizes"])
each_seed = pytest.mark.parametrize("seed", range(5))


@each_bot
@each_seed
def test_an_honest_bot_does_not_reach_the_breaker(make: Callable[[int], HonestBot], seed: int) -> None:
    assert make(seed).established(5_000).highest < BREAKER


@each_bot
@each_seed
def test_a_size_twenty_times_the_usual_opens_the_breaker(make: Callable[[int], HonestBot], seed: int) -> None:
    score = make(seed).established().send(value_e5=eur("20000"))
    assert BREAKER < score.value < KILL
    assert max(score.contributions, key=score.contributions.__getitem__) == "notional"


@each_bot
@each_seed
def test_a_burst_of_a_hundred_times_the_rate_opens_the_breaker(make: Callable[[int], HonestBot], seed: int) -> None:
    bot = make(seed).established()
    scores = [bot.send(pause_s=0.01) for _ in range(100)]
    worst = max(scores, key=lambda score: score.value)
    assert worst.value > BREAKER
    assert max(worst.contributions, key=worst.contributions.__getitem__) in {"burst", "rate"}


@each_bot
@each_seed
def test_a_price_five_per_cent_off_opens_the_breaker(make: Callable[[int], HonestBot], seed: int) -> None:
    score = make(seed).established().send(distance_bps=500.0)
    assert BREAKER < score.value < KILL
    assert max(score.contributions, key=score.contributions.__getitem__) == "price"


@each_bot
@each_seed
def test_two_extremes_at_once_reach_the_kill(make: Callable[[int], HonestBot], seed: int) -> None:
    assert make(seed).established().send(value_e5=eur("20000"), distance_bps=500.0).value > KILL


@each_seed
def test_the_same_attack_alarms_again_the_next_time(seed: int) -> None:
    bot = HonestBot(seed).established()
    for _ in range(5):
        assert bot.send(value_e5=eur("20000")).value > BREAKER
        for _ in range(60):
            bot.send()


def test_a_bot_that_always_sends_fast_is_not_fast() -> None:
    bot = HonestBot(3)
    assert max(bot.send(pause_s=0.02).value for _ in range(2_000)) < BREAKER


def test_one_long_silence_does_not_blind_the_rate() -> None:
    bot = HonestBot(4).established()
    bot.send(pause_s=15 * 3600)
    for _ in range(30):
        bot.send()
    assert max(bot.send(pause_s=0.02).value for _ in range(50)) > BREAKER


# The first messages.


@each_seed
def test_a_newcomers_noise_does_not_reach_the_breaker(seed: int) -> None:
    chance = random.Random(seed)
    profile = BotProfile()
    at_us = NOON
    for _ in range(WARM_UP_MESSAGES):
        at_us += chance.choice([0, 1, 10**6, 10**9])
        seen = Observation(at_us, chance.random() < 0.5, 10 ** chance.randrange(12), chance.uniform(0, 50))
        assert observe(profile, seen).value < BREAKER


def test_a_newcomer_is_judged_by_its_distance_from_the_reference() -> None:
    assert observe(BotProfile(), buying(1, 50.0)).value < 0.2
    assert observe(BotProfile(), buying(1, 499.0)).value < BREAKER
    far = observe(BotProfile(), buying(1, 501.0))
    assert BREAKER < far.value < KILL
    assert far.contributions["price"] == pytest.approx(far.value)


def test_rejections_raise_the_score_but_never_to_the_breaker_alone() -> None:
    bot = HonestBot(5).established(100)
    for _ in range(200):
        record_outcome(bot.profile, rejected=True)
    score = bot.send()
    assert 0.2 < score.contributions["rejects"] <= score.value < BREAKER
    for _ in range(200):
        record_outcome(bot.profile, rejected=False)
    assert "rejects" not in bot.send().contributions


def test_cancelling_more_than_usual_is_seen_and_is_weak_evidence() -> None:
    bot = HonestBot(9).established(400)
    for _ in range(100):
        record_cancellation(bot.profile)
    score = bot.send()
    assert 0.3 < score.contributions["cancels"] <= score.value < BREAKER


def test_executions_worse_than_usual_count_with_the_next_orders_and_fade() -> None:
    bot = HonestBot(10).established(400)
    for _ in range(400):
        record_execution(bot.profile, worse_bps=bot.random.gauss(0, 2))
    bot.send()
    record_execution(bot.profile, worse_bps=300.0)
    score = bot.send()
    assert 0.4 < score.contributions["slippage"] <= score.value < BREAKER
    for _ in range(60):
        score = bot.send()
    assert score.contributions.get("slippage", 0.0) < 0.01


@pytest.mark.parametrize(("side", "worse"), [(Side.BUY, 5.0), (Side.SELL, -5.0)])
def test_slippage_is_what_the_bot_lost(side: Side, worse: float) -> None:
    report = ExecutionReport(
        agent_id="b",
        exec_id="e",
        order_id="o",
        cl_ord_id="c",
        exec_type=ExecType.FILL,
        symbol=REFERENCE.symbol,
        side=side,
        last_qty_e17=1,
        last_px_e13=price("60030"),
        cum_qty_e17=1,
        leaves_qty_e17=0,
        last_mkt="XXXX",
        counterparty=None,
        transact_time_us=NOON,
    )
    assert worse_bps(report, REFERENCE) == pytest.approx(worse)


def test_turning_to_one_side_is_seen_and_is_weak_evidence() -> None:
    bot = HonestBot(6).established(1_000)
    scores = [bot.send(buy=True) for _ in range(60)]
    assert scores[0].value < 0.5
    assert max(score.contributions.get("side", 0.0) for score in scores) > 0.1
    assert max(score.value for score in scores) < BREAKER


# Real tapes: every trade an order of one of some bots.


def tape(name: str) -> Iterator[tuple[int, bool, float, float]]:
    path = QUIET / name
    if not path.exists():
        pytest.skip(f"{name} is not in the shared data folder")
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            at_us = int(row["local_timestamp"]) if "local_timestamp" in row else int(row["timestamp_ms"]) * 1_000
            yield at_us, row["side"] == "buy", float(row["price"]), float(row["amount"])


@pytest.mark.parametrize("bots", [4, 16])
@pytest.mark.parametrize(
    "name",
    ["tardis_binance_futures_BTCUSDT_2020-02-22.trades.csv.gz", "binance_spot_XRPETH_2019-10-11_13.trades.csv.gz"],
)
def test_bots_that_trade_a_quiet_tape_do_not_alarm(name: str, bots: int) -> None:
    chance = random.Random(bots)
    profiles = [BotProfile() for _ in range(bots)]
    messages = 0
    previous: float | None = None
    for at_us, buy, traded, amount in tape(name):
        distance = abs(traded - previous) / previous * 10_000 if previous else 0.0
        previous = traded
        seen = Observation(at_us, buy, int(traded * amount * 1e5) + 1, distance, amount)
        assert observe(chance.choice(profiles), seen).value <= BREAKER
        messages += 1
    assert messages > 9_000


# What an order shows.


def test_an_observation_holds_value_side_and_distance() -> None:
    order = make_order(price_e13=price("60030"), side=Side.SELL)
    assert observation(order, NOON, 7, REFERENCE) == buying(7, 5.0)._replace(buy=False)
    assert observation(ORDER, NOON, None, None) == buying(None, None)
    market = make_order(ord_type=OrdType.MARKET, price_e13=None)
    assert observation(market, NOON, 7, REFERENCE).distance_bps is None
    assert observation(order, NOON, 7, replace(REFERENCE, price_e13=0)).distance_bps is None
    assert observation(order, NOON, 7, REFERENCE, 4 * order.order_qty_e17).share_of_limit == 0.25


def test_what_is_not_known_neither_counts_nor_teaches() -> None:
    bot = HonestBot(7).established(200)
    features = (Feature.NOTIONAL, Feature.SIZE, Feature.PRICE)
    before = [bot.profile.baselines[feature].cells() for feature in features]
    score = bot.send(value_e5=None, distance_bps=None)
    assert not score.contributions.keys() & {"notional", "size", "price"}
    assert [bot.profile.baselines[feature].cells() for feature in features] == before


# Rows and totality.


def test_a_profile_survives_its_row_and_scores_the_same_afterwards() -> None:
    bot = HonestBot(8, poisson=True).established(777)
    record_outcome(bot.profile, rejected=True)
    row = bot.profile.to_row()
    again = BotProfile.from_row(json.loads(json.dumps(row)))
    assert again.to_row() == row
    for step in range(100):
        seen = Observation(bot.at_us + step * 40_000, step % 3 == 0, 10**8 + step * 10**7, float(step))
        assert observe(again, seen) == observe(bot.profile, seen)
    assert again.to_row() == bot.profile.to_row()


@pytest.mark.parametrize("row", [[], [2], [1, *BotProfile().to_row()[1:]], [*BotProfile().to_row(), 0]])
def test_a_row_of_another_version_is_refused(row: list[Any]) -> None:
    with pytest.raises(ProfileRowError):
        BotProfile.from_row(row)


OBSERVATIONS = st.builds(
    Observation,
    received_us=st.integers(-(2**62), 2**62),
    buy=st.booleans(),
    value_e5=st.none() | st.integers(-(10**38), 10**76),
    distance_bps=st.none() | st.floats(0, 1e60),
    share_of_limit=st.none() | st.floats(-1, 1e60),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(OBSERVATIONS, st.booleans()), max_size=120))
def test_any_sequence_gives_scores_between_zero_and_one(sequence: list[tuple[Observation, bool]]) -> None:
    profile = BotProfile()
    for seen, rejected in sequence:
        score = observe(profile, seen)
        record_outcome(profile, rejected=rejected)
        assert 0.0 <= score.value <= 1.0
        assert set(score.contributions) <= set(FEATURES)
        assert all(share >= 0.0 for share in score.contributions.values())
        assert sum(score.contributions.values()) == pytest.approx(score.value)
    assert all(math.isfinite(cell) for cell in profile.to_row())
