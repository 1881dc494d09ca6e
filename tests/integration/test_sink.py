"""The sink on a real broker: committed records only, from every stored topic, across restarts."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.local import LocalKafka
from streams.names import Topic
from streams.topics import apply, load_topology
from streams.warehouse.columns import read_rows
from streams.warehouse.connection import connect
from streams.warehouse.sink import Sink, SinkError, SinkOptions, open_sink, read_ends, run_sink
from streams.wire.avro import Schema, encode
from tests.made_log import START_US, MadeLog, make_logs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.topics import Topology

pytestmark = pytest.mark.integration

ALERT = {
    "alert_id": "a",
    "severity": "INFO",
    "kind": "NONE",
    "agent_id": "bot",
    "symbol": "",
    "message": "m",
    "cause_time": START_US,
    "raised_at": START_US,
}


def producer(kafka: str, prefix: str) -> Producer:
    made = Producer({"bootstrap.servers": kafka, "transactional.id": f"{prefix}gate", "linger.ms": 5, "log_level": 0})
    made.init_transactions(20)
    return made


def write(kafka: str, prefix: str, logs: Sequence[MadeLog]) -> None:
    """Write logs as the gate does: seven leaves and their checkpoint in a transaction; every third try is aborted."""
    writer = producer(kafka, prefix)
    for log in logs:
        for number, note in enumerate(log.notes):
            for commits in (False, True) if number % 3 == 0 else (True,):
                writer.begin_transaction()
                for leaf in log.leaves[7 * number : 7 * number + 7]:
                    writer.produce(f"{prefix}{Topic.AUDIT_EVENTS}", leaf, b"bot", partition=log.partition)
                writer.produce(f"{prefix}{Topic.AUDIT_CHECKPOINTS}", note, log.origin, partition=log.partition)
                writer.produce(f"{prefix}{Topic.RISK_ALERTS}", encode(Schema.ALERT, ALERT), b"bot", partition=1)
                writer.flush(20)
                if commits:
                    writer.commit_transaction(20)
                else:
                    writer.abort_transaction(20)


@pytest.fixture
def options(kafka: str, isolated_topology: Topology) -> SinkOptions:
    return SinkOptions(kafka, topic_prefix=isolated_topology.prefix, flush_ms=50)


def drain(sink: Sink, options: SinkOptions) -> None:
    consumer = options.consumer()
    try:
        ends = read_ends(consumer, options)
    finally:
        consumer.close()
    sink.drain(ends, timeout_s=30)


def count(dsn: str, table: str) -> int:
    with closing(connect(dsn)) as client:
        return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])  # noqa: S608 - a test's own names


def test_committed_records_are_rows_and_aborted_are_not(kafka: str, options: SinkOptions, tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/warehouse"
    logs = make_logs(2, 50)
    write(kafka, options.topic_prefix, logs)
    with open_sink(dsn, options, threading.Event()) as sink:
        drain(sink, options)
    with closing(connect(dsn)) as client:
        for log in logs:
            assert [leaf for leaf, _ in read_rows(client, log.partition)] == list(log.leaves)
    assert count(dsn, "audit_checkpoints") == count(dsn, "alerts") == 2 * 8


def test_a_sink_started_again_adds_only_what_is_new(kafka: str, options: SinkOptions, tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/warehouse"
    for _ in range(2):
        write(kafka, options.topic_prefix, make_logs(1, 21))
        with open_sink(dsn, options, threading.Event()) as sink:
            drain(sink, options)
    # Nothing new but the restart.
    with open_sink(dsn, options, threading.Event()) as sink:
        drain(sink, options)
    assert count(dsn, "audit_events") == 42


def test_a_killed_sink_loses_and_repeats_nothing(kafka: str, options: SinkOptions, tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/warehouse"
    logs = make_logs(2, 700)
    writer = threading.Thread(target=write, args=(kafka, options.topic_prefix, logs))
    writer.start()
    for wait_s in (0.1, 0.4, 0.7):
        with subprocess.Popen(
            [sys.executable, __file__, dsn, kafka, options.topic_prefix], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            time.sleep(wait_s)
            process.kill()
    writer.join()
    with open_sink(dsn, options, threading.Event()) as sink:
        drain(sink, options)
    with closing(connect(dsn)) as client:
        for log in logs:
            assert [leaf for leaf, _ in read_rows(client, log.partition)] == list(log.leaves)


def test_the_sink_runs_until_it_is_stopped(kafka: str, options: SinkOptions, tmp_path: Path) -> None:
    dsn, stop = f"chdb://{tmp_path}/warehouse", threading.Event()
    write(kafka, options.topic_prefix, make_logs(1, 14))
    running = threading.Thread(target=run_sink, args=(dsn, options, stop))
    running.start()
    deadline = time.monotonic() + 30
    while count(dsn, "system.tables WHERE name = 'positions'") == 0 or count(dsn, "audit_events") < 14:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    running.join(10)
    assert not running.is_alive()


def test_a_broker_that_dies_and_comes_back_costs_nothing(tmp_path: Path) -> None:
    topology = load_topology(lanes=2)
    with LocalKafka(tmp_path / "kafka") as broker:
        options = SinkOptions(broker.bootstrap_servers, flush_ms=20, security={"log_level": "0"})
        apply(topology, broker.bootstrap_servers)
        write(broker.bootstrap_servers, "", make_logs(1, 70))
        with open_sink(f"chdb://{tmp_path}/warehouse", options, threading.Event()) as sink:
            drain(sink, options)
            broker.kill()
            for _ in range(10):
                sink.step()
            broker.start()
            write(broker.bootstrap_servers, "", make_logs(1, 70))
            drain(sink, options)
    assert count(f"chdb://{tmp_path}/warehouse", "audit_events") == 140


def test_records_deleted_before_they_were_stored_stop_the_sink(
    kafka: str, options: SinkOptions, tmp_path: Path
) -> None:
    dsn = f"chdb://{tmp_path}/warehouse"
    write(kafka, options.topic_prefix, make_logs(1, 7))
    with open_sink(dsn, options, threading.Event()) as sink:
        drain(sink, options)
    write(kafka, options.topic_prefix, make_logs(1, 70))
    place = TopicPartition(f"{options.topic_prefix}{Topic.AUDIT_EVENTS}", 0, 40)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_records([place])[place].result(20)
    with (
        pytest.raises(SinkError, match=r"audit\.events/0"),
        open_sink(dsn, options, threading.Event()) as sink,
    ):
        drain(sink, options)


def test_missing_topics_are_named(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    dsn = f"chdb://{tmp_path}/warehouse"
    with pytest.raises(SinkError, match=rf"missing: {topic_prefix}audit\.events, "):
        run_sink(dsn, SinkOptions(kafka, topic_prefix=topic_prefix), threading.Event())


def test_a_broker_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    options = SinkOptions("127.0.0.1:1", security={"log_level": "0"}, timeout_s=1)
    with pytest.raises(SinkError, match="does not answer"):
        run_sink(f"chdb://{tmp_path}/warehouse", options, threading.Event())


def sink_process(dsn: str, bootstrap_servers: str, topic_prefix: str) -> None:
    """Run a sink until killed."""
    options = SinkOptions(bootstrap_servers, topic_prefix=topic_prefix, flush_ms=20)
    stop = threading.Event()
    with open_sink(dsn, options, stop) as sink:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        sink.run(stop)


if __name__ == "__main__":
    sink_process(*sys.argv[1:])
