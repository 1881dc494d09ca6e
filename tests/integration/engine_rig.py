"""What the engine's tests need around a real broker: topics, worker processes, and what they must have written."""

import asyncio
import functools
import json
import os
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import OFFSET_END, Consumer, IsolationLevel, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from streams.engine.changelog import changelog_topic, table_and_key
from streams.engine.exits import ExitCode

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
PADDING = b" " + bytes(200)


class Decision(NamedTuple):
    """What the example application says about an order."""

    partition: int
    offset: int
    number: int
    total: int
    blocked: int
    batch: int
    at_us: int


class Worker:
    """A worker process, its log in a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Rig:
    """One run of the example application: its own topics, workers and records."""

    def __init__(self, bootstrap_servers: str, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.folder = folder
        self.prefix = f"{uuid.uuid4().hex[:8]}."
        self.workers: list[Worker] = []
        self._produced: defaultdict[int, list[tuple[int, bytes, int]]] = defaultdict(list)
        self.producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "log_level": 0})
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        names = [*((name, PARTITIONS) for name in ("commands", "trades", "orders", "decisions", "applied"))]
        topics = [NewTopic(self.prefix + name, count, 1) for name, count in [*names, ("prices", 1)]]
        for made in self.admin.create_topics(topics).values():
            made.result()
        ours = {topic.topic for topic in topics}
        assert wait_until(lambda: ours <= self.admin.list_topics(timeout=10).topics.keys(), 10)

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    def start_worker(self, instance_id: str | None = None, **settings: Any) -> Worker:
        number = len(self.workers)
        given = json.dumps({"instance_id": instance_id, "session_timeout_ms": 6_000, **settings})
        command = [sys.executable, "-m", "tests.integration.engine_app", self.bootstrap_servers, self.prefix, given]
        self.workers.append(Worker(command, self.folder / f"{self.prefix}worker-{number}.log"))
        return self.workers[-1]

    def send(self, topic: str, value: bytes, *, key: int = 0) -> None:
        """Produce to the partition of a key."""
        self.producer.produce(self.prefix + topic, value, f"k{key}".encode(), key % PARTITIONS)
        self.producer.poll(0)

    def order(self, number: int) -> None:
        """Produce the order with a number: its key and value follow from it."""
        self.send("orders", b"%d" % (number % 97) + PADDING, key=number % 200)

    def orders(self, numbers: range) -> None:
        for number in numbers:
            self.order(number)
        self.producer.flush()

    def delete_topic(self, topic: str) -> None:
        self.admin.delete_topics([self.prefix + topic], operation_timeout=10)[self.prefix + topic].result()

    def delete_group(self) -> None:
        """Delete the workers' group and its offsets; its last member must have left."""
        group = f"{self.prefix}totals"
        self.admin.delete_consumer_groups([group])[group].result()

    async def remove_members(self) -> None:
        """Let all workers leave their group without knowing of it, as when their sessions have ended."""
        group = f"{self.prefix}totals"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            (response,) = await admin.describe_consumer_groups([group])
            ((_, _, _, _, _, members, *_),) = response.groups
            coordinator = await admin.find_coordinator(group)
            for member_id, *_ in members:
                left = await admin._send_request(LeaveGroupRequest(group, member_id), coordinator)
                assert left.error_code == 0
        finally:
            await admin.close()

    def holds_readers_up(self, topic: str) -> bool:
        """Tell whether an open transaction keeps readers of committed records from the end of a topic."""
        latest: dict[TopicPartition, Any] = {
            TopicPartition(self.prefix + topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for number in range(PARTITIONS)
        }
        ends = []
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
            found = self.admin.list_offsets(latest, isolation_level=level)
            ends.append({tp: end.result().offset for tp, end in found.items()})
        return ends[0] != ends[1]

    def delete_records(self, topic: str, *, partition: int) -> None:
        """Delete all records of a partition, as retention would."""
        everything = TopicPartition(self.prefix + topic, partition, OFFSET_END)
        for deleted in self.admin.delete_records([everything]).values():
            deleted.result()

    def wait_until_readable(self, counts: Mapping[str, int]) -> bool:
        """Wait until a stranger reads so many records of each topic."""
        return wait_until(lambda: all(len(self.read(topic)) == count for topic, count in counts.items()), 10)

    def read(self, topic: str, *, committed: bool = True) -> list[Message]:
        """Return all records of a topic from its first to its end as of now."""
        consumer = self.consumer(committed=committed)
        try:
            name = self.prefix + topic
            partitions = consumer.list_topics(name, 10).topics[name].partitions
            consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
            found: list[Message] = []
            ends = 0
            while ends < len(partitions):
                messages = consumer.consume(5_000, 0.05)
                ends += sum(message.error() is not None for message in messages)
                found += [message for message in messages if message.error() is None]
            return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))
        finally:
            consumer.close()

    def consumer(self, *, committed: bool = True) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "rig",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )

    def decisions(self) -> list[Decision]:
        return [decision_of(message) for message in self.read("decisions")]

    def follow_decisions(self, within_s: float = 30.0) -> Iterator[Decision | None]:
        """Yield decisions as they become visible, and None whenever there is none; fails after a while."""
        consumer = self.consumer()
        name = self.prefix + "decisions"
        consumer.assign([TopicPartition(name, partition, 0) for partition in range(PARTITIONS)])
        deadline = time.monotonic() + within_s
        try:
            while time.monotonic() < deadline:
                found = consumer.consume(1_000, 0.02)
                yield from (decision_of(message) for message in found if message.error() is None)
                yield None
            raise AssertionError("no decision in time:\n" + self.logs())
        finally:
            consumer.close()

    def wait_for_decisions(self, count: int, within_s: float = 30.0) -> None:
        seen = 0
        for decision in self.follow_decisions(within_s):
            seen += decision is not None
            if seen >= count:
                return

    def logs(self) -> str:
        return "\n".join(worker.log.read_text() for worker in self.workers)

    def check_exactly_once(self, orders: int) -> None:
        """Recompute every decision from the orders, and the tables from the decisions."""
        decisions = self.decisions()
        expected, totals = self._recomputed()
        assert len(expected) == orders
        found = {(decision.partition, decision.offset): (decision.number, decision.total) for decision in decisions}
        assert len(decisions) == len(found), "decided twice"
        assert found == expected
        assert self.table("totals") == totals
        assert {key[:-9]: row for key, row in self.table("daily").items()} == totals

    def table(self, name: str) -> dict[bytes, bytes]:
        """Return the rows of a table that the changelog leads to."""
        rows: dict[bytes, bytes] = {}
        for message in self.read(changelog_topic("totals")):
            key_bytes, value = message.key(), message.value()
            assert isinstance(key_bytes, bytes)
            table, key = table_and_key(key_bytes)
            if table != name:
                continue
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return rows

    def _recomputed(self) -> tuple[dict[tuple[int, int], tuple[int, int]], dict[bytes, bytes]]:
        expected: dict[tuple[int, int], tuple[int, int]] = {}
        totals: defaultdict[bytes, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for message in self.read("orders"):
            key, value = message.key(), message.value()
            partition, offset = message.partition(), message.offset()
            assert key is not None
            assert value is not None
            assert partition is not None
            assert offset is not None
            count, total = totals[key]
            expected[partition, offset] = totals[key] = (count + 1, total + int(value.split(b" ", 1)[0]))
        return expected, {key: b"%d %d" % row for key, row in totals.items()}


def exit_code(rig: Rig, worker: Worker) -> int:
    """Wait until a worker has ended by itself."""
    assert wait_until(lambda: worker.process.poll() is not None, 30), rig.logs()
    return worker.process.returncode


def goes_on(rig: Rig, decided: int) -> None:
    """A new worker takes up where the old one ended, and nothing is decided twice or lost."""
    worker = rig.start_worker("one")
    rig.orders(range(decided, decided + 100))
    rig.wait_for_decisions(decided + 100)
    assert worker.terminate() == ExitCode.STOPPED
    rig.check_exactly_once(decided + 100)


def decision_of(message: Message) -> Decision:
    value, partition, headers = message.value(), message.partition(), message.headers()
    assert value is not None
    assert partition is not None
    assert headers is not None
    offset, number, total, blocked, batch = map(int, value.split())
    at = dict(item for item in headers if isinstance(item, tuple))["at"]
    assert isinstance(at, bytes)
    return Decision(partition, offset, number, total, blocked, batch, int(at))


class SegmentBatches(NamedTuple):
    """How many record batches of each kind a partition's log holds."""

    transactional: int
    commits: int
    aborts: int
    other: int


def batches_of(data: Path, topic: str, partition: int) -> SegmentBatches:
    """Count the record batches in a partition's segments, by the attributes in their headers (magic 2)."""
    transactional = commits = aborts = other = 0
    for segment in sorted((data / f"{topic}-{partition}").glob("*.log")):
        log = segment.read_bytes()
        at = 0
        while at + 61 <= len(log):
            length, magic, attributes = struct.unpack_from(">8xi4xb4xh", log, at)
            if length <= 0:
                break  # the rest of the file is allocated, not written
            assert magic == 2
            if attributes & 0x20:
                # One record, whose key is version and type; before it one byte each for length, attributes, time,
                # offset and the key's length.
                commits += log[at + 61 + 5 + 3]
                aborts += 1 - log[at + 61 + 5 + 3]
            elif attributes & 0x10:
                transactional += 1
            else:
                other += 1
            at += 12 + length
    return SegmentBatches(transactional, commits, aborts, other)


def wait_until(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait, on the event loop, until a condition holds; fails after a while."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is anybody's
            await asyncio.sleep(0.01)
