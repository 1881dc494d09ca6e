"""Measures the engine alone: `python -m tests.integration.engine_bench BOOTSTRAP bulk|rate|restart [key=value ...]`.

The application echoes each record and counts it in one table row. `bulk`: CPU per record and records per second on a
backlog. `rate`: the same at a steady rate, and the time from the broker's append to read-committed visibility.
`restart`: the time from kill -9 to the first decision, with a static member.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.engine.app import create_app
from streams.engine.application import Application, Outputs
from streams.engine.changelog import TableKind
from streams.engine.options import EngineOptions, LaneTopics
from streams.engine.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiokafka.structs import ConsumerRecord

    from streams.engine.tables import PartitionTable

PAYLOAD = bytes(300)


class NumberCodec:
    """A number in eight bytes."""

    def encode(self, row: int, /) -> bytes:
        return row.to_bytes(8)

    def decode(self, data: bytes, /) -> int:
        return int.from_bytes(data)


class Echo(Application):
    """Sends each record on and counts it under its key."""

    def __init__(self, partition: int, tables: Mapping[str, PartitionTable[Any]], outputs: Outputs) -> None:
        self.partition = partition
        self.counts: PartitionTable[int] = tables["counts"]
        self.outputs = outputs

    def prepare(self, record: ConsumerRecord) -> object:
        return record.key.decode()

    def due_us(self) -> int | None:
        return None

    def begin(self, now_us: int) -> None:
        self.now_us = now_us

    def process(self, record: ConsumerRecord, prepared: str) -> None:
        self.counts.put(prepared, (self.counts.get(prepared) or 0) + 1)
        self.outputs.send("bench.out", record.key, record.value)

    def finish(self) -> None:
        pass


def worker(bootstrap_servers: str, settings: str) -> int:
    """Run the worker process."""
    options = EngineOptions(bootstrap_servers=bootstrap_servers, **json.loads(settings))
    app = create_app(
        options, LaneTopics(sources=("bench.in",), outputs=("bench.out",)), {"counts": TableKind(NumberCodec())}, Echo
    )

    @app.agent(app.topic("bench.in"))
    async def echo(stream: Any) -> None:
        async for batch in stream:
            await app.engine.deliver(batch)

    return run_worker(app)


async def make_topics(bootstrap_servers: str, partitions: int) -> None:
    """Make the topics anew."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    if old := {"bench.in", "bench.out"} & set(await admin.list_topics()):
        await admin.delete_topics(list(old))
        await asyncio.sleep(1)
    await admin.create_topics(
        [
            NewTopic("bench.in", partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime"}),
            NewTopic("bench.out", partitions, 1),
        ]
    )
    await admin.close()


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """One worker, its input and its output."""

    def __init__(self, bootstrap_servers: str, partitions: int, settings: dict[str, Any]) -> None:
        self.bootstrap = bootstrap_servers
        self.partitions = partitions
        app_id = f"bench-{uuid.uuid4().hex[:8]}"
        self.settings = {"app_id": app_id, "partitions": partitions, "instance_id": app_id, **settings}
        self.producer = Producer({"bootstrap.servers": bootstrap_servers, "queue.buffering.max.messages": 2_000_000})
        asyncio.run(make_topics(bootstrap_servers, partitions))

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.integration.engine_bench",
                self.bootstrap,
                "worker",
                json.dumps(self.settings),
            ]
        )

    def produce(self, number: int) -> None:
        key = number % 4_000
        self.producer.produce("bench.in", PAYLOAD, f"bot-{key}".encode(), key % self.partitions)

    def outputs(self, *, at_once: int = 500, timeout_s: float = 0.002) -> Iterator[tuple[float, Any]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "bench",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 5,
            }
        )
        consumer.assign([TopicPartition("bench.out", partition, 0) for partition in range(self.partitions)])
        while True:
            messages = consumer.consume(at_once, timeout_s)
            now = time.time()
            for message in messages:
                yield now, message
            yield now, None


def bulk(bench: Bench, records: int) -> dict[str, object]:
    for number in range(records):
        bench.produce(number)
        if number % 10_000 == 0:
            bench.producer.poll(0)
    bench.producer.flush()
    process = bench.start()
    seen, first_at, first_cpu, now = 0, 0.0, 0.0, 0.0
    for now, message in bench.outputs(at_once=10_000, timeout_s=0.2):
        if message is not None:
            if not seen:
                first_at, first_cpu = now, cpu_s(process.pid)
            seen += 1
        elif seen >= records:
            break
    cpu, rss = cpu_s(process.pid) - first_cpu, rss_mb(process.pid)
    process.terminate()
    process.wait()
    rate = (records - 1) / (now - first_at)
    return {"records": seen, "per_second": round(rate), "cpu_us": round(cpu / records * 1e6, 1), "rss_mb": rss}


def rss_mb(pid: int) -> int:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def rate(bench: Bench, per_second: int, seconds: int) -> dict[str, object]:
    process = bench.start()
    time.sleep(3)
    begin = time.time()
    cpu, sent, seen = cpu_s(process.pid), 0, 0
    total = per_second * seconds
    appended: dict[tuple[int, int], float] = {}

    def delivered(_: object, message: Any) -> None:
        appended[message.partition(), message.offset()] = message.timestamp()[1]

    latencies: list[float] = []
    outputs = bench.outputs()
    counts = [0] * bench.partitions
    received: list[tuple[int, int, float]] = []
    while seen < total:
        while sent < total and time.time() - begin >= sent / per_second:
            key = sent % 4_000
            bench.producer.produce(
                "bench.in", PAYLOAD, f"bot-{key}".encode(), key % bench.partitions, on_delivery=delivered
            )
            sent += 1
        bench.producer.poll(0)
        for now, message in outputs:
            if message is None:
                break
            received.append((message.partition(), counts[message.partition()], now))
            counts[message.partition()] += 1
            seen += 1
    bench.producer.flush()
    cpu = cpu_s(process.pid) - cpu
    process.terminate()
    process.wait()
    # Input offsets are dense, and each partition's outputs come in the order of its inputs.
    latencies = sorted(now * 1_000 - appended[partition, offset] for partition, offset, now in received)
    return {
        "records": seen,
        "cpu_us": round(cpu / total * 1e6),
        "p50_ms": round(latencies[total // 2], 1),
        "p99_ms": round(latencies[total * 99 // 100], 1),
        "max_ms": round(latencies[-1], 1),
    }


def restart(bench: Bench, kills: int) -> dict[str, object]:
    process = bench.start()
    outputs = bench.outputs()
    times: list[float] = []
    number, started_at, end = 0, time.time(), 0.0
    while len(times) <= kills:
        bench.produce(number)
        bench.producer.poll(0.005)
        number += 1
        seen = [message.timestamp()[1] / 1_000 for _, message in itertools.takewhile(lambda item: item[1], outputs)]
        if started_at and any(decided_at > started_at for decided_at in seen):
            times.append(time.time() - started_at)
            started_at, end = 0.0, time.time() + 2
        elif not started_at and time.time() > end:
            process.kill()
            process.wait()
            started_at = time.time()
            process = bench.start()
    process.terminate()
    process.wait()
    bench.producer.flush()
    return {"kills": kills, "first_start_s": round(times[0], 2), "restart_s": [round(item, 2) for item in times[1:]]}


def main() -> int:
    bootstrap_servers, command, *rest = sys.argv[1:]
    if command == "worker":
        return worker(bootstrap_servers, rest[0])
    pairs = [item.partition("=") for item in rest]
    given: dict[str, Any] = {name: json.loads(value) for name, _, value in pairs}
    partitions = given.pop("partitions", 4)
    numbers: dict[str, int] = {
        name: given.pop(name) for name in ("records", "per_second", "seconds", "kills") if name in given
    }
    bench = Bench(bootstrap_servers, partitions, given)
    defaults: dict[str, tuple[Any, dict[str, int]]] = {
        "bulk": (bulk, {"records": 200_000}),
        "rate": (rate, {"per_second": 500, "seconds": 20}),
        "restart": (restart, {"kills": 5}),
    }
    run, arguments = defaults[command]
    arguments.update(numbers)
    print(json.dumps(run(bench, **arguments)))  # noqa: T201 - the result
    return 0


if __name__ == "__main__":
    sys.exit(main())
