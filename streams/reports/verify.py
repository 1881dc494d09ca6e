"""Checking a batch off-line: needs the folder and public keys, neither Kafka nor ClickHouse nor us.

1. The manifest is signed by the report key, has its form, and names every file with its digest.
2. Each checkpoint is signed by its log, with a key that counted when its last leaf happened, and no two of one size
   differ.
3. The leaves, put together with the frontier before them, give the root that each checkpoint signs.
4. Each leaf in the range makes its records, these and no others, in their order; each record fits its schema.
5. No leaf in the range is left out; the leaf before the first record is shown to be outside.
6. Who runs each bot is what its registration says, itself proven to be in the log.
7. Identifiers are well formed and on their lists; the Parquet files have the same records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.audit.checkpoint import CheckpointError, open_checkpoint
from streams.core.merkle import Frontier, MerkleError
from streams.reports.check import Asked, CheckedSection, SectionChecker
from streams.reports.facts import Facts
from streams.reports.forms import manifest_problem
from streams.reports.identity import PartyCheck, identifier_gaps
from streams.reports.layout import (
    FORMAT,
    KEY_NAME,
    MANIFEST,
    RECORD_FILES,
    SIGNATURE,
    BatchError,
    Extent,
    LogRange,
    checkpoints_file,
    columns_file,
    file_digest,
    frontier_file,
    leaves_file,
    lines_file,
    manifest_text,
    read_items,
    section_size,
)
from streams.reports.leaves import Selection
from streams.reports.sections import Join
from streams.reports.workers import workers
from streams.wire.note import NoteError, verify_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from streams.reports.identity import Lists
    from streams.reports.workers import Workers
    from streams.wire.log_keys import Generation
    from streams.wire.note import Verifier

    Spans = Mapping[Verifier, Generation]

_MANIFEST_BYTES_MAX: Final = 64 * 1024 * 1024
_PROBLEMS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What was checked and everything that does not hold; ``gaps`` is what could not be checked, or is not known."""

    verified: bool
    records: int
    leaves: int
    checkpoints: int
    problems: tuple[str, ...]
    batch_id: str = ""
    gaps: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        names = ("verified", "records", "leaves", "checkpoints", "problems", "batch_id", "gaps")
        return {name: getattr(self, name) for name in names}


def verify_batch(
    folder: Path, keys: Sequence[Verifier], lists: Lists | None = None, spans: Spans = MappingProxyType({})
) -> BatchReport:
    """Check a batch against public keys: signature, files, logs, and every record against its leaf.

    `keys` are the report key's and those of all logs; a log whose key is among them may not be left out. `lists` are
    the reference lists that identifiers are looked up in, `spans` the times in which keys count; a key without one
    counts always.
    """
    return _Verification(folder, keys, lists, spans).run()


class _Verification:
    """One verification; every step appends what does not hold."""

    def __init__(self, folder: Path, keys: Sequence[Verifier], lists: Lists | None, spans: Spans) -> None:
        self._folder = folder
        self._spans = spans
        # Who has signed a checkpoint of each size, of the log that is being checked.
        self._signers: dict[int, set[Verifier]] = {}
        self._keys = keys
        self._lists = lists
        self._problems: list[str] = []
        self._gaps: list[str] = []
        self._used: set[str] = set()
        self._venues: set[str] = set()
        self._counts = {"records": 0, "leaves": 0, "checkpoints": 0}
        self._offsets = [0] * len(RECORD_FILES)
        self._groups = [0] * len(RECORD_FILES)
        self._differing: dict[int, list[str]] = {}
        self._differing_columns: dict[int, list[str]] = {}

    def run(self) -> BatchReport:
        manifest, digest = self._manifest()
        try:
            if manifest is not None:
                self._check(manifest)
        except BatchError as error:
            self._problem(str(error))
        problems = tuple(self._problems[:_PROBLEMS_MAX])
        return BatchReport(
            verified=not self._problems,
            problems=problems,
            batch_id=digest,
            gaps=tuple(self._gaps[:_PROBLEMS_MAX]),
            keys=tuple(sorted(self._used)),
            manifest=manifest or {},
            **self._counts,
        )

    def _check(self, manifest: dict[str, Any]) -> None:
        logs = [LogRange.from_dict(log) for log in manifest["logs"]]
        facts = Facts.from_dict(manifest)
        selection = Selection(manifest["bot"], manifest["market"])
        span_us = manifest["range_from_us"], manifest["range_to_us"]
        make = partial(_checker, self._folder, facts, selection, span_us)
        with workers(make, sum(len(log.sections) for log in logs)) as pool:
            digests = self._start_digests(manifest["files"], pool)
            parties = PartyCheck(self._folder, facts, self._keys)
            for log in logs:
                self._check_log(log, pool, parties)
            self._problems += parties.problems(selection.bot)
            self._check_logs_present({log.origin for log in logs})
            self._check_ends(manifest)
            self._check_columns()
            self._check_files(manifest["files"], digests)
        if self._lists is not None:
            self._gaps += identifier_gaps(facts, self._venues, self._lists)

    def _problem(self, text: str) -> None:
        self._problems.append(text)

    def _manifest(self) -> tuple[dict[str, Any] | None, str]:
        """Return the manifest, if it is signed by a known key, and its digest; nothing else is believed."""
        try:
            manifest = (self._folder / MANIFEST).read_bytes()
            note = (self._folder / SIGNATURE).read_bytes()
        except OSError as error:
            self._problem(f"{MANIFEST} or {SIGNATURE}: cannot be read ({error.strerror})")
            return None, ""
        digest = sha256(manifest).hexdigest()
        problem = self._signature_problem(manifest, note)
        if not problem:
            document: dict[str, Any] = orjson.loads(manifest)
            problem = manifest_problem(document)
            if not problem:
                return document, digest
            problem = f"{MANIFEST}: {problem}"
        self._problem(problem)
        return None, digest

    def _signature_problem(self, manifest: bytes, note: bytes) -> str:
        if len(manifest) > _MANIFEST_BYTES_MAX:
            return f"{MANIFEST}: at most {_MANIFEST_BYTES_MAX} bytes, has {len(manifest)}"
        try:
            verified = verify_note(note, [key for key in self._keys if key.name == KEY_NAME])
        except NoteError as error:
            return f"{SIGNATURE}: {error}"
        self._used |= {signature.verifier.vkey for signature in verified.signatures}
        if verified.text == manifest_text(manifest):
            return ""
        stated = verified.text.partition(b"\n")[2].partition(b"\n")[0].decode(errors="replace")
        if stated != FORMAT:
            return f"{SIGNATURE}: format {FORMAT} required, is {stated:.40}"
        return f"{SIGNATURE}: signs another manifest"

    def _start_digests(self, files: dict[str, Any], pool: Workers) -> dict[str, Callable[[], tuple[str, int]]]:
        return {name: pool.also(file_digest, self._folder / name) for name in files if (self._folder / name).is_file()}

    def _check_files(self, files: dict[str, Any], digests: dict[str, Callable[[], tuple[str, int]]]) -> None:
        present = {p.relative_to(self._folder).as_posix() for p in self._folder.rglob("*") if p.is_file()}
        for name in sorted(present - files.keys() - {MANIFEST, SIGNATURE}):
            self._problem(f"{name}: not in the manifest")
        for name, stated in files.items():
            if name not in digests:
                self._problem(f"{name}: missing")
            elif digests[name]() != (stated["sha256"], stated["bytes"]):
                self._problem(f"{name}: not the file that was signed")

    def _check_columns(self) -> None:
        """Say where the Parquet files are not what the leaves say, or that nobody could look."""
        try:
            from streams.reports.columns import ColumnsFile  # noqa: PLC0415 - a regulator may go without pyarrow
        except ImportError:
            self._gaps.append("Parquet files are the signed ones, but were not compared: pyarrow is not installed")
            return
        for number, name in enumerate(RECORD_FILES):
            found = ColumnsFile(name, self._folder / columns_file(name)).problem(self._groups[number])
            self._problems += [found] if found else self._differing_columns.get(number, [])

    def _size(self, file: str) -> int:
        path = self._folder / file
        return path.stat().st_size if path.is_file() else 0

    def _check_log(self, log: LogRange, pool: Workers, parties: PartyCheck) -> None:
        """Rebuild the tree over the leaves and hold every checkpoint and every record against it."""
        where = f"log {log.partition}"
        roots = self._checkpoints(log)
        try:
            before = Frontier.from_bytes((self._folder / frontier_file(log.partition)).read_bytes())
        except (OSError, MerkleError) as error:
            self._problem(f"{frontier_file(log.partition)}: {error}")
            return
        if log.begin and not log.begin < log.first <= log.last <= log.end:
            self._problem(f"{where}: the leaf before its first record is not shown to be outside the range")
        if before.size != log.begin:
            self._problem(f"{where}: frontier of size {log.begin} required, is {before.size}")
            return
        parties.take_older(log)
        proven = log.begin
        if not self._holds(before, roots):
            self._problem(f"{where}: the frontier before leaf {log.begin} is not what was signed")
        join, end = Join(before), log.begin
        for checked in pool.map((asked,) for asked in self._ask(log, join, roots)):
            self._take(checked)
            parties.take(log.partition, checked.registrations, log.last)
            for size, local, last_us in checked.trees:
                if self._holds(join.with_part(local), roots):
                    proven = size
                    self._check_time(where, size, last_us)
                else:
                    self._problem(f"{where}: the leaves from {proven} up to {size} are not those that were signed")
            join.add(checked.local)
            end += checked.leaves
        self._check_log_end(log, end, roots)

    def _check_log_end(self, log: LogRange, end: int, roots: dict[int, bytes]) -> None:
        where = f"log {log.partition}"
        if end != log.end:
            self._problem(f"{where}: leaves up to {log.end} required, end at {end}")
        stated, size = sum(section.leaf_bytes for section in log.sections), self._size(leaves_file(log.partition))
        if size != stated:
            self._problem(f"{where} leaf {end}: {leaves_file(log.partition)} has {size} bytes, its sections {stated}")
        for size in sorted(roots):
            self._problem(f"{where}: checkpoint of size {size} is outside the leaves")

    def _ask(self, log: LogRange, join: Join, roots: dict[int, bytes]) -> Iterator[Asked]:
        """Yield what to check, section by section; a section's sizes are those of the checkpoints within it."""
        index, leaf_offset, before = log.begin, 0, join.part
        sizes = sorted(roots)
        for section in log.sections:
            if section.leaves != section_size(index, log.end) or not section.leaves:
                raise BatchError(f"{MANIFEST}: log {log.partition} is cut in another way at leaf {index}")
            end = index + section.leaves
            spans = tuple(zip(self._offsets, section.record_bytes, strict=True))
            yield Asked(
                Extent(log.partition, index, log.first, log.last),
                section.leaves,
                (leaf_offset, section.leaf_bytes),
                spans,
                tuple(self._groups),
                before,
                tuple(size for size in sizes if index < size <= end),
            )
            index, leaf_offset, before = end, leaf_offset + section.leaf_bytes, Frontier()
            self._groups = [group + bool(size) for group, size in zip(self._groups, section.record_bytes, strict=True)]
            self._offsets = [a + b for a, b in zip(self._offsets, section.record_bytes, strict=True)]

    def _take(self, checked: CheckedSection) -> None:
        self._problems += checked.problems
        for file, text in checked.differing:
            self._differing.setdefault(file, []).append(text)
        for file, text in checked.differing_columns:
            self._differing_columns.setdefault(file, []).append(text)
        self._venues |= checked.venues
        self._counts["leaves"] += checked.leaves
        self._counts["records"] += checked.records

    def _checkpoints(self, log: LogRange) -> dict[int, bytes]:
        """Return the roots that the log has signed, by tree size; the last leaf must be under one."""
        roots: dict[int, bytes] = {}
        self._signers = {}
        where = f"log {log.partition}"
        keys = [key for key in self._keys if key.name == log.origin or key.name != KEY_NAME]
        try:
            for number, note in enumerate(read_items(self._folder / checkpoints_file(log.partition))):
                try:
                    checkpoint, signatures = open_checkpoint(note, keys)
                except (NoteError, CheckpointError) as error:
                    self._problem(f"{where} checkpoint {number}: {error}")
                    continue
                self._counts["checkpoints"] += 1
                if checkpoint.origin != log.origin:
                    self._problem(f"{where} checkpoint {number}: of {checkpoint.origin}, not {log.origin}")
                    continue
                self._signers.setdefault(checkpoint.size, set()).update(signed.verifier for signed in signatures)
                if roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                    self._problem(f"{where}: two roots signed for size {checkpoint.size}: a forked log")
        except BatchError as error:
            self._problem(f"{where}: {error}")
        if log.end and log.end not in roots:
            self._problem(f"{where}: no signed checkpoint of size {log.end} covers its last leaf")
        self._used |= {key.vkey for key in keys if key.name == log.origin and roots}
        return roots

    def _holds(self, tree: Frontier, roots: dict[int, bytes]) -> bool:
        signed = roots.pop(tree.size, None)
        return signed is None or signed == tree.root()

    def _check_time(self, where: str, size: int, last_us: int) -> None:
        """Require that a key which counted when a checkpoint's last leaf happened has signed it."""
        spans = [self._spans.get(key) for key in self._signers[size]]
        if last_us >= 0 and not any(span is None or span.counts_at(last_us) for span in spans):
            self._problem(f"{where} leaf {size - 1}: no key that counted at its time has signed the checkpoint over it")

    def _check_logs_present(self, origins: set[str]) -> None:
        """Require a part of every log whose key is known: a log with nothing in the range is there too, empty."""
        for key in self._keys:
            if key.name != KEY_NAME and key.name not in origins:
                self._problem(f"log {key.name}: its key is known, but the batch leaves it out")

    def _check_ends(self, manifest: dict[str, Any]) -> None:
        for number, name in enumerate(RECORD_FILES):
            size, expected = self._size(lines_file(name)), self._offsets[number]
            differing = self._differing.get(number, [])
            # Where the file has another length, all that follows its first difference is out of step.
            self._problems += differing if size == expected else differing[:1]
            if size > expected and not differing:
                self._problem(f"{lines_file(name)}: {size - expected} bytes more than the leaves make")
        stated = sum(manifest["records"].values())
        if stated != self._counts["records"]:
            self._problem(f"{MANIFEST}: {stated} records stated, {self._counts['records']} made")


def _checker(
    folder: Path, facts: Facts, selection: Selection, span_us: tuple[int, int]
) -> Callable[[Asked], CheckedSection]:
    return SectionChecker(folder, facts, selection, span_us).check
