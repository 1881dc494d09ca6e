"""The regulator's batch at the end of a run: written, announced, and verified as a stranger would."""

from __future__ import annotations

import filecmp
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from streams.audit.keys import key_source
from streams.kafka.producing import Sender
from streams.names import Topic
from streams.reports.export import BatchRange, BatchSummary, announcement, export_batch
from streams.reports.identity import load_lists
from streams.reports.layout import KEY_NAME, BatchError
from streams.reports.verify import verify_batch
from streams.rig.auditing import verify_audit
from streams.topics import load_topology
from streams.warehouse.logs import WarehouseLogs
from streams.wire import devpki

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.rig.stage import Stage
    from streams.settings import Settings
    from streams.wire.note import Verifier

FOREVER_US: Final = 4_102_444_800_000_000  # the year 2100


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch and what its verification, and that of the whole log, said."""

    folder: Path
    records: int
    verified: bool
    problems: list[str]


def write_batch(settings: Settings, warehouse: Client, wanted: BatchRange, out: Path) -> BatchSummary:
    """Export a batch from the warehouse.

    Raises: BatchError where the folder is not empty.
    """
    signer = devpki.report_signer(settings.pki, KEY_NAME)
    logs = WarehouseLogs(warehouse, load_topology().lanes)
    return export_batch(logs, wanted, out, signer, settings.log_origin, pki=settings.pki)


def deliver_batch(settings: Settings, warehouse: Client, wanted: BatchRange, out: Path) -> BatchSummary:
    """Export a batch and announce it on `reports.regulator` where a cluster is set; both once, however often asked.

    The same range gives the same bytes and so the same id: a folder that has this batch stays as it is, and a batch
    that the warehouse has seen announced is not announced again.

    Raises: BatchError where the folder has something else in it.
    """
    if out.is_dir() and any(out.iterdir()):
        with TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}-") as again:
            batch = write_batch(settings, warehouse, wanted, Path(again) / "batch")
            _require_same(batch.folder, out)
        batch = replace(batch, folder=out)
    else:
        batch = write_batch(settings, warehouse, wanted, out)
    if settings.kafka_bootstrap_servers and not _is_announced(warehouse, batch):
        sender = Sender(settings.kafka_bootstrap_servers, settings.kafka_security)
        key = batch.batch_id.encode()
        sender.send(settings.topic_prefix + Topic.REPORTS_REGULATOR, key, announcement(batch, wanted))
        sender.flush()
    return batch


def _require_same(made: Path, there: Path) -> None:
    """Raise BatchError where a folder is not byte for byte the batch that was made."""
    ours, theirs = ({path.relative_to(f) for path in f.rglob("*") if path.is_file()} for f in (made, there))
    differing = ours ^ theirs | {
        name for name in ours & theirs if not filecmp.cmp(made / name, there / name, shallow=False)
    }
    if differing:
        raise BatchError(f"{there}: an empty folder required, or one with this batch; {min(differing)} differs")


def _is_announced(warehouse: Client, batch: BatchSummary) -> bool:
    sql = "SELECT count() FROM batch_manifests WHERE batch_id = {batch_id:String}"
    return bool(warehouse.query(sql, {"batch_id": batch.batch_id}).result_rows[0][0])


def batch_keys(stage: Stage) -> tuple[Verifier, ...]:
    """Return the public keys that a regulator would have been given."""
    return (devpki.report_signer(stage.settings.pki, KEY_NAME).verifier, *stage.verifiers())


def export_and_verify(stage: Stage, warehouse: Client) -> CheckedBatch:
    """Verify the whole log, write the batch of the whole run, and verify it off-line."""
    settings = stage.settings
    audit = verify_audit(settings, key_source(settings.pki, None), warehouse)
    folder = stage.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    batch = deliver_batch(settings, warehouse, BatchRange(0, FOREVER_US), folder)
    keys = batch_keys(stage)
    (stage.folder / "report.keys").write_text("".join(f"{key.vkey}\n" for key in keys))
    report = verify_batch(folder, keys, load_lists())
    problems = [f"audit: {problem}" for problem in audit.problems]
    problems += [f"batch: {problem}" for problem in report.problems]
    return CheckedBatch(folder, batch.records, audit.verified and report.verified, problems)
