from __future__ import annotations

import random
import shutil
import sys
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.names import Topic
from streams.reports.export import BatchRange, BatchSummary, Correction, announcement, export_batch
from streams.reports.facts import Instrument
from streams.reports.identity import load_lists
from streams.reports.layout import (
    FORMAT,
    KEY_NAME,
    MANIFEST,
    ORDERS,
    REJECTED,
    SIGNATURE,
    BatchError,
    checkpoints_file,
    file_digest,
    leaves_file,
    lines_file,
    manifest_text,
    read_items,
    write_item,
)
from streams.reports.verify import verify_batch
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_audit_event
from streams.wire.log_keys import Generation
from streams.wire.note import sign_note, verify_note
from tests.sim_world import PARTITIONS, World

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from streams.wire.note import Verifier

FOREVER_US = 4_102_444_800_000_000  # the year 2100
EVERYTHING = BatchRange(0, FOREVER_US)
ORIGIN = "test.example"
LINES = lines_file(ORDERS)


class Logs:
    """The logs of a world, as the warehouse would give them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def partitions(self) -> list[int]:
        return list(range(PARTITIONS))

    def places(self, partition: int, from_us: int, to_us: int) -> tuple[int, int]:
        times = self.times(partition)
        inside = [index for index, time in enumerate(times) if from_us <= time < to_us]
        after = max((index + 1 for index, time in enumerate(times) if time < from_us), default=0)
        return (inside[0], inside[-1] + 1) if inside else (after, after)

    def times(self, partition: int) -> list[int]:
        return [decode_audit_event(leaf)[0].event_time_us for leaf in self.leaves(partition)]

    def leaves(self, partition: int) -> Generator[bytes, None, None]:
        for record in self._world.records:
            if record.topic == Topic.AUDIT_EVENTS and record.partition == partition:
                yield record.value or b""

    def registrations(self, partition: int) -> Iterator[tuple[int, bytes]]:
        for index, leaf in enumerate(self.leaves(partition)):
            if decode_audit_event(leaf)[0].event_type == "AGENT_REGISTERED":
                yield index, leaf

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        keys = [devpki.log_signer(self._world.folder, f"{ORIGIN}/{partition}").verifier]
        for record in self._world.records:
            if record.topic == Topic.AUDIT_CHECKPOINTS and record.partition == partition:
                note = record.value or b""
                yield Checkpoint.parse(verify_note(note, keys).text).size, note


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("pki"))
    made.prices()
    made.register_all()
    made.run(240)
    return made


@pytest.fixture(scope="module")
def keys(world: World) -> tuple[Verifier, ...]:
    logs = [devpki.log_signer(world.folder, f"{ORIGIN}/{number}").verifier for number in range(PARTITIONS)]
    return (devpki.report_signer(world.folder, KEY_NAME).verifier, *logs)


def write(world: World, out: Path, wanted: BatchRange = EVERYTHING) -> BatchSummary:
    return export_batch(Logs(world), wanted, out, devpki.report_signer(world.folder, KEY_NAME), ORIGIN)


@pytest.fixture(scope="module")
def batch(world: World, tmp_path_factory: pytest.TempPathFactory) -> BatchSummary:
    return write(world, tmp_path_factory.mktemp("batch"))


@pytest.fixture
def copy(batch: BatchSummary, tmp_path: Path) -> Path:
    return shutil.copytree(batch.folder, tmp_path / "copy")


def resign(folder: Path, world: World) -> None:
    """Bring manifest and signature in line with the files, as an insider with the report key could."""
    document = orjson.loads((folder / MANIFEST).read_bytes())
    document["files"] = {
        name: dict(zip(("sha256", "bytes"), file_digest(folder / name), strict=True)) for name in document["files"]
    }
    manifest = orjson.dumps(document)
    (folder / MANIFEST).write_bytes(manifest)
    signer = devpki.report_signer(world.folder, KEY_NAME)
    (folder / SIGNATURE).write_bytes(sign_note(manifest_text(manifest), signer))


def test_a_batch_proves_itself(world: World, batch: BatchSummary, keys: tuple[Verifier, ...]) -> None:
    report = verify_batch(batch.folder, keys)
    assert report.problems == ()
    assert report.verified
    assert report.records == batch.records > 240
    refused = sum(r.topic is Topic.ORDERS_REJECTED for r in world.records)
    assert batch.counts[REJECTED] == refused
    approved = sum(r.topic is Topic.ORDERS_APPROVED for r in world.records)
    reports = sum(r.topic is Topic.TRADES_EXECUTED for r in world.records)
    assert batch.counts[ORDERS] == approved + reports


def test_the_same_range_gives_the_same_bytes(world: World, batch: BatchSummary, tmp_path: Path) -> None:
    again = write(world, tmp_path / "again")
    ours = {p.relative_to(batch.folder): p.read_bytes() for p in batch.folder.rglob("*") if p.is_file()}
    assert ours == {p.relative_to(again.folder): p.read_bytes() for p in again.folder.rglob("*") if p.is_file()}


def test_ranges_that_follow_one_another_hold_every_record_once(
    world: World, batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path
) -> None:
    times = sorted(time for number in range(PARTITIONS) for time in Logs(world).times(number))
    cut = times[len(times) // 2]
    parts = [
        write(world, tmp_path / "a", BatchRange(0, cut)),
        write(world, tmp_path / "b", BatchRange(cut, FOREVER_US)),
    ]
    assert all(verify_batch(part.folder, keys).verified for part in parts)
    assert sum(part.records for part in parts) == batch.records
    assert all(part.records for part in parts)
    lines = [line for part in parts for line in (part.folder / LINES).read_bytes().splitlines()]
    assert sorted(lines) == sorted((batch.folder / LINES).read_bytes().splitlines())


def test_an_empty_range_is_a_batch_too(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    empty = write(world, tmp_path / "empty", BatchRange(1, 2))
    report = verify_batch(empty.folder, keys)
    assert report.problems == ()
    assert report.records == 0


def test_one_bots_batch_holds_its_records_alone(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    bot = world.bots[0].agent_id
    one = write(world, tmp_path / "one", BatchRange(0, FOREVER_US, bot))
    assert verify_batch(one.folder, keys).verified
    agents = {orjson.loads(line)["SplmtryData"]["agent_id"] for line in (one.folder / LINES).read_bytes().splitlines()}
    assert agents == {bot}


def test_one_markets_batch_holds_its_records_alone(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    wanted = BatchRange(0, FOREVER_US, market="BTC_USDT")
    one = write(world, tmp_path / "one", wanted)
    assert verify_batch(one.folder, keys).problems == ()
    books = {
        orjson.loads(line)["Ordr"]["OrdrIdData"]["OrdrBookId"]
        for line in (one.folder / LINES).read_bytes().splitlines()
    }
    assert books == {"BTC_USDT"}


def test_a_correction_names_the_batch_that_it_corrects(
    world: World, batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path
) -> None:
    known = {"BTC_USDT": Instrument("V15WLZJMF", "USDT")}
    correction = Correction(batch.batch_id, "the fungible group's DTI")
    wanted = BatchRange(0, FOREVER_US, corrects=correction, instruments=known)
    corrected = write(world, tmp_path / "corrected", wanted)
    report = verify_batch(corrected.folder, keys)
    assert report.problems == ()
    assert report.manifest["corrects"] == {"batch_id": batch.batch_id, "reason": correction.reason}
    assert corrected.batch_id != batch.batch_id
    # The same records under the same ids, and both batches still hold.
    ids = [
        [orjson.loads(line)["RptId"] for line in (folder / lines_file(REJECTED)).read_bytes().splitlines()]
        for folder in (batch.folder, corrected.folder)
    ]
    assert ids[0] == ids[1]
    assert b"V15WLZJMF" in (corrected.folder / lines_file(REJECTED)).read_bytes()
    assert verify_batch(batch.folder, keys).verified


def test_parties_are_proven_by_their_registrations(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    times = sorted(time for number in range(PARTITIONS) for time in Logs(world).times(number))
    late = write(world, tmp_path / "late", BatchRange(times[-40], FOREVER_US))
    report = verify_batch(late.folder, keys, load_lists())
    assert report.problems == ()
    parties = report.manifest["parties"]
    # Registered before the first leaf that the batch holds, so their proofs came along.
    assert any(party["log_index"] < log["begin"] for party in parties.values() for log in report.manifest["logs"])
    certificates = {path.stem for path in (late.folder / "certificates").iterdir()}
    assert {party["certificate_sha256"] for party in parties.values()} <= certificates
    document = orjson.loads((late.folder / MANIFEST).read_bytes())
    bot = next(iter(document["parties"]))
    document["parties"][bot]["operator"] = "somebody else"
    (late.folder / MANIFEST).write_bytes(orjson.dumps(document))
    resign(late.folder, world)
    problems = verify_batch(late.folder, keys).problems
    assert any(f"who runs {bot} is not what its last registration says" in problem for problem in problems)


def test_columns_that_differ_from_the_lines_are_named(world: World, copy: Path, keys: tuple[Verifier, ...]) -> None:
    path = copy / "orders.parquet"
    stored = parquet.ParquetFile(path)
    groups = [stored.read_row_group(number) for number in range(stored.num_row_groups)]
    first = orjson.loads((copy / "orders.jsonl").read_bytes().splitlines()[1])["SplmtryData"]["leaf"]
    changed = [groups[0].take([0, 2, 1, *range(3, groups[0].num_rows)]), *groups[1:]]
    with parquet.ParquetWriter(path, stored.schema_arrow) as writer:
        for group in changed:
            writer.write_table(group)
    resign(copy, world)
    where = f"the record of log 0 leaf {first}"
    assert verify_batch(copy, keys).problems == (f"orders.parquet: {where} is not what the leaf says",)
    parquet.write_table(pa.concat_tables(groups), path)
    resign(copy, world)
    assert verify_batch(copy, keys).problems == (
        f"orders.parquet: {len(groups)} row groups required, has 1" if len(groups) > 1 else "",
    )


def test_a_regulator_may_go_without_pyarrow(
    batch: BatchSummary, copy: Path, keys: tuple[Verifier, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bulk", "columns"):
        monkeypatch.setitem(sys.modules, f"streams.reports.{name}", None)
    report = verify_batch(batch.folder, keys)
    assert (report.verified, report.records) == (True, batch.records)
    assert "pyarrow is not installed" in report.gaps[0]
    lines = (copy / LINES).read_bytes().splitlines(keepends=True)
    (copy / LINES).write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert not verify_batch(copy, keys).verified


def test_a_batch_is_announced(batch: BatchSummary) -> None:
    record = decode(Schema.BATCH_MANIFEST, announcement(batch, EVERYTHING))
    assert (record["batch_id"], record["records"]) == (batch.batch_id, batch.records)


def test_a_folder_with_something_in_it_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(BatchError, match="empty folder"):
        write(world, tmp_path)


def test_every_single_change_of_a_file_is_found(
    batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path
) -> None:
    rng = random.Random(7)
    names = sorted(p.relative_to(batch.folder) for p in batch.folder.rglob("*") if p.is_file() and p.stat().st_size)
    folder = shutil.copytree(batch.folder, tmp_path / "copy")
    for number in range(max(30, len(names))):
        path = folder / names[number % len(names)]
        sound = path.read_bytes()
        place = rng.randrange(len(sound))
        changed = {
            0: sound[:place] + bytes([sound[place] ^ (1 << rng.randrange(8))]) + sound[place + 1 :],
            1: sound[:place],
            2: sound + sound[-10:],
        }[rng.randrange(3)]
        path.write_bytes(changed)
        assert not verify_batch(folder, keys).verified, (path, place)
        path.write_bytes(sound)
    assert verify_batch(folder, keys).verified


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "edit"])
def test_an_insider_who_signs_again_cannot_change_the_records(
    world: World, copy: Path, keys: tuple[Verifier, ...], change: str
) -> None:
    lines = (copy / LINES).read_bytes().splitlines(keepends=True)
    changed = {
        "drop": lines[1:],
        "swap": [lines[1], lines[0], *lines[2:]],
        "repeat": [lines[0], *lines],
        "edit": [lines[0].replace(b'"OrdrBookId":"', b'"OrdrBookId":"X'), *lines[1:]],
    }[change]
    (copy / LINES).write_bytes(b"".join(changed))
    resign(copy, world)
    report = verify_batch(copy, keys)
    assert any(LINES in problem for problem in report.problems)


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "edit", "append"])
def test_an_insider_who_signs_again_cannot_change_the_leaves(
    world: World, copy: Path, keys: tuple[Verifier, ...], change: str
) -> None:
    path = copy / leaves_file(0)
    leaves = list(read_items(path))
    edited = leaves[5][:-1] + bytes([leaves[5][-1] ^ 1])
    changed = {
        "drop": [*leaves[:5], *leaves[6:]],
        "swap": [*leaves[:5], leaves[6], leaves[5], *leaves[7:]],
        "repeat": [*leaves[:5], leaves[5], *leaves[5:]],
        "edit": [*leaves[:5], edited, *leaves[6:]],
        "append": [*leaves, leaves[-1]],
    }[change]
    with path.open("wb") as file:
        for leaf in changed:
            write_item(file, leaf)
    resign(copy, world)
    report = verify_batch(copy, keys)
    assert any(problem.startswith("log 0") for problem in report.problems)


class HeadlessLogs(Logs):
    """Logs whose first leaves are told to be too old for any range, as an insider might tell the exporter."""

    hidden = 0

    def times(self, partition: int) -> list[int]:
        return [-1 if index < self.hidden else time_us for index, time_us in enumerate(super().times(partition))]


def test_an_insider_cannot_leave_out_the_first_records(
    world: World, keys: tuple[Verifier, ...], tmp_path: Path
) -> None:
    sizes = [size for size, _ in Logs(world).checkpoints(0)]
    for hidden in (1, sizes[3], sizes[3] + 1, sizes[-1]):
        source = HeadlessLogs(world)
        source.hidden = hidden
        signer = devpki.report_signer(world.folder, KEY_NAME)
        folder = export_batch(source, EVERYTHING, tmp_path / str(hidden), signer, ORIGIN).folder
        problems = verify_batch(folder, keys).problems
        assert any("in the range, but left out" in problem for problem in problems), hidden


@pytest.mark.parametrize(("first", "last"), [(0, None), (None, None), (None, 10**6)])
def test_an_insider_cannot_hide_leaves_behind_the_frontier(
    world: World, keys: tuple[Verifier, ...], tmp_path: Path, first: int | None, last: int | None
) -> None:
    source = HeadlessLogs(world)
    source.hidden = [size for size, _ in Logs(world).checkpoints(0)][3] + 1
    folder = export_batch(
        source, EVERYTHING, tmp_path / "b", devpki.report_signer(world.folder, KEY_NAME), ORIGIN
    ).folder
    document = orjson.loads((folder / MANIFEST).read_bytes())
    log = document["logs"][0]
    assert log["begin"] > 0
    # He says that the records begin with the first leaf shown, or before it.
    log["first"] = log["begin"] if first is None else first
    log["last"] = log["last"] if last is None else last
    (folder / MANIFEST).write_bytes(orjson.dumps(document))
    resign(folder, world)
    problems = verify_batch(folder, keys).problems
    assert any("is not shown to be outside the range" in problem for problem in problems)


def test_a_log_that_signed_two_trees_of_one_size_is_found(world: World, copy: Path, keys: tuple[Verifier, ...]) -> None:
    signer = devpki.log_signer(world.folder, f"{ORIGIN}/0")
    path = copy / checkpoints_file(0)
    notes = list(read_items(path))
    size = Checkpoint.parse(verify_note(notes[-1], keys).text).size
    with path.open("ab") as file:
        write_item(file, sign_checkpoint(Checkpoint(f"{ORIGIN}/0", size, b"x" * 32), signer))
    resign(copy, world)
    assert any("forked" in problem for problem in verify_batch(copy, keys).problems)


def test_a_key_signs_nothing_out_of_its_time(world: World, batch: BatchSummary, keys: tuple[Verifier, ...]) -> None:
    times = Logs(world).times(0)
    sizes = [size for size, _ in Logs(world).checkpoints(0)]
    own = keys[1]
    assert verify_batch(batch.folder, keys, spans={own: Generation(1, times[0], times[-1])}).verified
    middle = times[sizes[len(sizes) // 2] - 1]
    report = verify_batch(batch.folder, keys, spans={own: Generation(1, 0, middle)})
    late = [size for size in sizes if times[size - 1] > middle]
    assert late
    assert report.problems == tuple(
        f"log 0 leaf {size - 1}: no key that counted at its time has signed the checkpoint over it" for size in late
    )


def test_other_keys_do_not_verify(batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    devpki.make_dev_pki(tmp_path)
    other = devpki.report_signer(tmp_path, KEY_NAME).verifier
    assert not verify_batch(batch.folder, (other, *keys[1:])).verified
    assert not verify_batch(batch.folder, keys[:1]).verified
    assert not verify_batch(batch.folder, ()).verified


def test_a_batch_of_another_format_says_so(world: World, copy: Path, keys: tuple[Verifier, ...]) -> None:
    older = manifest_text((copy / MANIFEST).read_bytes()).replace(FORMAT.encode(), b"portcullis-report-batch-2")
    (copy / SIGNATURE).write_bytes(sign_note(older, devpki.report_signer(world.folder, KEY_NAME)))
    report = verify_batch(copy, keys)
    assert report.problems == (f"{SIGNATURE}: format {FORMAT} required, is portcullis-report-batch-2",)


def test_a_signature_for_another_manifest_is_named(world: World, copy: Path, keys: tuple[Verifier, ...]) -> None:
    (copy / SIGNATURE).write_bytes(sign_note(manifest_text(b"{}"), devpki.report_signer(world.folder, KEY_NAME)))
    assert verify_batch(copy, keys).problems == (f"{SIGNATURE}: signs another manifest",)


def test_files_that_were_not_signed_are_named(copy: Path, keys: tuple[Verifier, ...]) -> None:
    (copy / "more.txt").write_text("more")
    (copy / LINES).unlink()
    problems = verify_batch(copy, keys).problems
    assert "more.txt: not in the manifest" in problems
    assert f"{LINES}: missing" in problems


def test_a_log_cannot_be_left_out(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    class WithoutLast(Logs):
        def partitions(self) -> list[int]:
            return super().partitions()[:-1]

    signer = devpki.report_signer(world.folder, KEY_NAME)
    batch = export_batch(WithoutLast(world), EVERYTHING, tmp_path / "batch", signer, ORIGIN)
    report = verify_batch(batch.folder, keys)
    assert report.problems == (f"log {ORIGIN}/{PARTITIONS - 1}: its key is known, but the batch leaves it out",)
