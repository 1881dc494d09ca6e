from __future__ import annotations

import tomllib

from streams.names import LANE_OUTPUTS, LANE_SOURCES, Topic, generation_of, log_name
from streams.resources import resource
from streams.topics import load_topology


def test_the_topology_and_the_code_know_the_same_topics() -> None:
    assert {topic.name for topic in load_topology().topics} == {str(topic) for topic in Topic}


def test_what_a_lane_reads_has_a_partition_for_each_lane() -> None:
    topology = load_topology()
    by_name = {topic.name: topic for topic in topology.topics}
    keyed = (*LANE_SOURCES, Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS)
    assert {by_name[name].partitions for name in keyed} == {topology.lanes}


def test_a_lane_writes_what_the_worker_may_write() -> None:
    rules = tomllib.loads(resource("topology/acls.toml").read_text(encoding="utf-8"))
    parties = set(rules["principals"]["worker"]["parties"])
    assert {topic.name for topic in load_topology().topics if parties & set(topic.producers)} == set(LANE_OUTPUTS)


def test_an_identifier_says_in_which_generation_of_logs_it_was_given() -> None:
    assert [f"{log_name(3, generation)}-57" for generation in (1, 2, 12)] == ["3-57", "g2.3-57", "g12.3-57"]
    assert [generation_of(name) for name in ("3-57", "g2.3-57", "g12.3-57", "gx.3-57", "")] == [1, 2, 12, 1, 1]
