"""What a worker and a reader do while their broker is away, and after it."""

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from streams.engine.exits import ExitCode
from streams.engine.reader import LatestReader
from streams.local import LocalKafka
from tests.integration.engine_rig import Rig, Worker, asynchronous, exit_code, goes_on, until, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("engine-outages")) as broker:
        yield broker


@pytest.fixture
def rig_servers(broker: LocalKafka) -> str:
    return broker.bootstrap_servers


def test_survives_a_broker_outage(rig: Rig, worker: Worker, broker: LocalKafka) -> None:
    broker.kill()
    time.sleep(3)
    broker.start()
    rig.orders(range(100, 200))
    rig.wait_for_decisions(200)
    assert worker.process.poll() is None
    assert len(worker.log.read_text().splitlines()) < 100
    assert worker.terminate() == ExitCode.STOPPED
    rig.check_exactly_once(200)


def test_broker_away_for_longer_than_a_transaction_may_last_ends_the_worker(rig: Rig, broker: LocalKafka) -> None:
    worker = rig.start_worker("one", transaction_timeout_ms=2_000)
    rig.orders(range(100))
    rig.wait_for_decisions(100)
    worker.process.send_signal(signal.SIGSTOP)
    rig.orders(range(100, 20_000))
    worker.process.send_signal(signal.SIGCONT)
    rig.wait_for_decisions(101)
    broker.kill()  # in the midst of it
    assert exit_code(rig, worker) in {ExitCode.TRANSACTION_TIMEOUT, ExitCode.UNCERTAIN_COMMIT}
    broker.start()
    goes_on(rig, 20_000)


def test_stops_and_starts_though_the_broker_is_away(rig: Rig, worker: Worker, broker: LocalKafka) -> None:
    broker.kill()
    begun = time.monotonic()
    assert worker.terminate() == ExitCode.STOPPED
    assert time.monotonic() - begun < 10
    successor = rig.start_worker("one")
    assert wait_until(lambda: "no broker, trying again" in successor.log.read_text(), 30)
    broker.start()
    rig.orders(range(100, 200))
    rig.wait_for_decisions(200)
    assert successor.terminate() == ExitCode.STOPPED
    rig.check_exactly_once(200)


@asynchronous
async def test_a_reader_says_so_when_it_is_cut_off_and_comes_back(rig: Rig, broker: LocalKafka) -> None:
    rig.send("prices", b"1")
    rig.producer.flush()
    reader = LatestReader(f"{rig.prefix}prices", bootstrap_servers=broker.bootstrap_servers, stale_after_s=0.5)
    await reader.start()
    await until(lambda: reader.caught_up)
    broker.kill()
    await until(lambda: not reader.caught_up, within_s=1.5)
    assert {key: record.value for key, record in reader.latest.items()} == {b"k0": b"1"}
    await asyncio.to_thread(broker.start)
    await until(lambda: reader.caught_up)
    rig.send("prices", b"2")
    await until(lambda: reader.latest[b"k0"].value == b"2")
    await reader.stop()
