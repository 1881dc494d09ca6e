"""The reader of a whole topic: complete, committed, and honest about its age."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.engine.reader import LatestReader
from streams.local import LocalKafka
from tests.integration.engine_rig import asynchronous, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("engine-reader")) as broker:
        yield broker


@pytest.fixture
def topic(broker: LocalKafka) -> str:
    name = f"prices-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(name, 2, 1, config={"cleanup.policy": "compact"})])[name].result()
    return name


def produce(broker: LocalKafka, topic: str, *values: tuple[str, str | None], abort: bool = False) -> None:
    settings: dict[str, str | int] = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
    producer = Producer({**settings, "transactional.id": topic} if abort else settings)
    if abort:
        producer.init_transactions(10)
        producer.begin_transaction()
    for key, value in values:
        producer.produce(topic, value, key, partition=len(key) % 2)
    producer.flush()
    if abort:
        producer.abort_transaction(10)


def values(reader: LatestReader) -> dict[bytes, bytes | None]:
    return {key: record.value for key, record in reader.latest.items()}


@asynchronous
async def test_keeps_the_latest_record_of_each_key(broker: LocalKafka, topic: str) -> None:
    produce(broker, topic, ("A", "1"), ("BB", "2"), ("A", "3"), ("C", "4"), ("C", None))
    seen: list[Any] = []
    reader = LatestReader(topic, bootstrap_servers=broker.bootstrap_servers, on_record=seen.append)
    assert not reader.caught_up
    await reader.start()
    await until(lambda: reader.caught_up)
    assert values(reader) == {b"A": b"3", b"BB": b"2"}
    assert [(record.key, record.value) for record in seen if record.partition == 1] == [
        (b"A", b"1"),
        (b"A", b"3"),
        (b"C", b"4"),
        (b"C", None),
    ]
    produce(broker, topic, ("A", "5"))
    await until(lambda: reader.latest[b"A"].value == b"5")
    assert reader.latest[b"A"].offset == 4
    await reader.stop()


@asynchronous
async def test_reads_committed_records_only(broker: LocalKafka, topic: str) -> None:
    produce(broker, topic, ("A", "1"))
    produce(broker, topic, ("A", "2"), ("BB", "2"), abort=True)
    reader = LatestReader(topic, bootstrap_servers=broker.bootstrap_servers)
    await reader.start()
    await until(lambda: reader.caught_up)
    assert values(reader) == {b"A": b"1"}
    await reader.stop()


@asynchronous
async def test_is_caught_up_on_an_empty_topic(broker: LocalKafka, topic: str) -> None:
    reader = LatestReader(topic, bootstrap_servers=broker.bootstrap_servers)
    await reader.start()
    await until(lambda: reader.caught_up)
    assert not reader.latest
    await reader.stop()


@asynchronous
async def test_says_so_when_it_is_cut_off_and_comes_back(broker: LocalKafka, topic: str) -> None:
    produce(broker, topic, ("A", "1"))
    reader = LatestReader(topic, bootstrap_servers=broker.bootstrap_servers, stale_after_s=0.5)
    await reader.start()
    await until(lambda: reader.caught_up)
    broker.kill()
    await until(lambda: not reader.caught_up, within_s=1.5)
    assert values(reader) == {b"A": b"1"}
    await asyncio.to_thread(broker.start)
    await until(lambda: reader.caught_up)
    produce(broker, topic, ("A", "2"))
    await until(lambda: reader.latest[b"A"].value == b"2")
    await reader.stop()
