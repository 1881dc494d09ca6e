"""What a run leaves behind, copied into memory, folders and a table, and checked as its owners would check it.

Checking is by part, so that 10,000 changes are minutes: a changed log is checked against its checkpoints, changed rows
against their log, a changed batch and a changed archive as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.archive.check import check_archive
from streams.archive.objects import EVENTS, NO_AGENT, agent_of
from streams.archive.store import FolderStore
from streams.audit.proof import TlogProof
from streams.audit.verify import verify_log
from streams.core.merkle import BatchProver, Frontier, hash_leaf
from streams.reports.verify import verify_batch
from streams.rig.auditing import compare_notes, compare_rows
from streams.warehouse.columns import read_rows
from streams.warehouse.logs import WarehouseLogs
from streams.wire.log_keys import Generation, LogKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.rig.warehouse_mutations import WarehouseTable
    from streams.wire.note import Signer, Verifier


@dataclass(slots=True)
class LogCopy:
    """A log as the topics have it."""

    origin: str
    leaves: list[bytes]
    notes: list[bytes]


@dataclass(slots=True)
class Evidence:
    """Copies of everything that can be changed, and the public keys that it is checked with."""

    origin: str
    """What stands before the lane in the logs' names."""
    logs: dict[int, LogCopy]
    batch: Path
    archive: Path
    keys: tuple[Verifier, ...]
    batch_keys: tuple[Verifier, ...]
    signers: dict[int, Signer]
    """The logs' own keys, for a second history that a log signs; the report's is for a batch that is signed again."""
    report_signer: Signer
    table: WarehouseTable | None = None

    @property
    def warehouse(self) -> WarehouseTable:
        """The table of the rows."""
        assert self.table is not None  # noqa: S101 - only rows' changes ask
        return self.table

    @property
    def archived(self) -> list[str]:
        """The names of the objects in the archive."""
        return list(FolderStore(self.archive).names(EVENTS))

    def sizes_of(self, number: int) -> list[int]:
        """Return the tree sizes of a log's checkpoints."""
        return [checkpoint_size(note) for note in self.logs[number].notes]

    def check_log(self, number: int) -> list[str]:
        """Say what does not hold of a log: against its checkpoints, and against the rows, which nobody has changed."""
        log = self.logs[number]
        report = verify_log(log.leaves, log.notes, self.keys, origin=log.origin)
        problems = [
            f"log {number} {_where(problem.checkpoint, problem.first_leaf, problem.end_leaf)}: {problem.detail}"
            for problem in report.problems
        ]
        compare_rows(number, iter(log.leaves), iter(self.warehouse.rows(number)), problems)
        return problems

    def check_rows(self, number: int) -> list[str]:
        """Say what does not hold of a log's rows and checkpoints in the warehouse, against the log."""
        log, client = self.logs[number], self.warehouse.client
        problems: list[str] = []
        compare_rows(number, iter(log.leaves), read_rows(client, number), problems)
        stored = (note for _, note in WarehouseLogs(client, len(self.logs)).checkpoints(number))
        return problems + compare_notes(number, iter(log.notes), stored)

    def check_batch(self) -> list[str]:
        """Say what does not hold of the batch."""
        return list(verify_batch(self.batch, self.batch_keys).problems)

    def check_archive(self) -> list[str]:
        """Say which objects of the archive are missing or do not prove themselves."""
        return list(check_archive(FolderStore(self.archive), self.origin, self._keys_of).problems)

    def _keys_of(self, origin: str) -> Sequence[LogKey]:
        return [LogKey(key, Generation(1, 0, None)) for key in self.keys if key.name == origin]


def checkpoint_size(note: bytes) -> int:
    """Return the tree size that a note states."""
    return int(note.split(b"\n", 2)[1])


def object_name(leaf: bytes, partition: int, index: int) -> str:
    """Return an event's name in the archive."""
    return f"{EVENTS}{agent_of(leaf) or NO_AGENT}/{partition}-{index}"


def _where(checkpoint: int | None, first: int | None, end: int | None) -> str:
    if checkpoint is None:
        return f"leaves from {first} up to {end}"
    return f"checkpoint {checkpoint}" + ("" if first is None else f", leaves from {first} up to {end}")


def write_archive(logs: dict[int, LogCopy], folder: Path) -> None:
    """Write every event of the logs as the archive keeps it: its leaf and its proof under a signed checkpoint."""
    store = FolderStore(folder)
    for number, log in logs.items():
        prover = BatchProver(Frontier(), [hash_leaf(leaf) for leaf in log.leaves])
        for index, leaf in enumerate(log.leaves):
            proof = TlogProof(index, tuple(prover.proof(index)), log.notes[-1], leaf)
            store.put_once(object_name(leaf, number, index), proof.encode(), held=False)
