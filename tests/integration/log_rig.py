"""Logs on the real broker: made leaves and checkpoints, written as a worker writes them, and services in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # the package has no __all__

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.core.merkle import Frontier, hash_leaf
from streams.engine.changelog import changelog_topic
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.settings import Settings
from streams.wire import devpki
from streams.wire.log_keys import log_signers
from tests.integration.engine_rig import wait_until
from tests.made_log import START_US, make_log

LANES = 2
_TOPICS = (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS, Topic.AUDIT_COSIGNATURES, Topic.RISK_ALERTS)


class LogWriter:
    """Writes the logs of two lanes, one transaction a batch."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.settings = settings
        self.leaves = [make_log(lane, count).leaves for lane in range(LANES)]
        self.trees = [Frontier() for _ in range(LANES)]
        self._producers = [self._producer(lane) for lane in range(LANES)]

    def write(self, lane: int, count: int, *, note: bytes | None = None) -> None:
        """Append a batch and its checkpoint, or another note in its place."""
        tree = self.trees[lane]
        batch = self.leaves[lane][tree.size : tree.size + count]
        grown = tree.extend(map(hash_leaf, batch))
        producer, prefix, origin = self._producers[lane], self.settings.topic_prefix, self.origin(lane)
        signers = log_signers(self.settings.pki, origin).at(START_US)
        signed = sign_checkpoint(Checkpoint(origin, grown.size, grown.root()), *signers)
        producer.begin_transaction()
        for leaf in batch:
            producer.produce(prefix + Topic.AUDIT_EVENTS, leaf, f"bot-{lane}".encode(), partition=lane)
        producer.produce(prefix + Topic.AUDIT_CHECKPOINTS, note or signed, origin.encode(), partition=lane)
        producer.commit_transaction()
        self.trees[lane] = grown

    def origin(self, lane: int) -> str:
        return f"{self.settings.log_origin}/{lane}"

    def _producer(self, lane: int) -> Producer:
        name = f"{self.settings.topic_prefix}{self.settings.app_id}-{lane}"
        producer = Producer({**self.settings.cluster(), "transactional.id": name})
        producer.init_transactions()
        return producer


def rig_settings(kafka: str, prefix: str, folder: Path) -> Settings:
    """Return settings of a run of its own, its keys made."""
    settings = replace(
        Settings(), home=folder, kafka_bootstrap_servers=kafka, topic_prefix=prefix, pki_dir=folder / "pki"
    )
    devpki.make_dev_pki(settings.pki)
    return settings


@contextmanager
def log_topics(kafka: str, prefix: str, lanes: int) -> Iterator[None]:
    """Make the few topics that these services need, known to the broker; deleting them is asked for, not waited for."""
    names = [prefix + topic for topic in _TOPICS] + [changelog_topic(f"{prefix}portcullis")]
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics([NewTopic(name, lanes, 1) for name in names]).values():
        future.result()
    # Created is not known yet: the broker learns of it a moment after the controller's answer.
    assert wait_until(lambda: admin.list_topics(timeout=10).topics.keys() >= set(names), 10)
    try:
        yield
    finally:
        admin.delete_topics(names)


@contextmanager
def running(service: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a service in a thread; what it raised is raised at the end."""
    stop, failures = threading.Event(), []

    def run() -> None:
        try:
            service(stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        if failures:
            raise failures[0]


def read_values(settings: Settings, topic: Topic, lane: int | None = None) -> list[bytes]:
    """Return what a read-committed stranger reads."""
    records = read_all(settings.kafka_bootstrap_servers, [settings.topic_prefix + topic], {}, partition=lane)
    return [record.value for record in records]
