"""Hostile messages: every attack comes, each gets a verdict or a dead letter, and the gate goes on deciding."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from streams.names import Topic
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, fleet
from streams.sim.hostile import Attack, HostileMessage, hostile_messages
from streams.sim.hostile_bodies import crafted, order_parts
from streams.sim.oracle import judge
from streams.wire.avro import body_of
from streams.wire.decisions import decode_verdict
from streams.wire.messages import encode_order
from tests.sim_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 1_800


def attack(world: World, seed: int, count: int = COUNT) -> Iterator[HostileMessage]:
    return hostile_messages(world.bots, world.keys, count, seed, markets=world.markets, clock=lambda: world.now_us)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[tuple[int, int], Attack]]:
    world = World(tmp_path_factory.mktemp("attacked"), fleet(20, GOOD_HABITS))
    world.register_all()
    sent = {}
    for number, message in enumerate(attack(world, 3)):
        world.now_us += 20_000
        if number % 10 == 0:
            world.prices()
        record = world.produce(Topic.ORDERS_REQUESTED, message.key, message.value, message.headers)
        sent[record.partition, record.offset] = message.attack
        if number % 30 == 29:
            world.decide()
    world.decide()
    world.decide()
    return world, sent


def test_each_message_gets_a_verdict_or_a_dead_letter(
    attacked: tuple[World, dict[tuple[int, int], Attack]],
) -> None:
    world, sent = attacked
    answered: Counter[tuple[int, int]] = Counter()
    for record in world.records:
        if record.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED):
            answered[record.partition, decode_verdict(record.value or b"").request_offset] += 1
        elif record.topic == Topic.ORDERS_DEAD_LETTER:
            answered[record.partition, int(dict(record.headers)["source-offset"])] += 1
    assert len(sent) == COUNT
    assert answered == dict.fromkeys(sent, 1)


def test_the_oracle_agrees_with_what_was_decided(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    report = judge(attacked[0].history())
    assert not report.mismatches, str(report)[:4000]
    assert 500 < report.orders < COUNT - 500


def test_a_bystander_is_not_harmed(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    world, sent = attacked
    approved = 0
    for record in world.records:
        if record.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED):
            verdict = decode_verdict(record.value or b"")
            if sent[record.partition, verdict.request_offset] is Attack.NOTHING:
                assert verdict.approved, verdict
                approved += 1
    assert approved == COUNT // len(Attack)


def test_every_attack_comes_equally_often(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    assert Counter(attacked[1].values()) == dict.fromkeys(Attack, COUNT // len(Attack))


def test_the_same_seed_gives_the_same_bytes(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    world = attacked[0]
    first, again, other = (list(attack(world, seed, 400)) for seed in (9, 9, 10))
    assert [(m.attack, m.key, m.value) for m in first] == [(m.attack, m.key, m.value) for m in again]
    assert [m.value for m in first] != [m.value for m in other]


def test_messages_fit_through_a_broker(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    messages = list(attack(attacked[0], 4, 3_000))
    sizes = [len(m.value or b"") + len(m.key or b"") + sum(len(n) + len(v) for n, v in m.headers) for m in messages]
    assert max(sizes) > 100_000
    assert max(sizes) < 1_000_000
    assert sum(sizes) / len(sizes) < 2_000


def test_a_body_put_together_by_hand_is_the_encoders(attacked: tuple[World, dict[tuple[int, int], Attack]]) -> None:
    world = attacked[0]
    for message in plan(world.ticks, world.bots, 300, 1, markets=world.markets):
        order = message.order
        assert crafted(order_parts(order)) == body_of(encode_order(order))


def test_one_bot_alone_can_be_attacked(tmp_path: Path) -> None:
    world = World(tmp_path, fleet(1))
    assert len(list(attack(world, 1, 100))) == 100
