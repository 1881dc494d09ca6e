"""The market watch in a lane: it stops a market that runs away, tells everybody, and opens it again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streams.agents.markets import MARKET_PROBES
from streams.core.orders import Activity, TradingState
from streams.names import Topic
from streams.sim.fleet import fleet
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_audit_event
from tests.sim_world import World

if TYPE_CHECKING:
    from pathlib import Path

S_US = 1_000_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, fleet(1))


def play(world: World, symbol: str, moves: list[float], *, step_us: int = 500_000) -> None:
    market = world.markets[symbol]
    price = float(market.first_price_e13)
    for move in moves:
        price *= 1.0 + move
        world.now_us += step_us
        world.price(market.reference(int(price), world.now_us, Activity(10**17, 0, 0)))
        world.decide()


def values(world: World, topic: Topic, schema: Schema) -> list[dict[str, Any]]:
    return [decode(schema, record.value or b"") for record in world.records if record.topic == topic]


def test_a_fall_of_thirty_per_cent_in_five_seconds_opens_the_market_breaker_once(world: World) -> None:
    symbol = min(world.markets)
    play(world, symbol, [0.0] * 20)
    assert not values(world, Topic.RISK_CIRCUIT_BREAKERS, Schema.BREAKER_EVENT)
    play(world, symbol, [0.0, *[-0.035] * 10])
    (event,) = values(world, Topic.RISK_CIRCUIT_BREAKERS, Schema.BREAKER_EVENT)
    assert (event["scope"], event["target"], event["state"]) == ("MARKET", symbol, "REDUCING")
    assert event["score"] > 0.75
    assert set(event["features"]) == {"fall"}
    (alert,) = values(world, Topic.RISK_ALERTS, Schema.ALERT)
    assert (alert["kind"], alert["symbol"]) == ("MARKET_REDUCING", symbol)
    logged = [decode_audit_event(r.value or b"")[0] for r in world.records if r.topic == Topic.AUDIT_EVENTS]
    scores = [one.score.value for one in logged if one.event_type == "BREAKER_CHANGED" and one.score is not None]
    assert scores[0] == event["score"]


def test_a_market_opens_again_after_calm_prices(world: World) -> None:
    symbol = min(world.markets)
    play(world, symbol, [0.0, 0.2, 0.0])
    market = world.markets[symbol]
    raised = market.first_price_e13 * 6 // 5
    for _ in range(2 * MARKET_PROBES):
        world.now_us += 30 * S_US
        world.price(market.reference(raised, world.now_us))
        world.decide()
    states = [event["state"] for event in values(world, Topic.RISK_CIRCUIT_BREAKERS, Schema.BREAKER_EVENT)]
    assert states == ["REDUCING", "ACTIVE"]
    assert world.references.market_state(symbol, -1) is TradingState.ACTIVE


def test_what_is_no_price_of_its_key_changes_nothing(world: World) -> None:
    market = next(iter(world.markets.values()))
    before = len(world.records)
    world.produce(Topic.MARKETS_REFERENCE, b"X", b"garbage", partition=0)
    world.produce(Topic.MARKETS_REFERENCE, b"X", None, partition=0)
    world.price(market.reference(0, world.now_us))
    world.decide()
    assert len(world.records) == before + 3
