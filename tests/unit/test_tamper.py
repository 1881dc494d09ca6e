"""A run's evidence, changed in every way there is: each change is found, and the record named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from streams.reports.export import BatchRange, export_batch
from streams.reports.layout import KEY_NAME
from streams.rig.evidence import Evidence, LogCopy, archive_of
from streams.rig.tampering import CHANGES, TamperError, TamperResult, tamper
from streams.sim.fleet import fleet
from streams.warehouse.columns import expected_row
from streams.wire import devpki
from tests.sim_world import PARTITIONS, World
from tests.unit.test_reports import Logs

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "test.example"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("tamper")
    world = World(folder / "pki", fleet(9))
    world.prices()
    world.register_all()
    world.run(48, batch=12)
    return collected(world, folder / "batch")


def collected(world: World, out: Path) -> Evidence:
    """Return what the run left, rows as the warehouse has them."""
    source = Logs(world)
    report = devpki.report_signer(world.folder, KEY_NAME)
    export_batch(source, BatchRange(0, 4_102_444_800_000_000), out, report, ORIGIN)
    signers = {number: devpki.log_signer(world.folder, f"{ORIGIN}/{number}") for number in range(PARTITIONS)}
    logs = {}
    for number in range(PARTITIONS):
        leaves = list(source.leaves(number))
        notes = [note for _, note in source.checkpoints(number)]
        rows = [(leaf, expected_row(leaf)) for leaf in leaves]
        logs[number] = LogCopy(f"{ORIGIN}/{number}", leaves, notes, rows, list(notes))
    keys = tuple(signer.verifier for signer in signers.values())
    return Evidence(logs, out, archive_of(logs), keys, (report.verifier, *keys), signers, report)


def test_every_kind_of_change_is_found_and_named(evidence: Evidence) -> None:
    result = tamper(evidence, 2 * len(CHANGES), 7, lambda _: None)
    assert result.as_dict()["problems"] == []
    assert result.mutations == result.found == result.named == 2 * len(CHANGES)
    assert result.missed == 0
    assert orjson.loads(orjson.dumps(result.as_dict()))["ok"] is True
    assert result.ok
    assert set(result.targets) == {"log", "warehouse", "batch", "archive"}


def test_what_is_wrong_to_begin_with_is_said(evidence: Evidence) -> None:
    log = evidence.logs[0]
    sound, log.leaves = log.leaves, log.leaves[:-1]
    try:
        with pytest.raises(TamperError, match="before any change"):
            tamper(evidence, 1, 1, lambda _: None)
    finally:
        log.leaves = sound


def test_what_is_missed_is_no_success() -> None:
    assert not TamperResult().ok
    assert not TamperResult(mutations=2, found=1, named=1).ok
    assert not TamperResult(mutations=2, found=2, named=1).ok
    assert TamperResult(mutations=2, found=2, named=2).ok
