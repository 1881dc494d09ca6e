"""Recovery ends when every record was applied, neither sooner nor with a gap."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from faust.types import TP

from streams.engine.changelog import LaneRows, TableKind
from streams.engine.exits import ExitCode
from streams.engine.recovery import Recovery
from streams.engine.sources import SourceBatch
from tests.integration.engine_rig import asynchronous

LOG = TP("app-log-changelog", 1)
BOTS = TP("app-bots-changelog", 1)


class Record(NamedTuple):
    offset: int
    key: bytes
    value: bytes


class Codec:
    def encode(self, row: bytes, /) -> bytes:
        return row

    def decode(self, data: bytes, /) -> bytes:
        return data


KINDS = {"any": TableKind(Codec())}


@dataclass(eq=False)
class Table:
    rows: LaneRows = field(default_factory=lambda: LaneRows(KINDS))

    def partition(self, _: int) -> LaneRows:
        return self.rows

    def keys(self) -> list[str]:
        found: list[str] = self.rows.tables["any"].keys()
        return found

    def persisted_offset(self, _: TP) -> int | None:
        return None if self.rows.position < 0 else self.rows.position


class FailedError(Exception):
    pass


class Engine:
    revocations = 3

    def fail(self, code: ExitCode, _where: str, cause: BaseException) -> None:
        raise FailedError(f"{code.name}: {cause}")


@dataclass
class Restoring:
    """A recovery of two changelogs, one up to a marker at offset 9, the other up to a record at offset 4."""

    recovery: Recovery
    log: Table
    bots: Table

    def batch(self, tp: TP, start: int, end: int, *offsets: int, epoch: int = 3) -> None:
        records = [Record(offset, b"any\0k%d" % offset, b"v") for offset in offsets]
        self.recovery._take(SourceBatch(tp, start, end, records, epoch))

    def ended(self) -> bool:
        return bool(self.recovery.signal_recovery_end.is_set()) and not self.recovery.in_recovery


@pytest.fixture
def restoring() -> Restoring:
    log, bots = Table(), Table()
    app = SimpleNamespace(conf=SimpleNamespace(stream_recovery_delay=0.0), engine=Engine(), in_recovery=False)
    made = Restoring(Recovery(app, SimpleNamespace()), log, bots)
    assign(made)
    return made


def assign(made: Restoring) -> None:
    """Assign both changelogs and ask for their ends, as Faust does at a rebalance."""
    recovery = made.recovery
    for table, tp in ((made.log, LOG), (made.bots, BOTS)):
        recovery.add_active(table, tp)
    recovery._set_recovery_started()
    for tp, highwater in ((LOG, 9), (BOTS, 4)):
        recovery.active_highwaters[tp] = highwater
        if recovery.active_offsets[tp] is None:
            recovery.active_offsets[tp] = -1
    recovery._set_recovery_started()


def test_ends_with_the_last_batch_even_if_it_holds_markers_alone(restoring: Restoring) -> None:
    restoring.batch(LOG, 0, 7, 0, 2, 4, 6)
    assert not restoring.ended()
    restoring.batch(BOTS, 0, 5, 0, 4)
    assert not restoring.ended()
    restoring.batch(LOG, 7, 9, 7)
    assert not restoring.ended()
    restoring.batch(LOG, 9, 10)
    assert restoring.ended()
    assert restoring.log.keys() == ["k0", "k2", "k4", "k6", "k7"]
    assert restoring.bots.keys() == ["k0", "k4"]


def test_records_are_applied_once(restoring: Restoring) -> None:
    restoring.batch(LOG, 0, 7, 0, 2)
    restoring.batch(LOG, 0, 7, 0, 2, 4)
    assert restoring.log.keys() == ["k0", "k2"]


def test_a_gap_ends_the_worker(restoring: Restoring) -> None:
    restoring.batch(LOG, 0, 4, 0)
    with pytest.raises(FailedError, match=r"RECOVERY_FAILED: app-log-changelog-1: offset 5 follows 3"):
        try_take(restoring, LOG, 5, 8)


def test_a_changelog_that_does_not_begin_where_it_should_ends_the_worker(restoring: Restoring) -> None:
    with pytest.raises(FailedError, match="offset 2 follows -1"):
        try_take(restoring, LOG, 2, 8)


def try_take(restoring: Restoring, tp: TP, start: int, end: int, *keys: bytes) -> None:
    records = [Record(start + number, key, b"v") for number, key in enumerate(keys)]
    try:
        restoring.recovery._take(SourceBatch(tp, start, end, records, 3))
    except Exception as error:  # noqa: BLE001 - as the task that reads the queue does
        restoring.recovery._fail(error)


def test_batches_of_an_assignment_that_is_over_are_passed_over(restoring: Restoring) -> None:
    restoring.batch(LOG, 5, 10, 5, epoch=2)
    restoring.batch(TP("app-log-changelog", 0), 0, 10, 5)
    assert restoring.log.keys() == []
    assert restoring.recovery.active_offsets[LOG] == -1


def test_rows_that_were_given_up_are_restored_from_the_first_record(restoring: Restoring) -> None:
    restoring.batch(LOG, 0, 10, 0, 8)
    restoring.batch(BOTS, 0, 5, 4)
    assert restoring.ended()
    restoring.log.rows = LaneRows(KINDS)
    assign(restoring)
    assert not restoring.ended()
    assert restoring.recovery.active_offsets[LOG] == -1
    assert restoring.recovery.active_offsets[BOTS] == 4
    restoring.batch(LOG, 0, 10, 0, 8)
    assert restoring.ended()
    assert restoring.log.keys() == ["k0", "k8"]


def test_a_step_that_takes_too_long_ends_the_worker(restoring: Restoring) -> None:
    @asynchronous
    async def wait() -> None:
        await restoring.recovery._wait(restoring.recovery.signal_recovery_end.wait(), timeout=0.01)

    with pytest.raises(FailedError, match=r"a step of recovery took longer than 0\.01 s"):
        wait()


def test_a_row_of_a_table_that_this_worker_does_not_have_ends_it(restoring: Restoring) -> None:
    with pytest.raises(FailedError, match="RECOVERY_FAILED: 'other'"):
        try_take(restoring, LOG, 0, 4, b"other\0k")
    with pytest.raises(FailedError, match="RECOVERY_FAILED: changelog key b'k': a table's name required"):
        try_take(restoring, LOG, 0, 4, b"k")
