from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import orjson
import pytest

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.names import Topic
from streams.reports.export import BatchRange, BatchSummary, announcement, export_batch
from streams.reports.layout import (
    KEY_NAME,
    MANIFEST,
    ORDERS,
    SIGNATURE,
    BatchError,
    checkpoints_file,
    file_digest,
    leaves_file,
    manifest_text,
    read_items,
    write_item,
)
from streams.reports.verify import verify_batch
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_audit_event
from streams.wire.note import sign_note, verify_note
from tests.sim_world import PARTITIONS, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.wire.note import Verifier

EVERYTHING = BatchRange(0, 2**62)
ORIGIN = "test.example"


class Logs:
    """The logs of a world, as the warehouse would give them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def partitions(self) -> list[int]:
        return list(range(PARTITIONS))

    def leaves(self, partition: int) -> Iterator[tuple[int, bytes]]:
        for record in self._world.records:
            if record.topic == Topic.AUDIT_EVENTS and record.partition == partition:
                value = record.value or b""
                yield decode_audit_event(value)[0].event_time_us, value

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
    orders = sum(r.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED) for r in world.records)
    assert batch.counts[ORDERS] == orders


def test_the_same_range_gives_the_same_bytes(world: World, batch: BatchSummary, tmp_path: Path) -> None:
    again = write(world, tmp_path / "again")
    ours = {p.relative_to(batch.folder): p.read_bytes() for p in batch.folder.rglob("*") if p.is_file()}
    assert ours == {p.relative_to(again.folder): p.read_bytes() for p in again.folder.rglob("*") if p.is_file()}


def test_ranges_that_follow_one_another_hold_every_record_once(
    world: World, batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path
) -> None:
    times = sorted(time for number in range(PARTITIONS) for time, _ in Logs(world).leaves(number))
    cut = times[len(times) // 2]
    parts = [write(world, tmp_path / "a", BatchRange(0, cut)), write(world, tmp_path / "b", BatchRange(cut, 2**62))]
    assert all(verify_batch(part.folder, keys).verified for part in parts)
    assert sum(part.records for part in parts) == batch.records
    assert all(part.records for part in parts)
    lines = [line for part in parts for line in (part.folder / ORDERS).read_bytes().splitlines()]
    assert sorted(lines) == sorted((batch.folder / ORDERS).read_bytes().splitlines())


def test_an_empty_range_is_a_batch_too(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    empty = write(world, tmp_path / "empty", BatchRange(1, 2))
    report = verify_batch(empty.folder, keys)
    assert report.problems == ()
    assert report.records == 0


def test_one_bots_batch_holds_its_records_alone(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    bot = world.bots[0].agent_id
    one = write(world, tmp_path / "one", BatchRange(0, 2**62, bot))
    assert verify_batch(one.folder, keys).verified
    agents = {orjson.loads(line)["agent_id"] for line in (one.folder / ORDERS).read_bytes().splitlines()}
    assert agents == {bot}


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
    for number in range(60):
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
    lines = (copy / ORDERS).read_bytes().splitlines(keepends=True)
    changed = {
        "drop": lines[1:],
        "swap": [lines[1], lines[0], *lines[2:]],
        "repeat": [lines[0], *lines],
        "edit": [lines[0].replace(b'"symbol":"', b'"symbol":"X'), *lines[1:]],
    }[change]
    (copy / ORDERS).write_bytes(b"".join(changed))
    resign(copy, world)
    report = verify_batch(copy, keys)
    assert any(ORDERS in problem for problem in report.problems)


@pytest.mark.parametrize("change", ["drop", "swap", "repeat", "edit"])
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

    def leaves(self, partition: int) -> Iterator[tuple[int, bytes]]:
        for index, (time_us, leaf) in enumerate(super().leaves(partition)):
            yield (-1 if index < self.hidden else time_us), leaf


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


def test_other_keys_do_not_verify(batch: BatchSummary, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    devpki.make_dev_pki(tmp_path)
    other = devpki.report_signer(tmp_path, KEY_NAME).verifier
    assert not verify_batch(batch.folder, (other, *keys[1:])).verified
    assert not verify_batch(batch.folder, keys[:1]).verified
    assert not verify_batch(batch.folder, ()).verified


def test_files_that_were_not_signed_are_named(copy: Path, keys: tuple[Verifier, ...]) -> None:
    (copy / "more.txt").write_text("more")
    (copy / ORDERS).unlink()
    problems = verify_batch(copy, keys).problems
    assert "more.txt: not in the manifest" in problems
    assert f"{ORDERS}: missing" in problems


def test_a_log_cannot_be_left_out(world: World, keys: tuple[Verifier, ...], tmp_path: Path) -> None:
    class WithoutLast(Logs):
        def partitions(self) -> list[int]:
            return super().partitions()[:-1]

    signer = devpki.report_signer(world.folder, KEY_NAME)
    batch = export_batch(WithoutLast(world), EVERYTHING, tmp_path / "batch", signer, ORIGIN)
    report = verify_batch(batch.folder, keys)
    assert report.problems == (f"log {ORIGIN}/{PARTITIONS - 1}: its key is known, but the batch leaves it out",)
