"""Writing a batch: every record of a time range, with the leaves and checkpoints that prove it. Deterministic."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import orjson

from streams.audit.proof import TlogProof
from streams.core.merkle import HASH_BYTES, Frontier, hash_leaf, hash_node, inclusion_proof
from streams.reports.facts import Facts, Instrument, Party, party_of
from streams.reports.forms import SCHEMA_FILES, Forms
from streams.reports.layout import (
    FORMAT,
    MANIFEST,
    README,
    RECORD_FILES,
    SECTION_LEAVES,
    SIGNATURE,
    BatchError,
    Extent,
    LogRange,
    Section,
    checkpoints_file,
    columns_file,
    file_digest,
    frontier_file,
    leaves_file,
    lines_file,
    manifest_text,
    registrations_file,
    section_size,
    write_item,
)
from streams.reports.leaves import Selection
from streams.reports.papers import write_papers
from streams.reports.readme import README_TEXT
from streams.reports.sections import Join, MadeSection, SectionMaker
from streams.reports.workers import workers
from streams.resources import resource
from streams.wire.avro import Schema, encode
from streams.wire.decisions import decode_audit_event
from streams.wire.note import Signer, sign_note
from streams.wire.regulatory import date_time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from streams.reports.columns import ColumnsWriter
    from streams.reports.workers import Workers


class LogSource(Protocol):
    """Where the logs are read from, whole and in their order."""

    def partitions(self) -> list[int]:
        """Return the numbers of the logs."""

    def places(self, partition: int, from_us: int, to_us: int) -> tuple[int, int]:
        """Return the first leaf of a log in a time range and the one after the last.

        Where none is in it, twice the place after the last leaf that is before it.
        """

    def leaves(self, partition: int) -> Generator[bytes, None, None]:
        """Yield the leaves of a log."""

    def registrations(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield index and leaf of each registration that a log has."""

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield tree size and signed note of each checkpoint of a log."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Which batch this one corrects, and why; both stay as they are."""

    batch_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchRange:
    """What a batch is about: `[from_us, to_us)` in microseconds UTC, of one bot or all, of one market or all."""

    from_us: int
    to_us: int
    bot: str = ""
    market: str = ""
    corrects: Correction | None = None
    instruments: Mapping[str, Instrument] = field(default_factory=dict)

    @property
    def selection(self) -> Selection:
        """Which records are wanted."""
        return Selection(self.bot, self.market)


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What was written."""

    folder: Path
    batch_id: str
    records: int
    counts: dict[str, int]
    manifest: bytes
    signature: bytes


def export_batch(
    source: LogSource, wanted: BatchRange, out: Path, signer: Signer, origin: str, *, pki: Path | None = None
) -> BatchSummary:
    """Write a batch into an empty folder; the same range of the same logs, with the same papers, gives the same bytes.

    `origin` is the name before the partition in the logs' names; certificates and revocation lists are copied from
    `pki` where it is given.

    Raises: BatchError where the folder is not empty or a record breaks its schema; DecodeError where a leaf cannot be
    read.
    """
    if out.exists() and any(out.iterdir()):
        raise BatchError(f"{out}: an empty folder required")
    (out / "audit").mkdir(parents=True)
    plans = [_plan(source, number, wanted) for number in source.partitions()]
    parties: dict[str, Party] = {}
    for plan in plans:
        parties |= plan.parties(wanted.bot)
    facts = Facts(dict(sorted(parties.items())), dict(sorted(wanted.instruments.items())))
    counts: Counter[str] = Counter()
    with workers(partial(_maker, facts, wanted.selection), sum(plan.sections for plan in plans)) as pool:
        with _files(out) as files:
            logs = [_export_log(source, plan, files, counts, pool, origin) for plan in plans]
        facts = facts.with_markets(files.markets)
        _write_texts(out)
        write_papers(out, [leaf for plan in plans for _, leaf in plan.registrations], pki)
        manifest = _manifest(out, wanted, facts, logs, counts, pool)
    signature = sign_note(manifest_text(manifest), signer)
    (out / MANIFEST).write_bytes(manifest)
    (out / SIGNATURE).write_bytes(signature)
    return BatchSummary(out, sha256(manifest).hexdigest(), counts.total(), dict(counts), manifest, signature)


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


def _maker(facts: Facts, selection: Selection) -> Callable[[Sequence[bytes], Extent, Frontier], MadeSection]:
    return SectionMaker(facts, selection, Forms()).make


@dataclass(slots=True)
class _Files:
    """The record files, open while the logs are read one after the other."""

    out: Path
    lines: Sequence[BinaryIO]
    columns: Sequence[ColumnsWriter]
    markets: set[str] = field(default_factory=set)

    def write(self, made: MadeSection) -> None:
        for file, data in zip(self.lines, made.lines, strict=True):
            file.write(data)
        for columns, table in zip(self.columns, made.tables, strict=True):
            columns.write(table)
        self.markets |= made.markets


@contextmanager
def _files(out: Path) -> Iterator[_Files]:
    try:
        from streams.reports.columns import ColumnsWriter  # noqa: PLC0415 - checking a batch goes without pyarrow
    except ImportError:
        raise BatchError("Parquet files need pyarrow: the extra `embedded` has it") from None
    with ExitStack() as stack:
        lines = [stack.enter_context((out / lines_file(name)).open("wb")) for name in RECORD_FILES]
        columns = [stack.enter_context(closing(ColumnsWriter(name, out / columns_file(name)))) for name in RECORD_FILES]
        yield _Files(out, lines, columns)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which leaves of a log a batch needs; registrations are those before its last record."""

    partition: int
    begin: int
    first: int
    last: int
    end: int
    registrations: tuple[tuple[int, bytes], ...]

    @property
    def sections(self) -> int:
        return (self.end - self.begin) // SECTION_LEAVES + 1

    def parties(self, bot: str) -> dict[str, Party]:
        """Return each bot's party by its last registration; of one bot alone where one is named."""
        found = {}
        for index, leaf in self.registrations:
            event, _ = decode_audit_event(leaf)
            agent, party = party_of(event.subject or b"", self.partition, index)
            if party is not None and bot in ("", agent):
                found[agent] = party
        return found


def _plan(source: LogSource, partition: int, wanted: BatchRange) -> _Plan:
    first, last = source.places(partition, wanted.from_us, wanted.to_us)
    # One leaf more on either side, where there is one: what the range leaves out is seen to be outside.
    begin, end, newest = 0, 0, 0
    for size, _ in source.checkpoints(partition):
        if size < first:
            begin = max(begin, size)
        if size > last and (not end or size < end):
            end = size
        newest = max(newest, size)
    end = end or newest
    if end < last:
        raise BatchError(f"log {partition}: no checkpoint covers leaf {last - 1}")
    known = tuple(item for item in source.registrations(partition) if item[0] < last)
    return _Plan(partition, begin, first, last, end, known)


def _export_log(
    source: LogSource, plan: _Plan, files: _Files, counts: Counter[str], pool: Workers, origin: str
) -> LogRange:
    out, number = files.out, plan.partition
    older = [index for index, _ in plan.registrations if index < plan.begin]
    sections = []
    # A store may serve one stream at a time, so this one ends before the next begins.
    with closing(source.leaves(number)) as leaves, (out / leaves_file(number)).open("wb") as file:
        before, nodes = _hash_before(leaves, plan.begin, older)
        (out / frontier_file(number)).write_bytes(before.to_bytes())
        join = Join(before)
        for made in pool.map(_cut(leaves, plan, join)):
            if made.problems:
                raise BatchError(made.problems[0])
            file.write(made.leaf_blob)
            files.write(made)
            counts.update(dict(zip(RECORD_FILES, made.counts, strict=True)))
            sections.append(Section(made.leaf_count, len(made.leaf_blob), tuple(map(len, made.lines))))
    begin_note = b""
    with (out / checkpoints_file(number)).open("wb") as file:
        for size, note in source.checkpoints(number):
            if plan.begin <= size <= plan.end:
                write_item(file, note)
            if size == plan.begin:
                begin_note = note
    with (out / registrations_file(number)).open("wb") as file:
        for index, leaf in plan.registrations:
            if index < plan.begin:
                path = inclusion_proof(index, plan.begin, lambda level, place: nodes[level, place])
                write_item(file, leaf)
                write_item(file, TlogProof(index, tuple(path), begin_note).encode())
    return LogRange(number, f"{origin}/{number}", plan.begin, plan.first, plan.last, plan.end, tuple(sections))


def _cut(leaves: Iterator[bytes], plan: _Plan, join: Join) -> Iterator[tuple[list[bytes], Extent, Frontier]]:
    """Yield the sections' leaves; a section whose beginning the batch does not hold gets the tree over that."""
    index, before = plan.begin, join.part
    while index < plan.end:
        size = section_size(index, plan.end)
        taken = list(islice(leaves, size))
        if len(taken) < size:
            raise BatchError(f"log {plan.partition}: leaf {index + len(taken)} is signed, and missing")
        yield taken, Extent(plan.partition, index, plan.first, plan.last), before
        index, before = index + size, Frontier()


def _hash_before(
    leaves: Iterator[bytes], count: int, proven: Sequence[int]
) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    """Return the tree over the leaves before a batch, and the nodes that prove some of them in it."""
    nodes: dict[tuple[int, int], bytes] = {}

    def ask(level: int, place: int) -> bytes:
        nodes[level, place] = b""
        return bytes(HASH_BYTES)

    for index in proven:
        inclusion_proof(index, count, ask)
    if not nodes:
        return Frontier().extend(map(hash_leaf, islice(leaves, count))), nodes
    stack: list[bytes] = []
    for index, leaf in enumerate(islice(leaves, count)):
        node, level, place = hash_leaf(leaf), 0, index
        while True:
            if (level, place) in nodes:
                nodes[level, place] = node
            if not place & 1:
                break
            node, level, place = hash_node(stack.pop(), node), level + 1, place >> 1
        stack.append(node)
    return Frontier(count, tuple(stack)), nodes


def _write_texts(out: Path) -> None:
    (out / README).write_text(README_TEXT)
    (out / "schemas").mkdir()
    for name in SCHEMA_FILES:
        (out / "schemas" / name).write_bytes(resource(f"schemas/reports/{name}").read_bytes())


def _manifest(
    out: Path, wanted: BatchRange, facts: Facts, logs: list[LogRange], counts: Mapping[str, int], pool: Workers
) -> bytes:
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    digests = [(path, pool.also(file_digest, path)) for path in paths]
    files = {}
    for path, digest in digests:
        sha, size = digest()
        files[path.relative_to(out).as_posix()] = {"sha256": sha, "bytes": size}
    corrects = wanted.corrects
    document: dict[str, Any] = {
        "format": FORMAT,
        "range_from": date_time_text(wanted.from_us),
        "range_to": date_time_text(wanted.to_us),
        "range_from_us": wanted.from_us,
        "range_to_us": wanted.to_us,
        "bot": wanted.bot,
        "market": wanted.market,
        "corrects": None if corrects is None else {"batch_id": corrects.batch_id, "reason": corrects.reason},
        "records": {name: counts.get(name, 0) for name in RECORD_FILES},
        "logs": [log.as_dict() for log in logs],
        "files": files,
        **facts.as_dict(),
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
