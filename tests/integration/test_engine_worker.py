"""Exactly once, with real workers, a real broker and kills."""

import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from streams.engine.changelog import changelog_topic
from streams.engine.exits import ExitCode
from tests.integration.engine_rig import PARTITIONS, Rig, batches_of, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class Feeder(threading.Thread):
    """Produces orders at a steady rate until stopped."""

    def __init__(self, rig: Rig, per_second: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._rig = rig
        self._pause = 0.01
        self._each = per_second // 100
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(self._pause):
            self._rig.orders(range(self.sent, self.sent + self._each))
            self.sent += self._each

    def stop(self) -> int:
        self._end.set()
        self.join()
        return self.sent


def test_killed_at_random_moments_each_order_is_decided_once(rig: Rig, kafka_data: Path) -> None:
    rng = random.Random(20261)
    worker = rig.start_worker("one", batch_records_max=200)
    rig.orders(range(1))
    rig.wait_for_decisions(1)
    feeder = Feeder(rig, per_second=600)
    feeder.sent = 1
    feeder.start()
    for _ in range(5):
        time.sleep(rng.uniform(0.3, 0.8) + 1.2)
        worker.kill()
        worker = rig.start_worker("one", batch_records_max=200)
    sent = feeder.stop()
    rig.wait_for_decisions(sent)
    assert worker.terminate() == 0, rig.logs()

    rig.check_exactly_once(sent)
    written = {}
    for topic in ("decisions", changelog_topic("totals")):
        for partition in range(PARTITIONS):
            batches = batches_of(kafka_data, rig.prefix + topic, partition)
            assert batches.other == 0, f"{topic}-{partition} holds batches outside a transaction"
            assert batches.transactional > 0
            written[topic, partition] = batches.commits
    # One transaction writes all: its commit stands in every topic of the partition.
    for partition in range(PARTITIONS):
        assert len({written[topic, partition] for topic in ("decisions", changelog_topic("totals"))}) == 1


def test_static_member_decides_again_soon_after_kill(rig: Rig) -> None:
    worker = rig.start_worker("one")
    rig.orders(range(400))
    rig.wait_for_decisions(400)
    worker.kill()
    rig.orders(range(400, 800))
    killed_us = time.time_ns() // 1_000
    worker = rig.start_worker("one")
    rig.wait_for_decisions(800)
    first_us = min(decision.at_us for decision in rig.decisions() if decision.at_us > killed_us)
    seconds = (first_us - killed_us) / 1e6
    assert seconds < 10, f"{seconds:.2f} s from kill -9 to the first decision"
    assert worker.terminate() == 0
    rig.check_exactly_once(800)


def test_workers_join_and_leave(rig: Rig) -> None:
    first = rig.start_worker(batch_records_max=200)
    rig.orders(range(1))
    rig.wait_for_decisions(1)
    feeder = Feeder(rig, per_second=400)
    feeder.sent = 1
    feeder.start()
    second = rig.start_worker(batch_records_max=200)
    assert wait_until(lambda: bool(re.search(r"partitions: \[\d, \d\]", second.log.read_text())), 30), rig.logs()
    time.sleep(1)
    assert second.terminate() == 0
    assert wait_until(lambda: first.log.read_text().count("partitions: [0, 1, 2, 3]") == 2, 30), rig.logs()
    third = rig.start_worker(batch_records_max=200)
    assert wait_until(lambda: "partitions: [" in third.log.read_text(), 30)
    time.sleep(0.5)
    third.kill()  # its partitions come back when its session has ended
    assert wait_until(lambda: first.log.read_text().count("partitions: [0, 1, 2, 3]") == 3, 30), rig.logs()
    sent = feeder.stop()
    rig.wait_for_decisions(sent)
    assert first.terminate() == 0
    rig.check_exactly_once(sent)


def test_restores_tables_whose_changelog_ends_in_markers(rig: Rig) -> None:
    worker = rig.start_worker("one")
    rig.orders(range(2_000))
    rig.wait_for_decisions(2_000)
    assert worker.terminate() == 0
    begun = time.monotonic()
    worker = rig.start_worker("one")
    assert wait_until(lambda: "ready at offsets" in worker.log.read_text(), 10), rig.logs()
    seconds = time.monotonic() - begun
    assert seconds < 4, f"{seconds:.2f} s"  # 10 s where recovery waits for a data record at the end
    rig.orders(range(2_000, 2_100))
    rig.wait_for_decisions(2_100)
    assert worker.terminate() == 0
    rig.check_exactly_once(2_100)


def test_commands_come_before_orders_of_the_same_batch(rig: Rig) -> None:
    rig.orders(range(200))
    rig.send("trades", b"fill", key=0)
    rig.send("commands", b"block", key=0)
    rig.producer.flush()
    assert rig.wait_until_readable({"orders": 200, "trades": 1, "commands": 1})
    worker = rig.start_worker("one")
    rig.wait_for_decisions(200)
    assert worker.terminate() == 0
    decisions = [decision for decision in rig.decisions() if decision.partition == 0]
    assert all(decision.blocked for decision in decisions)
    assert decisions[0].batch == 1
    applied = [(message.partition(), message.value()) for message in rig.read("applied")]
    assert applied == [(0, b"command 0 1"), (0, b"trade 0 1")]


def test_lane_reads_what_it_writes(rig: Rig) -> None:
    worker = rig.start_worker("one")
    rig.send("commands", b"echo 5", key=1)
    rig.producer.flush()
    assert wait_until(lambda: len(rig.read("applied")) == 6, 30), rig.logs()
    assert worker.terminate() == 0
    assert [message.value() for message in rig.read("commands")] == [b"echo %d" % n for n in (5, 4, 3, 2, 1, 0)]


def test_stopped_worker_that_comes_back_is_fenced(rig: Rig) -> None:
    first = rig.start_worker(batch_records_max=200)
    rig.orders(range(1))
    rig.wait_for_decisions(1)
    feeder = Feeder(rig, per_second=400)
    feeder.sent = 1
    feeder.start()
    time.sleep(0.5)
    first.process.send_signal(signal.SIGSTOP)
    second = rig.start_worker(batch_records_max=200)
    # The group waits for the session of the member that does not answer.
    assert wait_until(lambda: "ready at offsets" in second.log.read_text(), 30), rig.logs()
    time.sleep(0.5)
    first.process.send_signal(signal.SIGCONT)
    assert wait_until(lambda: first.process.poll() is not None, 30), rig.logs()
    assert first.process.returncode == ExitCode.FENCED
    sent = feeder.stop()
    rig.wait_for_decisions(sent)
    assert second.terminate() == 0
    rig.check_exactly_once(sent)


def test_transaction_begun_ahead_is_ended_when_no_more_comes(rig: Rig, kafka_data: Path) -> None:
    worker = rig.start_worker("one")

    def markers() -> int:
        return batches_of(kafka_data, f"{rig.prefix}decisions", 0).commits

    for number in range(0, 20, 4):  # one key, one partition
        rig.order(number)
        rig.wait_for_decisions(number // 4 + 1)
    committed = markers()
    assert wait_until(lambda: markers() == committed + 1, 10), "nothing ended the transaction begun ahead"
    rig.order(20)
    rig.wait_for_decisions(6)
    assert worker.terminate() == 0
    rig.check_exactly_once(6)


def test_stops_quickly_when_asked(rig: Rig) -> None:
    worker = rig.start_worker("one")
    feeder = Feeder(rig, per_second=400)
    feeder.start()
    rig.wait_for_decisions(500)
    begun = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - begun < 3
    sent = feeder.stop()
    worker = rig.start_worker("one")
    rig.wait_for_decisions(sent)
    assert worker.terminate() == 0
    rig.check_exactly_once(sent)
    assert "ERROR" not in rig.logs()


def test_successor_takes_over_when_it_has_prepared_everything(rig: Rig) -> None:
    first = rig.start_worker("one")
    rig.orders(range(400))
    rig.wait_for_decisions(400)
    feeder = Feeder(rig, per_second=400)
    feeder.sent = 400
    feeder.start()
    second = rig.start_worker("one", succeeds=first.process.pid)
    assert wait_until(lambda: "ready at offsets" in second.log.read_text(), 30), rig.logs()
    assert first.process.wait(10) == ExitCode.STOPPED
    sent = feeder.stop()
    rig.wait_for_decisions(sent)
    assert second.terminate() == 0
    assert "on partitions [0, 1, 2, 3]: prepared" in second.log.read_text()
    rig.check_exactly_once(sent)
