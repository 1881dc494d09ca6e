"""Checking a batch off-line: needs the folder and public keys, neither Kafka nor ClickHouse nor us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.audit.checkpoint import CheckpointError, verify_checkpoint
from streams.core.merkle import Frontier, MerkleError, hash_leaf
from streams.reports.layout import (
    FORMAT,
    KEY_NAME,
    MANIFEST,
    RECORD_FILES,
    SIGNATURE,
    BatchError,
    LogRange,
    checkpoints_file,
    file_digest,
    frontier_file,
    leaves_file,
    manifest_text,
    read_items,
    record_line,
    record_of,
)
from streams.wire.avro import DecodeError
from streams.wire.decisions import decode_audit_event
from streams.wire.note import NoteError, verify_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streams.wire.note import Verifier

_MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024
_PROBLEMS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What was checked, and everything that does not hold."""

    verified: bool
    records: int
    leaves: int
    checkpoints: int
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


def verify_batch(folder: Path, keys: Sequence[Verifier]) -> BatchReport:
    """Check a batch against public keys: signature, files, logs, and every record against its leaf.

    `keys` are the report key's and those of all logs; a log whose key is among them may not be left out.
    """
    return _Verification(folder, keys).run()


class _Verification:
    """One verification; every step appends what does not hold."""

    def __init__(self, folder: Path, keys: Sequence[Verifier]) -> None:
        self._folder = folder
        self._keys = keys
        self._problems: list[str] = []
        self._counts = {"records": 0, "leaves": 0, "checkpoints": 0}
        self._lines: dict[str, Iterator[bytes]] = {}

    def run(self) -> BatchReport:
        manifest = self._manifest()
        if manifest is not None:
            self._check_files(manifest["files"])
            self._lines = {name: self._read_lines(name) for name in RECORD_FILES}
            for log in manifest["logs"]:
                self._check_log(LogRange(**log), manifest)
            self._check_ends(manifest["records"])
            self._check_logs_present({log["origin"] for log in manifest["logs"]})
        problems = tuple(self._problems[:_PROBLEMS_MAX])
        return BatchReport(verified=not self._problems, problems=problems, **self._counts)

    def _problem(self, text: str) -> None:
        self._problems.append(text)

    def _manifest(self) -> dict[str, Any] | None:
        """Return the manifest if it is signed by a known key; nothing else is believed."""
        try:
            manifest = (self._folder / MANIFEST).read_bytes()
            note = (self._folder / SIGNATURE).read_bytes()
        except OSError as error:
            self._problem(f"{error.filename and MANIFEST}: cannot be read ({error.strerror})")
            return None
        if len(manifest) > _MANIFEST_BYTES_MAX:
            self._problem(f"{MANIFEST}: at most {_MANIFEST_BYTES_MAX} bytes, has {len(manifest)}")
            return None
        try:
            signed = verify_note(note, self._keys).text
        except NoteError as error:
            self._problem(f"{SIGNATURE}: {error}")
            return None
        if signed != manifest_text(manifest):
            self._problem(f"{SIGNATURE}: signs another manifest")
            return None
        document: dict[str, Any] = orjson.loads(manifest)
        if document.get("format") != FORMAT:
            self._problem(f"{MANIFEST}: format {FORMAT} required, is {document.get('format')!r}")
            return None
        return document

    def _check_files(self, files: dict[str, dict[str, Any]]) -> None:
        present = {p.relative_to(self._folder).as_posix() for p in self._folder.rglob("*") if p.is_file()}
        for name in sorted(present - files.keys() - {MANIFEST, SIGNATURE}):
            self._problem(f"{name}: not in the manifest")
        for name, stated in files.items():
            if name not in present:
                self._problem(f"{name}: missing")
                continue
            digest, size = file_digest(self._folder / name)
            if (digest, size) != (stated["sha256"], stated["bytes"]):
                self._problem(f"{name}: not the file that was signed")

    def _read_lines(self, name: str) -> Iterator[bytes]:
        try:
            with (self._folder / name).open("rb") as file:
                yield from file
        except OSError as error:
            self._problem(f"{name}: cannot be read ({error.strerror})")

    def _check_log(self, log: LogRange, manifest: dict[str, Any]) -> None:
        """Rebuild the tree over the leaves and hold every checkpoint and every record against it."""
        where = f"log {log.partition}"
        roots = self._checkpoints(log)
        try:
            frontier = Frontier.from_bytes((self._folder / frontier_file(log.partition)).read_bytes())
        except (OSError, MerkleError) as error:
            self._problem(f"{frontier_file(log.partition)}: {error}")
            return
        if log.begin and not log.begin < log.first <= log.last <= log.end:
            self._problem(f"{where}: the leaf before its first record is not shown to be outside the range")
        if frontier.size != log.begin:
            self._problem(f"{where}: frontier of size {log.begin} required, is {frontier.size}")
        self._check_root(where, frontier, roots)
        try:
            for leaf in read_items(self._folder / leaves_file(log.partition)):
                self._check_leaf(where, leaf, frontier.size, log, manifest)
                frontier = frontier.append(hash_leaf(leaf))
                self._counts["leaves"] += 1
                self._check_root(where, frontier, roots)
        except BatchError as error:
            self._problem(str(error))
        if frontier.size != log.end:
            self._problem(f"{where}: leaves up to {log.end} required, end at {frontier.size}")
        for size in sorted(roots):
            self._problem(f"{where}: checkpoint of size {size} is outside the leaves")

    def _checkpoints(self, log: LogRange) -> dict[int, bytes]:
        """Return the roots that the log has signed, by tree size; the last leaf must be under one."""
        roots: dict[int, bytes] = {}
        try:
            for number, note in enumerate(read_items(self._folder / checkpoints_file(log.partition))):
                try:
                    checkpoint = verify_checkpoint(note, self._keys)
                except (NoteError, CheckpointError) as error:
                    self._problem(f"log {log.partition} checkpoint {number}: {error}")
                    continue
                self._counts["checkpoints"] += 1
                if checkpoint.origin != log.origin:
                    self._problem(f"log {log.partition} checkpoint {number}: of {checkpoint.origin}, not {log.origin}")
                elif roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                    self._problem(f"log {log.partition}: two roots signed for size {checkpoint.size}: a forked log")
        except BatchError as error:
            self._problem(str(error))
        if log.end and log.end not in roots:
            self._problem(f"log {log.partition}: no signed checkpoint of size {log.end} covers its last leaf")
        return roots

    def _check_root(self, where: str, frontier: Frontier, roots: dict[int, bytes]) -> None:
        signed = roots.pop(frontier.size, None)
        if signed is not None and signed != frontier.root():
            self._problem(f"{where}: the leaves up to {frontier.size} are not those that were signed")

    def _check_leaf(self, where: str, leaf: bytes, index: int, log: LogRange, manifest: dict[str, Any]) -> None:
        try:
            event, _ = decode_audit_event(leaf)
            made = record_of(leaf)
        except (DecodeError, KeyError, ValueError) as error:
            self._problem(f"{where} leaf {index}: cannot be read ({error})")
            return
        if (event.log_index, event.partition) != (index, log.partition):
            self._problem(f"{where} leaf {index}: says it is leaf {event.log_index} of log {event.partition}")
        in_range = manifest["range_from_us"] <= event.event_time_us < manifest["range_to_us"]
        if in_range and not log.first <= index < log.last:
            self._problem(f"{where} leaf {index}: in the range, but left out of the records")
        if made is None or not log.first <= index < log.last:
            return
        name, record = made
        if manifest["bot"] not in ("", record["agent_id"]):
            return
        self._counts["records"] += 1
        line = next(self._lines[name], b"")
        if line != record_line(record):
            self._problem(f"{name}: the record of {where} leaf {index} is not what the leaf says")

    def _check_logs_present(self, origins: set[str]) -> None:
        """Require a part of every log whose key is known: a log with nothing in the range is there too, empty."""
        for key in self._keys:
            if key.name != KEY_NAME and key.name not in origins:
                self._problem(f"log {key.name}: its key is known, but the batch leaves it out")

    def _check_ends(self, counts: dict[str, int]) -> None:
        for name, lines in self._lines.items():
            extra = sum(1 for _ in lines)
            if extra:
                self._problem(f"{name}: {extra} records more than the leaves make")
        if sum(counts.values()) != self._counts["records"]:
            self._problem(f"{MANIFEST}: {sum(counts.values())} records stated, {self._counts['records']} made")
