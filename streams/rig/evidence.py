"""What a run leaves behind, copied into memory and a folder, and checked as its owners would check it.

Checking is by part, so that 10,000 changes are minutes: a changed log is checked with its own rows and checkpoints, a
changed batch as a whole, a changed archive object with its neighbours under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.archive.objects import EVENTS, NO_AGENT, agent_of, read_archived
from streams.audit.proof import TlogProof
from streams.audit.verify import verify_log
from streams.core.errors import PortcullisError
from streams.core.merkle import BatchProver, Frontier, hash_leaf
from streams.reports.verify import verify_batch
from streams.rig.auditing import compare_notes, compare_rows
from streams.wire.decisions import decode_audit_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.wire.note import Signer, Verifier

Row = tuple[bytes, dict[str, Any]]


@dataclass(slots=True)
class LogCopy:
    """A log as the topics have it, and as the warehouse has it."""

    origin: str
    leaves: list[bytes]
    notes: list[bytes]
    rows: list[Row]
    stored_notes: list[bytes]


@dataclass(slots=True)
class Evidence:
    """Copies of everything that can be changed, and the public keys that it is checked with."""

    logs: dict[int, LogCopy]
    batch: Path
    archive: dict[str, bytes]
    keys: tuple[Verifier, ...]
    batch_keys: tuple[Verifier, ...]
    signers: dict[int, Signer]
    """The logs' own keys, for a second history that a log signs; the report's is for a batch that is signed again."""
    report_signer: Signer

    def sizes_of(self, number: int) -> list[int]:
        """Return the tree sizes of a log's checkpoints."""
        return [checkpoint_size(note) for note in self.logs[number].notes]

    def check_log(self, number: int) -> list[str]:
        """Say what does not hold of a log: in itself, against its checkpoints, against the warehouse."""
        log = self.logs[number]
        report = verify_log(log.leaves, log.notes, self.keys, origin=log.origin)
        problems = [
            f"log {number} {_where(problem.checkpoint, problem.first_leaf, problem.end_leaf)}: {problem.detail}"
            for problem in report.problems
        ]
        compare_rows(number, iter(log.leaves), iter(log.rows), problems)
        return problems + compare_notes(number, iter(log.notes), iter(log.stored_notes))

    def check_batch(self) -> list[str]:
        """Say what does not hold of the batch."""
        return list(verify_batch(self.batch, self.batch_keys).problems)

    def check_archive(self, names: Sequence[str]) -> list[str]:
        """Say which of these objects are missing or do not prove themselves."""
        problems = []
        for name in names:
            data = self.archive.get(name)
            found = "not in the archive" if data is None else self._object_problem(name, data)
            if found:
                problems.append(f"{name}: {found}")
        return problems

    def _object_problem(self, name: str, data: bytes) -> str:
        try:
            leaf, inclusion = read_archived(data, self.keys)
            event, _ = decode_audit_event(leaf)
        except PortcullisError as error:
            return str(error)
        expected = object_name(leaf, event.partition, inclusion.index)
        origin = self.logs[event.partition].origin if event.partition in self.logs else ""
        return "" if (name, origin) == (expected, inclusion.checkpoint.origin) else f"holds {expected}"


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


def archive_of(logs: dict[int, LogCopy]) -> dict[str, bytes]:
    """Return every event of the logs as the archive keeps it: its leaf and its proof under a signed checkpoint."""
    objects = {}
    for number, log in logs.items():
        prover = BatchProver(Frontier(), [hash_leaf(leaf) for leaf in log.leaves])
        for index, leaf in enumerate(log.leaves):
            proof = TlogProof(index, tuple(prover.proof(index)), log.notes[-1], leaf)
            objects[object_name(leaf, number, index)] = proof.encode()
    return objects
