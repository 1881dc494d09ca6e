"""The tally finds nothing in a right run, and every fault that is planted in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streams.kafka.reading import Stored
from streams.names import Topic
from streams.rig.tally import Marks, Tally
from streams.wire.avro import Schema, decode, encode
from streams.wire.devpki import log_signer
from tests.sim_world import Kept, World

TALLIED = (
    Topic.ORDERS_REQUESTED,
    Topic.ORDERS_APPROVED,
    Topic.ORDERS_REJECTED,
    Topic.ORDERS_DEAD_LETTER,
    Topic.AUDIT_EVENTS,
    Topic.AUDIT_CHECKPOINTS,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("world"))
    made.prices()
    made.register_all()
    made.run(400, seed=3)
    return made


def records_of(world: World) -> list[Stored]:
    """Return what the tally reads: as a consumer does, topic by topic, so that verdicts come before their leaves."""
    kept = sorted((r for r in world.records if r.topic in TALLIED), key=lambda r: TALLIED.index(Topic(r.topic)))
    return [stored(record) for record in kept]


def stored(record: Kept) -> Stored:
    return Stored(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_us,
        record.key or b"",
        record.value or b"",
        record.headers,
    )


def tally_of(world: World, records: list[Stored], folder: Path | None = None) -> Tally:
    keys = folder or world.folder
    tally = Tally([log_signer(keys, f"test.example/{number}").verifier for number in world.lanes])
    for record in records:
        tally.take(record)
    return tally


def of_topic(records: list[Stored], topic: Topic) -> list[Stored]:
    return [record for record in records if record.topic == topic]


def test_a_right_run_has_nothing_wrong(world: World) -> None:
    tally = tally_of(world, records_of(world))
    assert tally.requested.total() == 400
    assert tally.unanswered(tally.requested) == 0
    assert tally.first_unanswered(tally.requested) == "every order has its verdict"
    assert tally.approved > 100
    assert all(log.size > 0 and log.unproven == 0 for log in tally.logs.values())
    assert tally.counts.problems == []
    assert (tally.counts.duplicated, tally.counts.limit_breaches, tally.counts.log_forks) == (0, 0, 0)


def test_the_order_of_topics_does_not_matter(world: World) -> None:
    records = records_of(world)
    tally = tally_of(world, [record for topic in reversed(TALLIED) for record in of_topic(records, topic)])
    assert tally.unanswered(tally.requested) == 0
    assert tally.counts.log_forks == 0


@pytest.mark.parametrize("topic", [Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER])
def test_an_answer_that_is_missing_is_a_lost_order(world: World, topic: Topic) -> None:
    records = records_of(world)
    gone = of_topic(records, topic)[0]
    tally = tally_of(world, [record for record in records if record is not gone])
    assert tally.unanswered(tally.requested) == 1
    assert tally.first_unanswered(tally.requested).endswith("has no verdict")


@pytest.mark.parametrize("topic", [Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER])
def test_an_answer_that_comes_again_is_a_duplicate(world: World, topic: Topic) -> None:
    records = records_of(world)
    again = replace(of_topic(records, topic)[0], offset=10_000)
    tally = tally_of(world, [*records, again])
    assert tally.counts.duplicated == 1
    assert "was answered before" in tally.counts.problems[0]


def test_an_answer_in_another_partition_is_a_duplicate(world: World) -> None:
    records = records_of(world)
    one = of_topic(records, Topic.ORDERS_APPROVED)[0]
    moved = replace(one, partition=1 - one.partition)
    assert tally_of(world, [moved if record is one else record for record in records]).counts.duplicated == 1


def test_a_leaf_that_is_missing_is_a_fork_and_a_lost_event(world: World) -> None:
    records = records_of(world)
    orders = [r for r in of_topic(records, Topic.AUDIT_EVENTS) if kind_of(r) == "ORDER_REJECTED"]
    tally = tally_of(world, [record for record in records if record is not orders[5]])
    assert tally.counts.log_forks > 0
    assert tally.unanswered(tally.requested) == 1
    assert tally.first_unanswered(tally.requested).endswith("has no audit event")


def test_a_leaf_that_comes_again_is_a_duplicate_and_a_fork(world: World) -> None:
    records = records_of(world)
    orders = [r for r in of_topic(records, Topic.AUDIT_EVENTS) if kind_of(r) == "ORDER_REJECTED"]
    tally = tally_of(world, [*records, replace(orders[-1], offset=10_000)])
    assert (tally.counts.duplicated, tally.counts.log_forks) == (1, 1)


def kind_of(record: Stored) -> str:
    return str(decode(Schema.AUDIT_EVENT, record.value)["event_type"])


def test_a_log_that_begins_anew_is_a_fork(world: World) -> None:
    records = records_of(world)
    heads = [r for r in of_topic(records, Topic.AUDIT_CHECKPOINTS) if r.partition == 0]
    again = replace(heads[0], offset=10_000)
    tally = tally_of(world, [*records, again])
    assert tally.counts.log_forks == 1
    assert "is not that of the leaves" in tally.counts.problems[0]


def test_a_leaf_that_was_changed_is_a_fork(world: World) -> None:
    records = records_of(world)
    leaf = next(r for r in of_topic(records, Topic.AUDIT_EVENTS) if kind_of(r) == "ORDER_APPROVED")
    event = decode(Schema.AUDIT_EVENT, leaf.value) | {"outcome": "CHANGED"}
    changed = replace(leaf, value=encode(Schema.AUDIT_EVENT, event))
    tally = tally_of(world, [changed if record is leaf else record for record in records])
    assert tally.counts.log_forks > 0


def test_checkpoints_of_another_key_are_forks(world: World, tmp_path: Path) -> None:
    tally = tally_of(world, records_of(world), folder=World(tmp_path / "other").folder)
    assert tally.counts.log_forks == len(of_topic(records_of(world), Topic.AUDIT_CHECKPOINTS))


def test_more_than_a_day_may_have_is_a_breach(world: World) -> None:
    records = records_of(world)
    leaves = of_topic(records, Topic.AUDIT_EVENTS)
    registered = next(r for r in leaves if kind_of(r) == "AGENT_REGISTERED" and b"maker-01" in r.value)
    event = decode(Schema.AUDIT_EVENT, registered.value)
    agent = decode(Schema.AGENT_RECORD, event["subject"])
    policy = json.loads(agent["policy"])
    policy["scope"]["max_daily_value_eur"] = "0.01"
    event["subject"] = encode(Schema.AGENT_RECORD, agent | {"policy": json.dumps(policy).encode()})
    changed = replace(registered, value=encode(Schema.AUDIT_EVENT, event))
    # Leaves first, so that limits are known before the approvals come.
    tally = tally_of(world, [*(changed if r is registered else r for r in leaves), *not_leaves(records)])
    assert tally.counts.limit_breaches > 0
    assert "maker-01 was approved" in next(problem for problem in tally.counts.problems if "approved" in problem)


def not_leaves(records: list[Stored]) -> list[Stored]:
    return [record for record in records if record.topic != Topic.AUDIT_EVENTS]


def test_requests_with_a_gap_are_told(world: World) -> None:
    requests = of_topic(records_of(world), Topic.ORDERS_REQUESTED)
    tally = tally_of(world, [record for record in requests if record is not requests[3]])
    assert "after a gap" in tally.counts.problems[0]


def test_marks_know_what_is_missing() -> None:
    marks = Marks()
    assert marks.set(5)
    assert not marks.set(5)
    assert marks.set(5_000)
    assert marks.missing(6) == 5
    assert marks.first_missing(5_001) == 0
    assert marks.missing(20_000) == 19_998
    for offset in range(5):
        marks.set(offset)
    assert marks.first_missing(6) is None
    assert marks.first_missing(7) == 6
    assert Marks().first_missing(1) == 0
