"""The supervisor starts again what ends by itself, and tells which ends are excused."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.engine.exits import ExitCode
from streams.rig import crew as module
from streams.rig.crew import Crew, Member
from streams.settings import Settings


class FakeService:
    """A process that ends when it is told to."""

    lives: list["FakeService"]

    def __init__(self, name: str, _arguments: list[str], _settings: Settings, logs: Path) -> None:
        self.name, self.log_path = name, logs / f"{name}.log"
        self.log_path.write_text("")
        self.exit_code: int | None = None
        self.stop_code = 0
        self.lives.append(self)

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def start(self) -> None: ...

    def stop(self, *, timeout_s: float) -> bool:
        self.exit_code = self.stop_code
        return timeout_s > 0

    def kill(self) -> None:
        self.exit_code = 137

    def say(self, line: str) -> None:
        self.log_path.write_text(self.log_path.read_text() + line + "\n")


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(module, "Service", FakeService)
    FakeService.lives = []
    with closing(Crew()) as crew:
        yield crew


@pytest.fixture
def worker(crew: Crew, tmp_path: Path) -> Member:
    worker = crew.add(Member("worker-1", "worker", Settings(), tmp_path))
    crew.start()
    return worker


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_ends_by_itself_is_started_again_under_its_name(crew: Crew, worker: Member) -> None:
    FakeService.lives[0].exit_code = ExitCode.LANE_FAILURE
    until(lambda: len(FakeService.lives) == 2)
    assert worker.service.running
    assert [life.name for life in FakeService.lives] == ["worker-1.1", "worker-1.2"]
    assert dict(crew.exits) == {"worker exit 70": 1}
    assert crew.unexpected == [f"worker-1 ended with 70; log: {FakeService.lives[0].log_path}"]


def end_by_itself(crew: Crew, worker: Member, code: ExitCode) -> None:
    FakeService.lives[0].exit_code = code
    until(lambda: len(FakeService.lives) == 2)
    assert worker.service.running
    assert crew.exits.total() == 1


@pytest.mark.parametrize(
    "code",
    [
        ExitCode.FENCED,
        ExitCode.UNCERTAIN_COMMIT,
        ExitCode.TRANSACTION_TIMEOUT,
        ExitCode.DRAIN_TIMEOUT,
        ExitCode.RECOVERY_FAILED,
    ],
)
def test_an_outage_excuses_some_exits(crew: Crew, worker: Member, code: ExitCode) -> None:
    crew.upset = True
    end_by_itself(crew, worker, code)
    assert crew.unexpected == []


@pytest.mark.parametrize(
    "code",
    [
        ExitCode.LANE_FAILURE,
        ExitCode.POSITION_BROKEN,
        ExitCode.BATCH_REFUSED,
        ExitCode.MISCONFIGURED,
        ExitCode.STOPPED,
    ],
)
def test_nothing_excuses_the_others(crew: Crew, worker: Member, code: ExitCode) -> None:
    crew.upset = True
    end_by_itself(crew, worker, code)
    assert len(crew.unexpected) == 1


def test_without_an_outage_no_exit_is_excused(crew: Crew, worker: Member) -> None:
    end_by_itself(crew, worker, ExitCode.FENCED)
    assert len(crew.unexpected) == 1


def test_what_was_killed_or_stopped_stays_so_until_it_is_started(crew: Crew, worker: Member) -> None:
    before_us, after_us = worker.kill()
    assert before_us <= after_us
    time.sleep(0.1)
    assert len(FakeService.lives) == 1
    worker.start()
    assert worker.stop() == 0
    time.sleep(0.1)
    assert len(FakeService.lives) == 2
    assert crew.exits.total() == 0


def test_a_stop_that_does_not_end_well_is_told(crew: Crew, worker: Member) -> None:
    FakeService.lives[0].say("partitions: [0, 1] (given up: [])")
    for code in (0, 75, 143):
        crew.note_stop(worker, code)
    assert dict(crew.exits) == {"worker exit 75": 1, "worker exit 143": 1}


def test_sigterm_may_end_what_does_not_listen_yet(crew: Crew, worker: Member) -> None:
    crew.note_stop(worker, 143)
    assert crew.unexpected == []


def test_a_worker_has_the_partitions_that_its_log_named_last(worker: Member) -> None:
    assert worker.partitions() == ()
    FakeService.lives[0].say("INFO partitions: [0, 1, 2, 3] (given up: [])")
    FakeService.lives[0].say("INFO partitions: [1, 3] (given up: [0, 2])")
    assert worker.partitions() == (1, 3)
    FakeService.lives[0].say("INFO partitions: [] (given up: [1, 3])")
    assert worker.partitions() == ()


def test_nobody_is_left_at_the_end(crew: Crew, worker: Member) -> None:
    crew.close()
    assert not worker.service.running
    time.sleep(0.1)
    assert len(FakeService.lives) == 1
