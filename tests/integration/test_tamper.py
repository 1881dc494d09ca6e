"""A run's evidence, changed in every way there is: each change is found, and the record named."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from streams.names import Topic
from streams.reports.export import BatchRange, export_batch
from streams.reports.layout import KEY_NAME
from streams.rig.evidence import LogCopy, write_archive
from streams.rig.tampering import CHANGES, TamperError, TamperResult, evidence_of, tamper
from streams.rig.warehouse_mutations import WarehouseTable
from streams.settings import Settings
from streams.sim.fleet import fleet
from streams.warehouse.connection import connect
from streams.warehouse.rows import Record, cut_blocks
from streams.warehouse.store import Store
from streams.wire import devpki
from tests.sim_world import PARTITIONS, World
from tests.unit.test_reports import Logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.rig.evidence import Evidence

pytestmark = pytest.mark.integration

ORIGIN = "test.example"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    folder = tmp_path_factory.mktemp("tamper")
    world = World(folder / "pki", fleet(9))
    world.prices()
    world.register_all()
    world.run(48, batch=12)
    logs = copies(world)
    report = devpki.report_signer(world.folder, KEY_NAME)
    export_batch(Logs(world), BatchRange(0, 4_102_444_800_000_000), folder / "batch", report, ORIGIN)
    write_archive(logs, folder / "archive")
    dsn = f"chdb://{folder}/warehouse"
    store_rows(dsn, logs)
    settings = replace(Settings(), home=folder, pki_dir=world.folder, log_origin=ORIGIN)
    with closing(connect(dsn)) as admin:
        yield replace(evidence_of(settings, logs, folder / "batch"), table=WarehouseTable(admin))


def copies(world: World) -> dict[int, LogCopy]:
    source = Logs(world)
    return {
        number: LogCopy(
            f"{ORIGIN}/{number}", list(source.leaves(number)), [note for _, note in source.checkpoints(number)]
        )
        for number in range(PARTITIONS)
    }


def store_rows(dsn: str, logs: dict[int, LogCopy]) -> None:
    """Store the logs as the sink does."""
    store = Store.open(dsn)
    for number, log in logs.items():
        for topic, values in ((Topic.AUDIT_EVENTS, log.leaves), (Topic.AUDIT_CHECKPOINTS, log.notes)):
            records = [Record(topic, number, n, 1_767_225_600_000 + n, b"k", value) for n, value in enumerate(values)]
            for block in cut_blocks([records]):
                store.append(block)
    store.close()


def test_every_kind_of_change_is_found_and_named(evidence: Evidence) -> None:
    result = tamper(evidence, CHANGES, len(CHANGES), 7, lambda _: None)
    assert result.as_dict()["problems"] == []
    assert result.mutations == result.found == result.named == len(CHANGES)
    assert result.missed == 0
    assert orjson.loads(orjson.dumps(result.as_dict()))["ok"] is True
    assert result.ok
    assert set(result.targets) == {"log", "warehouse", "batch", "archive"}


def test_each_column_that_is_edited_is_named(evidence: Evidence) -> None:
    changes = [change for change in CHANGES if change[1] == "edit"]
    result = tamper(evidence, changes, 12, 3, lambda _: None)
    assert result.as_dict()["problems"] == []
    assert result.ok


def test_what_is_wrong_to_begin_with_is_said(evidence: Evidence) -> None:
    log = evidence.logs[0]
    sound, log.leaves = log.leaves, log.leaves[:-1]
    try:
        with pytest.raises(TamperError, match="before any change"):
            tamper(evidence, CHANGES, 1, 1, lambda _: None)
    finally:
        log.leaves = sound


def test_results_are_put_together_and_what_is_missed_is_no_success() -> None:
    assert not TamperResult().ok
    assert not TamperResult(mutations=2, found=1, named=1).ok
    assert not TamperResult(mutations=2, found=2, named=1).ok
    result = TamperResult(mutations=2, found=2, named=2)
    assert result.ok
    result.add(TamperResult(mutations=1, found=1, named=0, not_named=["x"]))
    assert (result.mutations, result.found, result.named, result.not_named) == (3, 3, 2, ["x"])
