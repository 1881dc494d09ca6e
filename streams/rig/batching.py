"""The regulator's batch at the end of a run: written, announced, and verified as a stranger would."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from streams.audit.keys import key_source
from streams.names import Topic
from streams.reports.export import BatchRange, BatchSummary, announcement, export_batch
from streams.reports.layout import KEY_NAME, MANIFEST, BatchError
from streams.reports.verify import verify_batch
from streams.rig.auditing import verify_audit
from streams.rig.producing import Sender
from streams.topics import load_topology
from streams.warehouse.logs import WarehouseLogs
from streams.wire import devpki
from streams.wire.log_keys import log_keys
from streams.wire.note import Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

    from streams.rig.stage import Stage
    from streams.settings import Settings

FOREVER_US: Final = 4_102_444_800_000_000  # the year 2100


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch and what its verification, and that of the whole log, said."""

    folder: Path
    records: int
    verified: bool
    problems: list[str]


def write_batch(settings: Settings, warehouse: Client, wanted: BatchRange, out: Path) -> BatchSummary:
    """Export a batch and announce it on `reports.regulator` where a cluster is set.

    Raises: BatchError where the folder is not empty.
    """
    signer = devpki.report_signer(settings.pki, KEY_NAME)
    logs = WarehouseLogs(warehouse, load_topology().lanes)
    batch = export_batch(logs, wanted, out, signer, settings.log_origin)
    if settings.kafka_bootstrap_servers:
        sender = Sender(settings.kafka_bootstrap_servers, settings.kafka_security)
        key = batch.batch_id.encode()
        sender.send(settings.topic_prefix + Topic.REPORTS_REGULATOR, key, announcement(batch, wanted))
        sender.flush()
    return batch


def local_keys(settings: Settings, folder: Path) -> tuple[Verifier, ...]:
    """Return the local PKI's public keys for a batch: the report key, and those of the logs that it names.

    Raises: BatchError where the manifest cannot be read.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        origins = [str(log["origin"]) for log in manifest["logs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BatchError(f"{MANIFEST}: cannot be read ({error})") from None
    logs = (key.verifier for origin in origins for key in log_keys(settings.pki, origin))
    return (devpki.report_signer(settings.pki, KEY_NAME).verifier, *logs)


def read_keys(path: Path) -> tuple[Verifier, ...]:
    """Return the public keys of a file, one verifier key per line. Raises: NoteError where one is malformed."""
    return tuple(Verifier.parse(line) for line in path.read_text().split() if line)


def batch_keys(stage: Stage) -> tuple[Verifier, ...]:
    """Return the public keys that a regulator would have been given."""
    return (devpki.report_signer(stage.settings.pki, KEY_NAME).verifier, *stage.verifiers())


def export_and_verify(stage: Stage, warehouse: Client) -> CheckedBatch:
    """Verify the whole log, write the batch of the whole run, and verify it off-line."""
    settings = stage.settings
    audit = verify_audit(settings, key_source(settings.pki, None), warehouse)
    folder = stage.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    batch = write_batch(settings, warehouse, BatchRange(0, FOREVER_US), folder)
    keys = batch_keys(stage)
    (stage.folder / "report.keys").write_text("".join(f"{key.vkey}\n" for key in keys))
    report = verify_batch(folder, keys)
    problems = [f"audit: {problem}" for problem in audit.problems]
    problems += [f"batch: {problem}" for problem in report.problems]
    return CheckedBatch(folder, batch.records, audit.verified and report.verified, problems)
