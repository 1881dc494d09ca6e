"""The leanest loop: `python -m streams.bench.lean JOB`, confluent-kafka's consume, transform, produce, one transaction.

What it leaves out is what it is for: no other checks, scores, log, proof, and nothing that survives a bad record.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.bench.peer import READY, Peer, PeerJob, Request
from streams.kafka.reading import read_all
from streams.names import Topic

if TYPE_CHECKING:
    from confluent_kafka import Message

CHANGELOG: Final = "lean-changelog"
_BATCH_MAX: Final = 2_000
_BATCH_S: Final = 0.1
_TIMEOUT_S: Final = 30.0
_log = logging.getLogger(__name__)


class LeanLoop:
    """One process, one thread, one transaction per batch."""

    def __init__(self, job: PeerJob) -> None:
        self._peer = Peer(job, Path(job.pki))
        self._source = job.topic(Topic.ORDERS_REQUESTED)
        self._approved, self._rejected = job.topic(Topic.ORDERS_APPROVED), job.topic(Topic.ORDERS_REJECTED)
        self._events, self._changelog = job.topic(Topic.AUDIT_EVENTS), job.prefix + CHANGELOG
        self._spent: dict[tuple[str, int], int] = {}
        self._restore(job)
        self._consumer = Consumer(
            {
                "bootstrap.servers": job.bootstrap_servers,
                "group.id": job.group,
                "group.instance.id": "lean-1",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                **job.security,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": job.bootstrap_servers,
                "transactional.id": f"{job.group}-lean-1",
                # The default waits 100 ms wherever the markers of the transaction before are still being written.
                "retry.backoff.ms": 5,
                **job.security,
            }
        )

    def _restore(self, job: PeerJob) -> None:
        for record in read_all(job.bootstrap_servers, [self._changelog], job.security):
            agent_id, _, day_us = record.key.decode().rpartition(" ")
            self._spent[agent_id, int(day_us)] = int(record.value)

    def run(self) -> None:
        """Decide until the process is ended."""
        self._producer.init_transactions(_TIMEOUT_S)
        self._consumer.subscribe([self._source], on_assign=lambda *_: _log.warning(READY))
        while True:
            messages = self._consumer.consume(_BATCH_MAX, _BATCH_S)
            if messages:
                self._batch(messages)

    def _batch(self, messages: list[Message]) -> None:
        produce, spent, decide = self._producer.produce, self._spent, self._peer.decide
        changed = {}
        offsets: dict[int, int] = {}
        self._producer.begin_transaction()
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            headers = cast("list[tuple[str, bytes]]", message.headers() or [])
            answer = decide(Request(partition, offset, message.timestamp()[1], message.value() or b"", headers), spent)
            place = (answer.agent_id, answer.day_us)
            spent[place] = answer.spent_e5
            changed[place] = partition
            topic, key = self._approved if answer.approved else self._rejected, message.key()
            produce(topic, answer.verdict, key, partition=partition)
            produce(self._events, answer.audit, key, partition=partition, headers=[("signature", answer.signature)])
            offsets[partition] = offset + 1
        for (agent_id, day_us), partition in changed.items():
            row = str(spent[agent_id, day_us])
            produce(self._changelog, row, f"{agent_id} {day_us}", partition=partition)
        positions = [TopicPartition(self._source, partition, offset) for partition, offset in offsets.items()]
        self._producer.send_offsets_to_transaction(positions, self._consumer.consumer_group_metadata(), _TIMEOUT_S)
        self._producer.commit_transaction(_TIMEOUT_S)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    LeanLoop(PeerJob(**orjson.loads(sys.argv[1]))).run()
