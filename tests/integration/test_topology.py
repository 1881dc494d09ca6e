import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Producer, TopicPartition

from streams.engine.changelog import changelog_topic
from streams.topics import (
    ClusterUnavailableError,
    DriftKind,
    Topology,
    TopologyError,
    apply,
    discard,
    load_topology,
    plan,
)
from streams.topics.admin import Admin
from tests.conftest import unique_prefix

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
CODECS = ("gzip", "lz4", "snappy", "zstd")


@pytest.fixture(scope="module")
def untouched(kafka: str) -> Iterator[str]:
    """Yield the prefix of topics that no test alters: made once for all."""
    topology = load_topology(lanes=1, prefix=unique_prefix())
    apply(topology, kafka)
    yield topology.prefix
    discard(topology, kafka)


def produce(servers: str, topic: str, value: bytes, **settings: str | int) -> KafkaError | None:
    """Send one record and return what the broker says to it."""
    producer = Producer({"bootstrap.servers": servers, "log_level": 0, "message.timeout.ms": 20_000, **settings})
    answers: list[KafkaError | None] = []
    producer.produce(topic, value, partition=0, timestamp=1, on_delivery=lambda error, _message: answers.append(error))
    assert producer.flush(30) == 0
    return answers[0]


def drifted(servers: str, topology: Topology, changes: list[tuple[str, str, str]], *, extra: str = "") -> None:
    """Change settings behind the topology's back; brokers show it some milliseconds after the controller has it."""
    admin = Admin(servers)
    admin.alter((topology.prefix + topic, setting, value) for topic, setting, value in changes)
    admin.create([(topology.prefix + extra, 1, {})] if extra else [], replicas=1)
    until(lambda: len(plan(topology, servers)) == len(changes) + bool(extra))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_apply_makes_what_the_topology_says(kafka: str, topic_prefix: str) -> None:
    topology = load_topology(prefix=topic_prefix)
    assert {drift.kind for drift in plan(topology, kafka)} == {DriftKind.MISSING}
    outcome = apply(topology, kafka)
    assert len(outcome.mended) == len(topology.topics)
    assert outcome.refused == ()
    assert plan(topology, {"bootstrap.servers": kafka}) == ()
    assert apply(topology, kafka).mended == ()
    deleted = discard(topology, kafka)
    assert sorted(deleted) == sorted(topic_prefix + topic.name for topic in topology.topics)


def test_what_loses_nothing_is_mended(kafka: str, isolated_topology: Topology) -> None:
    name = "orders.rejected"
    drifted(kafka, isolated_topology, [(name, "retention.ms", str(DAY_MS)), (name, "compression.type", "zstd")])
    outcome = apply(isolated_topology, kafka)
    assert {(drift.setting, drift.found) for drift in outcome.mended} == {
        ("retention.ms", str(DAY_MS)),
        ("compression.type", "zstd"),
    }
    assert plan(isolated_topology, kafka) == ()


def test_what_loses_data_is_refused_and_left(kafka: str, isolated_topology: Topology) -> None:
    changes = [
        ("orders.requested", "retention.ms", str(8 * DAY_MS)),
        ("orders.requested", "message.timestamp.type", "CreateTime"),
        ("audit.events", "cleanup.policy", "compact"),
        ("audit.events", "segment.bytes", "1048576"),
    ]
    drifted(kafka, isolated_topology, changes, extra="audit.copies")
    outcome = apply(isolated_topology, kafka)
    assert outcome.mended == ()
    assert {
        (drift.topic.removeprefix(isolated_topology.prefix), drift.kind, drift.setting) for drift in outcome.refused
    } == {
        ("orders.requested", DriftKind.SETTING, "retention.ms"),
        ("orders.requested", DriftKind.SETTING, "message.timestamp.type"),
        ("audit.events", DriftKind.SETTING, "cleanup.policy"),
        ("audit.events", DriftKind.STRAY_SETTING, "segment.bytes"),
        ("audit.copies", DriftKind.UNKNOWN, ""),
    }
    assert plan(isolated_topology, kafka) == outcome.refused


def test_another_number_of_lanes_is_refused(kafka: str, topic_prefix: str) -> None:
    topology = load_topology(lanes=2, prefix=topic_prefix)
    apply(topology, kafka)
    for lanes, kind in ((1, DriftKind.TOO_MANY_PARTITIONS), (3, DriftKind.TOO_FEW_PARTITIONS)):
        outcome = apply(load_topology(lanes=lanes, prefix=topic_prefix), kafka)
        assert outcome.mended == ()
        assert [drift.kind for drift in outcome.refused] == [kind] * len(topology.topics)
    assert plan(topology, kafka) == ()
    discard(topology, kafka)


def test_two_at_once_do_not_disturb_each_other(kafka: str, topic_prefix: str) -> None:
    topology = load_topology(prefix=topic_prefix)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: apply(topology, kafka), range(4)))
    assert [outcome.refused for outcome in outcomes] == [()] * 4
    assert plan(topology, kafka) == ()
    discard(topology, kafka)


def test_only_an_isolated_run_can_be_discarded(kafka: str, isolated_topology: Topology) -> None:
    with pytest.raises(TopologyError, match="no prefix"):
        discard(replace(isolated_topology, prefix=""), kafka)
    other = load_topology(lanes=1, prefix="x" + isolated_topology.prefix)
    apply(other, kafka)
    admin = Admin(kafka)
    admin.create([(changelog_topic(other.prefix + "portcullis"), 1, {})], replicas=1)
    until(lambda: len(admin.look((other.prefix,)).topics) == len(other.topics) + 1)
    assert len(discard(other, kafka)) == len(other.topics) + 1
    assert plan(isolated_topology, kafka) == ()


def test_a_silent_cluster_is_named() -> None:
    with pytest.raises(ClusterUnavailableError, match="did not answer"):
        Admin("127.0.0.1:1", timeout_s=0.5).look(("orders.",))


def test_a_change_that_the_cluster_refuses_is_named(kafka: str, untouched: str) -> None:
    name = untouched + "orders.rejected"
    with pytest.raises(ClusterUnavailableError, match="refused"):
        Admin(kafka).alter([(name, "retention.ms", "soon")])


def test_the_broker_dates_the_record(kafka: str, untouched: str) -> None:
    topic = untouched + "orders.requested"
    assert produce(kafka, topic, b"from 1970") is None
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    (message,) = consumer.consume(1, timeout=10)
    consumer.close()
    kind, time_ms = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert time_ms > 1_700_000_000_000


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_that_would_unpack_large_is_refused(kafka: str, untouched: str, codec: str) -> None:
    settings: dict[str, str | int] = {"compression.type": codec, "message.max.bytes": 100_000_000}
    bomb = bytes(16 << 20)
    error = produce(kafka, untouched + "orders.requested", bomb, **settings)
    assert error is not None
    assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    # The same bytes pass where only our own workers write: so it is the setting that refuses them.
    assert produce(kafka, untouched + "orders.approved", bomb, **settings) is None
    assert produce(kafka, untouched + "orders.requested", b"an order", **settings) is None


def test_drift_reads_as_a_sentence(kafka: str, isolated_topology: Topology) -> None:
    drifted(kafka, isolated_topology, [("audit.events", "message.timestamp.type", "CreateTime")])
    (drift,) = plan(isolated_topology, kafka)
    assert str(drift) == (
        f"{isolated_topology.prefix}audit.events: message.timestamp.type is CreateTime, wanted LogAppendTime; "
        "not changed: it changes the meaning of what is already stored"
    )
