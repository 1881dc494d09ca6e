"""Each request of a transaction fails once without, and once after, being carried out: nothing is lost or doubled."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from streams.clock import now_us
from streams.engine.exits import ExitCode
from streams.kafka.reading import read_all
from streams.local import LocalKafka
from streams.names import Topic
from streams.rig.exchange import Exchange
from streams.rig.ledger import Ledger
from streams.rig.processes import environment
from streams.rig.settling import wait_until_settled
from streams.rig.stage import Stage, set_stage
from streams.rig.steady import SteadyLoad
from streams.settings import Settings
from streams.sim.fleet import fleet
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.sim.tape import BUNDLED_TAPE, read_tape
from tests.integration.engine_rig import Worker, wait_until
from tests.integration.faulty_worker import APPLIED, MARK, NOT_APPLIED

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SURVIVES = None
WRITING = {"ProduceRequest", "TxnOffsetCommitRequest", "EndTxnRequest"}
# What the sender does again by itself ends nothing; whatever else goes wrong ends the worker, with its own exit code.
CASES = [
    ("InitProducerIdRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("InitProducerIdRequest", APPLIED, "lost connection", SURVIVES),
    ("ListTransactionsRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("StableOffsetFetchRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("AddPartitionsToTxnRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("AddPartitionsToTxnRequest", APPLIED, "lost connection", SURVIVES),
    ("AddOffsetsToTxnRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("AddOffsetsToTxnRequest", APPLIED, "lost connection", SURVIVES),
    ("ProduceRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("ProduceRequest", APPLIED, "lost connection", SURVIVES),
    ("TxnOffsetCommitRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("TxnOffsetCommitRequest", APPLIED, "lost connection", SURVIVES),
    ("EndTxnRequest", NOT_APPLIED, "lost connection", SURVIVES),
    ("EndTxnRequest", APPLIED, "lost connection", SURVIVES),
    ("ProduceRequest", NOT_APPLIED, "bug", ExitCode.LANE_FAILURE),
    ("ProduceRequest", APPLIED, "bug", ExitCode.LANE_FAILURE),
    ("TxnOffsetCommitRequest", NOT_APPLIED, "bug", ExitCode.LANE_FAILURE),
    ("TxnOffsetCommitRequest", APPLIED, "bug", ExitCode.LANE_FAILURE),
    ("EndTxnRequest", NOT_APPLIED, "bug", ExitCode.UNCERTAIN_COMMIT),
    ("EndTxnRequest", APPLIED, "bug", ExitCode.UNCERTAIN_COMMIT),
]


@dataclass
class Scene:
    """A stage under load, its worker started anew with another fault for each case."""

    stage: Stage
    ledger: Ledger
    load: SteadyLoad
    exchange: Exchange
    logs: list[str] = field(default_factory=list)

    def worker(self, request: str, when: str, how: str) -> Worker:
        settings = replace(self.stage.settings, instance_id="worker-1")
        # The first transactions go well, so that there is something to lose.
        after = 8 if request in {"AddPartitionsToTxnRequest", "AddOffsetsToTxnRequest"} | WRITING else 0
        fault = {"request": request, "when": when, "how": how, "after": after}
        command = [
            sys.executable,
            "-m",
            "tests.integration.faulty_worker",
            json.dumps(environment(settings)),
            json.dumps(fault),
        ]
        return Worker(command, self.stage.folder / f"{len(self.logs)}-{request}.log")

    def decides(self, since_us: int) -> bool:
        self.ledger.check()
        self.load.check()
        return all(self.ledger.resumed_us(number, since_us) for number in range(self.stage.partitions))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("faults")
    ticks = list(read_tape(BUNDLED_TAPE))
    with LocalKafka(folder / "kafka") as broker:
        stage = set_stage(folder, Settings(kafka_bootstrap_servers=broker.bootstrap_servers), ticks, fleet(20))
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        ledger = Ledger(stage.settings, stage.verifiers())
        load = SteadyLoad(stage, exchange, ticks, seed=13, rate=100)
        exchange.start()
        ledger.start()
        load.start()
        yield Scene(stage, ledger, load, exchange)
        ledger.stop()


@pytest.mark.parametrize(("request_name", "when", "how", "expected"), CASES)
def test_request_that_fails(scene: Scene, request_name: str, when: str, how: str, expected: ExitCode | None) -> None:
    worker = scene.worker(request_name, when, how)
    try:
        assert wait_until(lambda: MARK in worker.log.read_text(), 30), worker.log.read_text()
        if expected is SURVIVES:
            failed_us = now_us()
            assert wait_until(lambda: scene.decides(failed_us), 30), worker.log.read_text()
            assert worker.process.poll() is None
            assert worker.terminate() == ExitCode.STOPPED, worker.log.read_text()
        else:
            assert worker.process.wait(15) == expected, worker.log.read_text()
            assert f"exit_name={expected.name}" in worker.log.read_text()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    with scene.ledger.lock:
        assert scene.ledger.tally.counts.problems == []


def test_afterwards_everything_is_decided_once_and_rightly(scene: Scene) -> None:
    scene.load.stop()
    worker = scene.worker("none", NOT_APPLIED, "bug")
    try:
        assert wait_until(lambda: all_answered(scene), 30), worker.log.read_text()
        scene.exchange.stop()
        wait_until_settled(scene.stage.settings, check=scene.ledger.check)
        assert worker.terminate() == ExitCode.STOPPED
    finally:
        if worker.process.poll() is None:
            worker.kill()
    time.sleep(0.1)
    names = [scene.stage.topic(topic) for topic in Topic]
    history = History.of(read_all(scene.stage.settings.kafka_bootstrap_servers, names, {}))
    judged = judge(history)
    assert judged.mismatches == ()
    assert judged.approved > 100
    assert scene.exchange.refused == []


def all_answered(scene: Scene) -> bool:
    ends = scene.ledger.requested()
    return sum(ends.values()) == scene.load.acknowledged and scene.ledger.unanswered(ends) == 0
