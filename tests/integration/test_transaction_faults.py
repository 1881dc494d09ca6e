"""Each request of a transaction fails once without, and once after, being carried out: nothing is lost or doubled."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from streams.clock import now_us
from streams.engine.exits import ExitCode
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.exchange import Exchange
from streams.rig.ledger import Ledger
from streams.rig.processes import environment
from streams.rig.settling import wait_until_settled
from streams.rig.stage import Stage, open_stage
from streams.rig.steady import SteadyLoad
from streams.settings import Settings
from streams.sim.fleet import fleet
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.sim.tape import BUNDLED_TAPE, read_tape
from tests.floor import UNHURRIED_MS
from tests.integration.engine_rig import Worker, wait_until
from tests.integration.faulty_worker import APPLIED, NOT_APPLIED, Fault

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LOST, BUG = "lost connection", "bug"
# The first transactions go well, so that there is something to lose.
AFTER = 4
# What the client does again by itself ends nothing, in the order in which a worker comes to it.
SURVIVED = [
    Fault("InitProducerIdRequest", NOT_APPLIED, LOST, 0),
    Fault("InitProducerIdRequest", APPLIED, LOST, 0),
    Fault("ListTransactionsRequest", NOT_APPLIED, LOST, 0),
    Fault("StableOffsetFetchRequest", NOT_APPLIED, LOST, 0),
    *(
        Fault(request, when, LOST, AFTER)
        for request in (
            "AddPartitionsToTxnRequest",
            "AddOffsetsToTxnRequest",
            "ProduceRequest",
            "TxnOffsetCommitRequest",
            "EndTxnRequest",
        )
        for when in (NOT_APPLIED, APPLIED)
    ),
]
# Whatever else goes wrong ends the worker, with its own exit code.
ENDS = [
    (Fault(request, when, BUG, AFTER), expected)
    for request, expected in (
        ("ProduceRequest", ExitCode.LANE_FAILURE),
        ("TxnOffsetCommitRequest", ExitCode.LANE_FAILURE),
        ("EndTxnRequest", ExitCode.UNCERTAIN_COMMIT),
    )
    for when in (NOT_APPLIED, APPLIED)
]


@dataclass
class Scene:
    """A stage under load, its worker started anew with other faults."""

    stage: Stage
    ledger: Ledger
    load: SteadyLoad
    exchange: Exchange
    started: int = 0

    def worker(self, *faults: Fault) -> Worker:
        settings = replace(self.stage.settings, instance_id="worker-1")
        command = [
            sys.executable,
            "-m",
            "tests.integration.faulty_worker",
            json.dumps(environment(settings)),
            json.dumps(faults),
        ]
        self.started += 1
        return Worker(command, self.stage.folder / f"worker-{self.started}.log")

    def decides(self, since_us: int) -> bool:
        self.ledger.check()
        self.load.check()
        return all(self.ledger.resumed_us(number, since_us) for number in range(self.stage.partitions))


@pytest.fixture(scope="module")
def scene(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    ticks = list(read_tape(BUNDLED_TAPE))
    settings = Settings(kafka_bootstrap_servers=kafka, fetch_wait_ms_min=UNHURRIED_MS)
    with open_stage(tmp_path_factory.mktemp("faults"), settings, ticks, fleet(20)) as stage:
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        ledger = Ledger(stage.settings, stage.verifiers())
        load = SteadyLoad(stage, exchange, ticks, seed=13, rate=100)
        exchange.start()
        ledger.start()
        load.start()
        yield Scene(stage, ledger, load, exchange)
        ledger.stop()


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


def check_nothing_lost(scene: Scene) -> None:
    with scene.ledger.lock:
        assert scene.ledger.tally.counts.problems == []


def test_a_worker_survives_lost_connections(scene: Scene) -> None:
    with running(scene.worker(*SURVIVED)) as worker:
        for fault in SURVIVED:
            assert wait_until(lambda mark=fault.mark: mark in worker.log.read_text(), 30), worker.log.read_text()  # type: ignore[misc]
            assert worker.process.poll() is None, worker.log.read_text()
        failed_us = now_us()
        assert wait_until(lambda: scene.decides(failed_us), 30), worker.log.read_text()
        assert worker.terminate() == ExitCode.STOPPED, worker.log.read_text()
    check_nothing_lost(scene)


@pytest.mark.parametrize(("fault", "expected"), ENDS)
def test_a_bug_ends_a_worker(scene: Scene, fault: Fault, expected: ExitCode) -> None:
    with running(scene.worker(fault)) as worker:
        assert wait_until(lambda: fault.mark in worker.log.read_text(), 30), worker.log.read_text()
        assert worker.process.wait(15) == expected, worker.log.read_text()
        assert f"exit_name={expected.name}" in worker.log.read_text()
    check_nothing_lost(scene)


def test_afterwards_everything_is_decided_once_and_rightly(scene: Scene) -> None:
    scene.load.stop()
    with running(scene.worker()) as worker:
        assert wait_until(lambda: all_answered(scene), 30), worker.log.read_text()
        scene.exchange.stop()
        wait_until_settled(scene.stage.settings, check=scene.ledger.check)
        assert worker.terminate() == ExitCode.STOPPED
    time.sleep(0.1)
    names = [scene.stage.topic(topic) for topic in Topic]
    history = History.of(
        read_all(scene.stage.settings.kafka_bootstrap_servers, names, {}), prefix=scene.stage.settings.topic_prefix
    )
    judged = judge(history)
    assert judged.mismatches == ()
    assert judged.approved > 100
    assert scene.exchange.refused == []


def all_answered(scene: Scene) -> bool:
    ends = scene.ledger.requested()
    return sum(ends.values()) == scene.load.acknowledged and scene.ledger.unanswered(ends) == 0
