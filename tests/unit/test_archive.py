"""The archive: objects that prove themselves, written once, all of them or the lane waits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition

from streams.archive.archiver import Archiver
from streams.archive.check import ArchiveReport, check_archive
from streams.archive.holds import extend, set_hold
from streams.archive.objects import agent_of, archived, read_archived
from streams.archive.running import open_store
from streams.archive.store import FolderStore, ObjectDiffersError, StoreError, WrongStoreError
from streams.audit.proof import ProofFormatError, ProofVerifier
from streams.audit.segments import Leaf, LogFollower, Position, Segment
from streams.core.merkle import MerkleError
from streams.wire.decisions import decode_audit_event, encode_audit_head
from streams.wire.log_keys import Generation, LogKey
from tests.made_log import make_log

LOG = make_log(0, 20)
PROOFS = ProofVerifier([LOG.signer.verifier])
KEYS = [LogKey(LOG.signer.verifier, Generation(1, 0, None))]
ORIGIN = LOG.origin.rpartition("/")[0]


def segments(start: Position | None = None) -> list[Segment]:
    following = LogFollower(LOG.origin, KEYS, start or Position())
    for offset, leaf in list(enumerate(LOG.leaves))[max(following.position.next_leaf, 0) :]:
        following.take_leaf(Leaf(offset, leaf))
    for offset, note in list(enumerate(LOG.notes))[max(following.position.next_note, 0) :]:
        following.take_note(offset, note)
    return list(following.segments())


class Committed:
    """A consumer's group: offsets and what is kept with them."""

    def __init__(self) -> None:
        self.places: dict[str, TopicPartition] = {}

    def committed(self, places: list[TopicPartition], **_: Any) -> list[TopicPartition]:
        return [self.places.get(place.topic, TopicPartition(place.topic, place.partition, -1001)) for place in places]

    def commit(self, *, offsets: list[TopicPartition], **_: Any) -> None:
        self.places |= {place.topic: place for place in offsets}


class Failing:
    """A store in which one object cannot be written."""

    def __init__(self, store: FolderStore, broken: str) -> None:
        self._store, self.broken = store, broken

    def put_once(self, name: str, data: bytes, *, held: bool) -> None:
        if name.endswith(self.broken):
            raise StoreError("no room")
        self._store.put_once(name, data, held=held)

    def names(self, prefix: str) -> Iterator[str]:
        return self._store.names(prefix)


def archiver(store: object, group: Committed) -> Archiver:
    return Archiver(cast("Any", group), cast("Any", store), {0: LOG.origin}, cast("Any", None), prefix="")


def check(folder: Path) -> ArchiveReport:
    return check_archive(FolderStore(folder), ORIGIN, lambda _: KEYS)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Return the folder of a whole archive."""
    done = archiver(FolderStore(tmp_path), Committed())
    done.handle(0, segments())
    done.close()
    return tmp_path


def test_each_object_proves_itself() -> None:
    found = [item for segment in segments() for item in archived(0, segment)]
    assert [name for _, name, _ in found][:2] == ["agent-events/bot-0-0/0-0", "agent-events/bot-0-1/0-1"]
    for index, (_, _, data) in enumerate(found):
        leaf, inclusion = read_archived(data, PROOFS)
        assert (leaf, inclusion.index) == (LOG.leaves[index], index)
    with pytest.raises(MerkleError):
        read_archived(found[0][2].replace(b"index 0", b"index 1"), PROOFS)
    head, _, rest = found[0][2].partition(b"extra ")
    with pytest.raises(ProofFormatError, match="the leaf as extra data"):
        read_archived(head + rest.partition(b"\n")[2], PROOFS)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../../etc", "_none", "a" * 65])
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    event, _ = decode_audit_event(LOG.leaves[3])
    assert agent_of(encode_audit_head(event._replace(agent_id=name), None)) == ""
    assert agent_of(encode_audit_head(event._replace(agent_id="maker-01"), None)) == "maker-01"
    assert agent_of(b"no event") == ""


def test_a_whole_archive_verifies(full: Path) -> None:
    assert check(full) == ArchiveReport(verified=True, objects=20, logs=1, problems=())
    assert {path.stat().st_mode & 0o222 for path in full.rglob("0-*")} == {0}


def test_every_change_is_named(full: Path) -> None:
    victim = full / "agent-events" / "bot-0-3" / "0-8"
    data = victim.read_bytes()
    victim.chmod(0o644)
    for changed in (data[:-10], data.replace(b"index 8", b"index 7"), b"", data.replace(b"extra ", b"extra A", 1)):
        victim.write_bytes(changed)
        problems = check(full).problems
        assert problems[0].startswith("agent-events/bot-0-3/0-8: ")
        assert problems[1] == f"log {LOG.origin} leaf 8: not in the archive"
    victim.write_bytes((full / "agent-events" / "bot-0-3" / "0-3").read_bytes())
    assert check(full).problems[0] == f"agent-events/bot-0-3/0-8: holds agent-events/bot-0-3/0-3 of {LOG.origin}"
    victim.unlink()
    assert check(full).problems == (f"log {LOG.origin} leaf 8: not in the archive",)


def test_it_goes_on_where_it_committed_and_finds_what_it_wrote(tmp_path: Path) -> None:
    group, store = Committed(), FolderStore(tmp_path)
    first = archiver(store, group)
    assert first.start(0) == Position()
    first.handle(0, segments()[:2])
    again = archiver(store, group)
    position = again.start(0)
    assert (position.tree.size, position.next_leaf, position.next_note) == (14, 14, 2)
    again.handle(0, segments(position))
    forgotten = archiver(store, Committed())
    forgotten.handle(0, segments(forgotten.start(0)))
    assert forgotten.objects == 20
    assert check(tmp_path).verified


def test_nothing_is_committed_before_all_is_written(tmp_path: Path) -> None:
    group, store = Committed(), Failing(FolderStore(tmp_path), "/0-9")
    failing = archiver(store, group)
    with pytest.raises(StoreError, match="no room"):
        failing.handle(0, segments())
    assert group.places == {}
    store.broken = "none"
    failing.handle(0, segments(failing.start(0)))
    assert check(tmp_path).verified


def test_what_is_there_is_never_replaced(full: Path) -> None:
    store = FolderStore(full)
    with pytest.raises(ObjectDiffersError, match="other bytes"):
        store.put_once("agent-events/bot-0-3/0-8", b"other", held=False)
    assert check(full).verified
    with pytest.raises(WrongStoreError, match="inside the archive"):
        store.put_once("../outside", b"", held=False)


def test_a_commit_without_its_tree_begins_again(tmp_path: Path) -> None:
    group = Committed()
    group.places["audit.checkpoints"] = TopicPartition("audit.checkpoints", 0, 3, "x")
    assert archiver(FolderStore(tmp_path), group).start(0) == Position()


def test_a_folder_has_holds_as_notes_and_no_retention(full: Path) -> None:
    store = open_store(str(full), 5)
    assert set_hold(store, "bot-0-3", held=True, by="cfo@acme", reason="inquiry", now_us=1) == 4
    assert list(store.names("legal-holds/")) == ["legal-holds/bot-0-3"]
    assert b'"by":"cfo@acme"' in (store.get("legal-holds/bot-0-3") or b"")
    set_hold(store, "bot-0-3", held=False, by="cfo@acme", reason="over", now_us=2)
    assert list(store.names("legal-holds/")) == []
    with pytest.raises(WrongStoreError, match="Object Lock required for 7 years"):
        extend(store, "bot-0-3", 7)
    for name in ("..", "a/b", ""):
        with pytest.raises(WrongStoreError, match="agent_id"):
            set_hold(store, name, held=True, by="x", reason="x", now_us=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError):
        FolderStore(tmp_path).put_once("a/b", b"", held=False)
