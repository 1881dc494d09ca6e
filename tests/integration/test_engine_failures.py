"""What ends a worker, and what it says."""

import asyncio
import re
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.engine.exits import ExitCode
from tests.integration.engine_rig import Rig, Worker, exit_code, goes_on, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def test_fenced_producer_ends_the_worker(rig: Rig, worker: Worker) -> None:
    for turn in range(2):
        name = f"{rig.prefix}totals-lanes-one-{turn}"
        Producer({"bootstrap.servers": rig.bootstrap_servers, "transactional.id": name}).init_transactions(10)
    rig.orders(range(100, 200))
    assert exit_code(rig, worker) == ExitCode.FENCED
    assert re.search(r"exit_name=FENCED where=lane \d cause=ProducerFenced", worker.log.read_text())
    goes_on(rig, 200)


def test_worker_that_its_group_has_lost_commits_nothing_any_more(rig: Rig) -> None:
    worker = rig.start_worker(
        "one", session_timeout_ms=40_000
    )  # a heartbeat every 10 s: it does not learn of it before
    rig.orders(range(100))
    rig.wait_for_decisions(100)
    asyncio.run(rig.remove_members())
    rig.orders(range(100, 200))
    assert exit_code(rig, worker) == ExitCode.FENCED
    assert re.search(r"exit_name=FENCED where=lane \d cause=ProducerFenced", worker.log.read_text())
    assert len(rig.read("decisions", committed=False)) > len(rig.decisions()) == 100
    assert wait_until(lambda: not rig.holds_readers_up("decisions"), 10), "it has left its transaction open"
    goes_on(rig, 200)


def test_refused_batch_ends_the_worker(rig: Rig, worker: Worker) -> None:
    rig.send("commands", b"huge", key=1)
    rig.producer.flush()
    assert exit_code(rig, worker) == ExitCode.BATCH_REFUSED
    assert "exit_name=BATCH_REFUSED where=lane 1 cause=MessageSizeTooLargeError" in worker.log.read_text()
    assert rig.read("applied") == []


def test_application_that_raises_ends_the_worker(rig: Rig, worker: Worker) -> None:
    rig.send("commands", b"raise", key=3)
    rig.producer.flush()
    assert exit_code(rig, worker) == ExitCode.LANE_FAILURE
    log = worker.log.read_text()
    assert "exit_name=LANE_FAILURE where=lane 3 cause=RuntimeError message=asked to raise" in log
    assert log.count("Traceback") == 1


def test_reader_that_cannot_go_on_ends_the_worker(rig: Rig, worker: Worker) -> None:
    rig.send("prices", b"100.5")
    rig.send("prices", b"a lot")
    rig.producer.flush()
    assert exit_code(rig, worker) == ExitCode.LANE_FAILURE
    assert "could not convert string to float" in worker.log.read_text()


def test_missing_source_topic_ends_the_worker(rig: Rig) -> None:
    rig.delete_topic("trades")
    worker = rig.start_worker("one")
    assert exit_code(rig, worker) == ExitCode.MISCONFIGURED
    assert f"comes without ['{rig.prefix}trades']" in worker.log.read_text()


def test_lost_group_offsets_end_the_worker(rig: Rig) -> None:
    worker = rig.start_worker()
    rig.orders(range(100))
    rig.wait_for_decisions(100)
    assert worker.terminate() == ExitCode.STOPPED
    rig.delete_group()
    worker = rig.start_worker()
    assert exit_code(rig, worker) == ExitCode.POSITION_BROKEN
    assert "the group's offsets are gone but its tables are there" in worker.log.read_text()


def test_records_deleted_before_they_were_read_end_the_worker(rig: Rig, worker: Worker) -> None:
    assert worker.terminate() == ExitCode.STOPPED
    rig.orders(range(100, 200))
    rig.delete_records("orders", partition=0)
    worker = rig.start_worker("one")
    rig.orders(range(200, 300))
    assert exit_code(rig, worker) == ExitCode.POSITION_BROKEN
    assert "were records deleted by age before they were read?" in worker.log.read_text()


def test_corrupt_log_ends_the_worker(rig: Rig, worker: Worker, kafka_data: Path) -> None:
    assert worker.terminate() == ExitCode.STOPPED
    rig.orders(range(100, 200))
    (segment,) = (kafka_data / f"{rig.prefix}orders-0").glob("*.log")
    with segment.open("r+b") as log:
        log.seek(-20, 2)
        log.write(b"\xff")
    worker = rig.start_worker("one")
    assert exit_code(rig, worker) == ExitCode.LANE_FAILURE
    assert "CorruptRecordException" in worker.log.read_text()
