"""Writing a batch: every record of a time range, with the leaves and checkpoints that prove it. Deterministic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, Self

import orjson

from streams.core.merkle import Frontier, hash_leaf
from streams.reports.layout import (
    FORMAT,
    MANIFEST,
    README,
    RECORD_FILES,
    SIGNATURE,
    BatchError,
    LogRange,
    checkpoints_file,
    file_digest,
    frontier_file,
    leaves_file,
    manifest_text,
    record_line,
    record_of,
    write_item,
)
from streams.wire.avro import Schema, encode
from streams.wire.note import Signer, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_README_TEXT: Final = """A report batch of Portcullis.

orders.jsonl        every decided order of the range, refused ones with all reasons
transactions.jsonl  every trade, linked to its approval
events.jsonl        registrations, commands, breakers, dead letters
audit/N.leaves      the leaves of log N that these records are made from (each after its length in 4 bytes)
audit/N.frontier    the complete subtrees of log N before those leaves: size (8 bytes), hashes (32 bytes each)
audit/N.checkpoints the signed tree heads of log N (C2SP tlog-checkpoint), each after its length in 4 bytes
manifest.json       the range, counts, and the SHA-256 of every file
manifest.note       the manifest's signature (C2SP signed-note)

Check it, off-line and with nothing but the public keys:  portcullis report verify FOLDER --keys FILE
"""


class LogSource(Protocol):
    """Where the logs are read from, whole and in their order."""

    def partitions(self) -> list[int]:
        """Return the numbers of the logs."""

    def leaves(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield event time (microseconds UTC) and leaf of each event of a log."""

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield tree size and signed note of each checkpoint of a log."""


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What was written."""

    folder: Path
    batch_id: str
    records: int
    counts: dict[str, int]
    manifest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class BatchRange:
    """What a batch is about: `[from_us, to_us)` in microseconds UTC, of one bot or all."""

    from_us: int
    to_us: int
    bot: str = ""


def export_batch(source: LogSource, wanted: BatchRange, out: Path, signer: Signer, origin: str) -> BatchSummary:
    """Write a batch into an empty folder; the same range of the same logs gives the same bytes.

    `origin` is the name before the partition in the logs' names.
    Raises: BatchError where the folder is not empty; DecodeError where a leaf cannot be read.
    """
    if out.exists() and any(out.iterdir()):
        raise BatchError(f"{out}: an empty folder required")
    (out / "audit").mkdir(parents=True)
    counts: Counter[str] = Counter()
    with _Writers(out) as writers:
        logs = [_export_log(source, number, wanted, writers, counts, origin) for number in source.partitions()]
    (out / README).write_text(_README_TEXT)
    manifest = _manifest(out, wanted, logs, counts)
    signature = sign_note(manifest_text(manifest), signer)
    (out / MANIFEST).write_bytes(manifest)
    (out / SIGNATURE).write_bytes(signature)
    digest = sha256(manifest).hexdigest()
    return BatchSummary(out, digest, counts.total(), dict(counts), manifest, signature)


def announcement(batch: BatchSummary, wanted: BatchRange) -> bytes:
    """Return the batch's BatchManifest for `reports.regulator`, framed."""
    return encode(
        Schema.BATCH_MANIFEST,
        {
            "batch_id": batch.batch_id,
            "range_from": wanted.from_us,
            "range_to": wanted.to_us,
            "records": batch.records,
            "manifest": batch.manifest,
            "signature": batch.signature,
        },
    )


class _Writers:
    """The record files, open while the logs are read one after the other."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._files: dict[str, BinaryIO] = {name: (out / name).open("wb") for name in RECORD_FILES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, name: str, record: dict[str, Any]) -> None:
        self._files[name].write(record_line(record))


def _export_log(
    source: LogSource, partition: int, wanted: BatchRange, writers: _Writers, counts: Counter[str], origin: str
) -> LogRange:
    first, last = _places(source, partition, wanted)
    notes = list(source.checkpoints(partition))
    sizes = [size for size, _ in notes]
    # One leaf more on either side, where there is one: what the range leaves out is seen to be outside.
    begin = max((size for size in sizes if size < first), default=0)
    end = min((size for size in sizes if size > last), default=max(sizes, default=0))
    if end < last:
        raise BatchError(f"log {partition}: no checkpoint covers leaf {last - 1}")
    frontier = Frontier()
    with (writers.out / leaves_file(partition)).open("wb") as file:
        for index, (_, leaf) in enumerate(source.leaves(partition)):
            if index >= end:
                break
            if index < begin:
                frontier = frontier.append(hash_leaf(leaf))
                continue
            write_item(file, leaf)
            if first <= index < last:
                _write_record(leaf, wanted, writers, counts)
    (writers.out / frontier_file(partition)).write_bytes(frontier.to_bytes())
    with (writers.out / checkpoints_file(partition)).open("wb") as file:
        for size, note in notes:
            if begin <= size <= end:
                write_item(file, note)
    return LogRange(partition, f"{origin}/{partition}", begin, first, last, end)


def _places(source: LogSource, partition: int, wanted: BatchRange) -> tuple[int, int]:
    """Return the first leaf in the range and the one after the last; where none is in it, twice where it would be."""
    first = last = -1
    after = 0
    for index, (time_us, _) in enumerate(source.leaves(partition)):
        if wanted.from_us <= time_us < wanted.to_us:
            first = index if first < 0 else first
            last = index + 1
        elif time_us < wanted.from_us:
            after = index + 1
    return (first, last) if first >= 0 else (after, after)


def _write_record(leaf: bytes, wanted: BatchRange, writers: _Writers, counts: Counter[str]) -> None:
    made = record_of(leaf)
    if made is None:
        return
    name, record = made
    if wanted.bot in ("", record["agent_id"]):
        writers.write(name, record)
        counts[name] += 1


def _manifest(out: Path, wanted: BatchRange, logs: list[LogRange], counts: Mapping[str, int]) -> bytes:
    files = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        digest, size = file_digest(path)
        files[path.relative_to(out).as_posix()] = {"sha256": digest, "bytes": size}
    document = {
        "format": FORMAT,
        "range_from_us": wanted.from_us,
        "range_to_us": wanted.to_us,
        "bot": wanted.bot,
        "records": {name: counts.get(name, 0) for name in RECORD_FILES},
        "logs": [log.as_dict() for log in logs],
        "files": files,
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
