import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.names import Topic
from streams.topics import Drift, DriftKind, Topology, TopologyError, load_topology, render_flow
from streams.topics.asyncapi import asyncapi_document
from streams.topics.drift import LiveCluster, LiveTopic, compare, replicas_for, settings_for
from streams.topics.flow import with_flow
from streams.topics.rules import CHANGE_RULES, Change, is_safe

ROOT = Path(__file__).parents[2]
DAY_MS = 86_400_000
YEAR_MS = 366 * DAY_MS

MINIMAL = """
lanes = 2
replicas = 3
min_insync_replicas = 2
[topics."orders.requested"]
purpose = "p"
key = "k"
value = "v"
producers = ["bots"]
consumers = ["gate"]
cleanup = "delete"
retention = "7 d"
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_topology()


def config_of(topology: Topology, name: str) -> dict[str, str]:
    return dict(next(topic.config for topic in topology.topics if topic.name == name))


def written(folder: Path, text: str) -> Path:
    path = folder / "topics.toml"
    path.write_text(text)
    return path


def matching(topology: Topology, brokers: int = 1) -> LiveCluster:
    """Return a cluster that is as the topology wants it."""
    replicas = min(topology.replicas, brokers)
    live = {}
    for topic in topology.topics:
        settings = settings_for(topology, topic, replicas)
        live[topology.name_of(topic)] = LiveTopic(
            partitions=topic.partitions,
            replicas=replicas,
            has_leaders=True,
            settings={**settings, "segment.bytes": "1073741824"},
            overrides=frozenset(settings),
        )
    return LiveCluster(brokers=brokers, topics=live)


def changed(live: LiveCluster, name: str, **changes: object) -> LiveCluster:
    return replace(live, topics={**live.topics, name: replace(live.topics[name], **changes)})  # type: ignore[arg-type]


# The shipped topology


def test_the_topics_are_the_public_names(topology: Topology) -> None:
    assert {topic.name for topic in topology.topics} == set(Topic)


def test_each_schema_has_a_topic(topology: Topology) -> None:
    ids = json.loads((ROOT / "schemas" / "avro" / "ids.json").read_text())
    assert {schema for topic in topology.topics for schema in topic.schemas} == set(ids)


def test_one_partition_count_for_all(topology: Topology) -> None:
    assert {topic.partitions for topic in topology.topics} == {topology.lanes} == {4}
    assert {topic.partitions for topic in load_topology(lanes=7).topics} == {7}


def test_the_broker_dates_every_record(topology: Topology) -> None:
    assert {topic.config["message.timestamp.type"] for topic in topology.topics} == {"LogAppendTime"}


@pytest.mark.parametrize(
    ("name", "days"),
    [
        (Topic.ORDERS_REQUESTED, 7),
        (Topic.ORDERS_APPROVED, 7),
        (Topic.ORDERS_REJECTED, 7),
        (Topic.ORDERS_DEAD_LETTER, 30),
        (Topic.TRADES_EXECUTED, 7),
        (Topic.AGENTS_COMMANDS, 5 * 366),
        (Topic.RISK_ALERTS, 366),
        (Topic.VENUE_COMMANDS, 7),
    ],
)
def test_records_are_deleted_by_age(topology: Topology, name: str, days: int) -> None:
    config = config_of(topology, name)
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == str(days * DAY_MS)


@pytest.mark.parametrize("name", [Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS, Topic.REPORTS_REGULATOR])
def test_the_log_is_never_deleted(topology: Topology, name: str) -> None:
    config = config_of(topology, name)
    assert (config["cleanup.policy"], config["retention.ms"], config["retention.bytes"]) == ("delete", "-1", "-1")


def test_breakers_keep_five_years_and_then_the_last_state_for_ever(topology: Topology) -> None:
    config = config_of(topology, Topic.RISK_CIRCUIT_BREAKERS)
    assert config["cleanup.policy"] == "compact"
    assert config["min.compaction.lag.ms"] == str(5 * YEAR_MS)
    assert config["retention.ms"] == "-1"


def test_strangers_cannot_store_compressed_records(topology: Topology) -> None:
    outsiders = {"bots", "venue adapters", "market data", "operator CLI", "desk", "enforcer"}
    for topic in topology.topics:
        strange = bool(outsiders & set(topic.producers))
        assert (topic.config["compression.type"] == "uncompressed") == strange, topic.name


def test_a_dead_letter_holds_the_largest_request(topology: Topology) -> None:
    request = int(config_of(topology, Topic.ORDERS_REQUESTED)["max.message.bytes"])
    assert int(config_of(topology, Topic.ORDERS_DEAD_LETTER)["max.message.bytes"]) > request + 1000


# Reading


def test_a_minimal_file_is_read(tmp_path: Path) -> None:
    topology = load_topology(written(tmp_path, MINIMAL))
    assert [(t.name, t.partitions, t.kept, t.value) for t in topology.topics] == [("orders.requested", 2, "7 d", "v")]


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = """
lanes = 0
replicas = 2
min_insync_replicas = 3
colour = "red"
[config]
"flush.ms" = "1"
[topics."Orders"]
purpose = 7
key = "k"
schemas = ["no-such.v1"]
value = "also"
producers = []
consumers = ["a", "a"]
cleanup = "shred"
[topics."orders.requested"]
purpose = "p"
key = "k"
producers = ["a"]
consumers = ["b"]
cleanup = "delete"
retention = "soon"
history = "1 d"
[topics."agents.registry"]
purpose = "p"
key = "k"
value = "v"
producers = ["a"]
consumers = ["b"]
cleanup = "compact"
retention = "1 d"
config = { "segment.ms" = 5 }
"""
    with pytest.raises(TopologyError) as caught:
        load_topology(written(tmp_path, text), prefix="no dot")
    for part in (
        "lanes must be 1 to 1024, is 0",
        "min_insync_replicas must be 1 to 2, is 3",
        "the file.colour is not a field",
        "the file.config: flush.ms is not a setting",
        "Orders: a name is two words",
        "Orders.purpose must be str, is 7",
        "there is no schemas/avro/no-such.v1.avsc",
        "Orders: either schemas or value",
        "Orders.producers must name at least one",
        "Orders.consumers must be different words",
        "Orders.cleanup must be one of delete, compact, is 'shred'",
        "orders.requested: either schemas or value",
        "orders.requested.retention must read as '7 d'",
        "orders.requested.history is for compacted topics",
        "agents.registry.retention would drop the last state",
        "agents.registry.config.segment.ms must be text, is 5",
        "prefix must be",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('retention = "7 d"', "", "orders.requested.retention is missing"),
        ('retention = "7 d"', 'retention = "07 d"', "must read as"),
        ('retention = "7 d"', 'retention = "7 days"', "must read as"),
        ("lanes = 2", "lanes = true", "the file.lanes must be int, is True"),
        ("lanes = 2", 'lanes = "2"', "the file.lanes must be int"),
        ("lanes = 2", "", "the file.lanes is missing"),
        ('key = "k"', 'key = ""', "orders.requested.key is empty"),
        ("[topics", "[topicz", "there is none"),
        ("lanes = 2", "lanes = = 2", "Invalid"),
    ],
)
def test_one_mistake_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in MINIMAL
    with pytest.raises(TopologyError, match=problem):
        load_topology(written(tmp_path, MINIMAL.replace(old, new, 1)))


def test_a_missing_file_is_a_topology_error(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        load_topology(tmp_path / "none.toml")


@pytest.mark.parametrize("prefix", ["drill-1", "a b.", "ä.", ".", "x" * 101 + "."])
def test_a_bad_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(TopologyError, match="prefix"):
        load_topology(prefix=prefix)


@pytest.mark.parametrize("lanes", [0, -1, 1025])
def test_a_bad_lane_count_is_refused(lanes: int) -> None:
    with pytest.raises(TopologyError, match="lanes must be 1 to 1024"):
        load_topology(lanes=lanes)


# Comparing


@pytest.mark.parametrize("brokers", [1, 2, 3, 5])
def test_a_cluster_as_wanted_has_no_drift(topology: Topology, brokers: int) -> None:
    assert compare(topology, matching(topology, brokers)) == ()


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (5, 3, "2")])
def test_copies_follow_the_number_of_brokers(topology: Topology, brokers: int, replicas: int, in_sync: str) -> None:
    assert replicas_for(topology, LiveCluster(brokers=brokers, topics={})) == replicas
    assert settings_for(topology, topology.topics[0], replicas)["min.insync.replicas"] == in_sync


def test_a_broker_that_is_down_lowers_nothing(topology: Topology) -> None:
    assert compare(topology, replace(matching(topology, 3), brokers=2)) == ()


def test_an_empty_cluster_lacks_every_topic(topology: Topology) -> None:
    drifts = compare(topology, LiveCluster(brokers=1, topics={}))
    assert [drift.topic for drift in drifts] == [topic.name for topic in topology.topics]
    assert {(drift.kind, drift.safe) for drift in drifts} == {(DriftKind.MISSING, True)}


@pytest.mark.parametrize(
    ("partitions", "kind"), [(3, DriftKind.TOO_FEW_PARTITIONS), (5, DriftKind.TOO_MANY_PARTITIONS)]
)
def test_another_partition_count_is_refused(topology: Topology, partitions: int, kind: DriftKind) -> None:
    live = changed(matching(topology), "orders.requested", partitions=partitions)
    (drift,) = compare(topology, live)
    assert drift == Drift(topic="orders.requested", kind=kind, safe=False, wanted="4", found=str(partitions))
    assert f"({partitions}, wanted 4)" in str(drift)


def test_a_topic_with_too_few_copies_is_refused(topology: Topology) -> None:
    live = changed(matching(topology, 3), "audit.events", replicas=2)
    kinds = {(drift.kind, drift.safe) for drift in compare(topology, live)}
    assert (DriftKind.TOO_FEW_REPLICAS, False) in kinds


@pytest.mark.parametrize(
    ("setting", "found", "safe"),
    [
        ("retention.ms", str(DAY_MS), True),
        ("retention.ms", str(8 * DAY_MS), False),
        ("retention.ms", "-1", False),
        ("retention.bytes", "1000", True),
        ("max.message.bytes", "1000", True),
        ("max.message.bytes", "9000000", False),
        ("cleanup.policy", "compact", False),
        ("message.timestamp.type", "CreateTime", False),
        ("compression.type", "zstd", True),
        ("unclean.leader.election.enable", "true", True),
        ("min.insync.replicas", "2", False),
    ],
)
def test_a_setting_is_mended_only_where_nothing_is_lost(
    topology: Topology, setting: str, found: str, *, safe: bool
) -> None:
    live = matching(topology)
    settings = {**live.topics["orders.requested"].settings, setting: found}
    (drift,) = compare(topology, changed(live, "orders.requested", settings=settings))
    assert (drift.kind, drift.setting, drift.found, drift.safe) == (DriftKind.SETTING, setting, found, safe)
    assert ("not changed" in str(drift)) != safe


def test_a_setting_nobody_wrote_down_is_reported(topology: Topology) -> None:
    live = matching(topology)
    topic = live.topics["audit.events"]
    overrides = topic.overrides | {"segment.bytes", "leader.replication.throttled.replicas"}
    (drift,) = compare(topology, changed(live, "audit.events", overrides=overrides))
    assert (drift.kind, drift.setting, drift.safe) == (DriftKind.STRAY_SETTING, "segment.bytes", False)
    assert "segment.bytes is 1073741824" in str(drift)


def test_only_unknown_topics_of_our_families_are_reported(topology: Topology) -> None:
    live = matching(topology)
    other = live.topics["orders.requested"]
    names = ("orders.old", "audit.events2", "portcullis-tables-changelog", "payments.in", "drill-1.orders.requested")
    drifts = compare(topology, replace(live, topics={**live.topics, **dict.fromkeys(names, other)}))
    assert [(drift.topic, drift.kind, drift.safe) for drift in drifts] == [
        ("audit.events2", DriftKind.UNKNOWN, False),
        ("orders.old", DriftKind.UNKNOWN, False),
    ]


def test_an_isolated_run_sees_its_own_topics_alone(topology: Topology) -> None:
    drill = topology.isolated("drill-1.")
    assert compare(drill, matching(drill)) == ()
    drifts = compare(drill, matching(topology))
    assert {drift.kind for drift in drifts} == {DriftKind.MISSING}
    assert drifts[0].topic == "drill-1.orders.requested"
    assert "drill-1.orders." in drill.families


# The rules


@pytest.mark.parametrize("setting", [s for s, rule in CHANGE_RULES.items() if rule is Change.RAISE])
def test_a_raise_is_safe_and_a_lowering_is_not(setting: str) -> None:
    assert is_safe(setting, wanted="2", found="1")
    assert is_safe(setting, wanted="-1", found="1")
    assert not is_safe(setting, wanted="1", found="2")
    assert not is_safe(setting, wanted="1", found="-1")
    assert not is_safe(setting, wanted="1", found="")


def test_a_setting_without_a_rule_is_never_safe() -> None:
    assert not is_safe("flush.ms", wanted="2", found="1")


# The page


def test_the_flow_page_is_up_to_date(topology: Topology) -> None:
    page = (ROOT / "topology" / "flow.md").read_text()
    assert page == with_flow(page, topology), "write the page anew with streams.topics.flow.with_flow"


def test_the_flow_shows_every_topic_and_party(topology: Topology) -> None:
    flow = render_flow(topology)
    for topic in topology.topics:
        node = topic.name.replace(".", "_").replace("-", "_")
        assert f"[/{topic.name}/]" in flow
        for party in topic.producers:
            assert f"({party})" in flow
            assert f"  {party.replace(' ', '_').replace('-', '_')} --> {node}\n" in flow
        for party in topic.consumers:
            assert f"  {node} --> {party.replace(' ', '_').replace('-', '_')}\n" in flow


def test_a_page_without_its_place_is_refused(topology: Topology) -> None:
    with pytest.raises(ValueError, match="must have the lines"):
        with_flow("# The flow", topology)


def test_the_asyncapi_document_is_the_topology() -> None:
    document = json.loads((ROOT / "topology" / "asyncapi.json").read_text())
    assert document == asyncapi_document(load_topology())
    assert {channel["address"] for channel in document["channels"].values()} == {str(topic) for topic in Topic}


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi_document(load_topology())
    references = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))
    assert len(references) > 50
    for reference in references:
        node: Any = document
        for part in reference.split("/"):
            node = node[part]
        assert node
