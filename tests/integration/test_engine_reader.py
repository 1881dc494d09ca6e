"""The reader of a whole topic: complete, committed, and honest about its age."""

import uuid
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.engine.reader import LatestReader
from tests.integration.engine_rig import asynchronous, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"prices-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    admin.create_topics([NewTopic(name, 2, 1, config={"cleanup.policy": "compact"})])[name].result()
    return name


def produce(kafka: str, topic: str, *values: tuple[str, str | None], abort: bool = False) -> None:
    settings: dict[str, str | int] = {"bootstrap.servers": kafka, "log_level": 0}
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
async def test_keeps_the_latest_record_of_each_key(kafka: str, topic: str) -> None:
    produce(kafka, topic, ("A", "1"), ("BB", "2"), ("A", "3"), ("C", "4"), ("C", None))
    seen: list[Any] = []
    reader = LatestReader(topic, bootstrap_servers=kafka, on_record=seen.append)
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
    produce(kafka, topic, ("A", "5"))
    await until(lambda: reader.latest[b"A"].value == b"5")
    assert reader.latest[b"A"].offset == 4
    await reader.stop()


@asynchronous
async def test_reads_committed_records_only(kafka: str, topic: str) -> None:
    produce(kafka, topic, ("A", "1"))
    produce(kafka, topic, ("A", "2"), ("BB", "2"), abort=True)
    reader = LatestReader(topic, bootstrap_servers=kafka)
    await reader.start()
    await until(lambda: reader.caught_up)
    assert values(reader) == {b"A": b"1"}
    await reader.stop()


@asynchronous
async def test_is_caught_up_on_an_empty_topic(kafka: str, topic: str) -> None:
    reader = LatestReader(topic, bootstrap_servers=kafka)
    await reader.start()
    await until(lambda: reader.caught_up)
    assert not reader.latest
    await reader.stop()
