"""The witness: it cosigns what grows, refuses the rest, and remembers before it speaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from streams.audit.alerting import AlertSender, PublishError
from streams.audit.policy import TlogPolicy, TlogPolicyError
from streams.audit.segments import Leaf, LogFollower, Position, Segment
from streams.core.errors import PortcullisError
from streams.names import Topic
from streams.rig.cosigned import check_cosigned
from streams.wire.avro import Schema, decode
from streams.wire.log_keys import Generation, LogKey
from streams.wire.note import NoteError, SignatureType, Signer
from streams.witness.running import load_cosigner
from streams.witness.state import Seen, WitnessState, WitnessStateError
from streams.witness.witness import Witness
from tests.made_log import make_log

LOG = make_log(0, 28)
COSIGNER = Signer.from_seed("witness.example/w", bytes([9]) * 32, SignatureType.COSIGNATURE_V1)
POLICY = TlogPolicy((LOG.signer.verifier,), {"W": COSIGNER.verifier}, {}, "W")


class Published:
    """Records as written; fails where told to."""

    def __init__(self) -> None:
        self.records: list[tuple[Topic, bytes]] = []
        self.broken = False

    def publish(self, topic: Topic, _key: bytes, value: bytes, **_: Any) -> None:
        if self.broken:
            raise PublishError("no broker")
        self.records.append((topic, value))

    def notes(self) -> list[bytes]:
        return [value for topic, value in self.records if topic is Topic.AUDIT_COSIGNATURES]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.published = Published()
        self.now_s = 1_760_000_000.0
        self.path = folder / "state.json"
        self.witness = self.again()

    def again(self) -> Witness:
        """Return a witness as after a new start."""
        publisher = cast("Any", self.published)
        alerts = AlertSender(publisher, "witness", clock_s=lambda: self.now_s)
        state = WitnessState(self.path)
        self.witness = Witness(COSIGNER, state, {0: LOG.origin}, publisher, alerts, clock_s=lambda: self.now_s)
        return self.witness


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def segments(start: Position | None = None) -> list[Segment]:
    following = LogFollower(LOG.origin, [LogKey(LOG.signer.verifier, Generation(1, 0, None))], start or Position())
    for offset, leaf in list(enumerate(LOG.leaves))[max(following.position.next_leaf, 0) :]:
        following.take_leaf(Leaf(offset, leaf))
    for offset, note in list(enumerate(LOG.notes))[max(following.position.next_note, 0) :]:
        following.take_note(offset, note)
    return list(following.segments())


def test_the_newest_checkpoint_is_cosigned_once_a_second(bench: Bench) -> None:
    one, two, three, four = segments()
    assert bench.witness.start(0) == Position()
    bench.witness.handle(0, [one, two])
    bench.witness.handle(0, [three])
    assert [POLICY.check(note).size for note in bench.published.notes()] == [14]
    bench.now_s += 1
    bench.witness.cosign_due()
    bench.witness.handle(0, [four])
    assert [POLICY.check(note).size for note in bench.published.notes()] == [14, 21]
    bench.witness.cosign_due(at_once=True)
    assert check_cosigned(LOG.origin, iter(LOG.leaves), iter(bench.published.notes()), POLICY) == (28, [])


def test_after_a_new_start_it_goes_on_and_says_again_what_it_said(bench: Bench) -> None:
    found = segments()
    bench.witness.handle(0, found[:2])
    position = bench.again().start(0)
    assert position == found[1].after
    bench.now_s += 1
    bench.witness.handle(0, segments(position))
    assert [POLICY.check(note).size for note in bench.published.notes()] == [14, 14, 28]


def test_what_it_cosigned_is_on_disk_before_anybody_sees_it(bench: Bench) -> None:
    bench.published.broken = True
    with pytest.raises(PublishError):
        bench.witness.handle(0, segments()[:1])
    assert WitnessState(bench.path).get(LOG.origin) is not None
    bench.published.broken = False
    assert bench.again().start(0).tree.size == 7
    assert POLICY.check(bench.published.notes()[0]).size == 7


def test_a_refused_log_is_told_once(bench: Bench) -> None:
    for _ in range(3):
        bench.witness.tell(0, PortcullisError("forked checkpoint"))
    ((topic, value),) = bench.published.records
    alert = decode(Schema.ALERT, value)
    assert topic is Topic.RISK_ALERTS
    assert (alert["severity"], alert["kind"]) == ("CRITICAL", "WITNESS_REFUSED")
    assert "cosigns nothing of log.example/test/0 past 0 leaves: forked checkpoint" in alert["message"]


def test_a_smaller_tree_is_never_remembered(bench: Bench) -> None:
    one, two, *_ = segments()
    bench.witness.handle(0, [two])
    with pytest.raises(WitnessStateError, match="7 after 14"):
        WitnessState(bench.path).put(LOG.origin, Seen(one.after, one.note))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 2, "logs": {}}', b'{"version": 1, "logs": {"a": {}}}'])
def test_without_its_state_it_says_nothing(bench: Bench, content: bytes) -> None:
    bench.path.write_bytes(content)
    with pytest.raises(WitnessStateError, match="cannot be read"):
        bench.again()


def test_the_state_is_small_and_private(bench: Bench) -> None:
    bench.witness.handle(0, segments())
    assert bench.path.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(bench.path.read_bytes())["logs"]) == [LOG.origin]
    assert [path.name for path in bench.path.parent.iterdir()] == ["state.json"]


def test_its_key_is_made_once_and_is_a_cosigners(tmp_path: Path, bench: Bench) -> None:
    key = load_cosigner(tmp_path / "w", "witness.example/w").verifier
    assert load_cosigner(tmp_path / "w", "witness.example/w").verifier == key
    with pytest.raises(NoteError, match="a key for cosignatures"):
        Witness(LOG.signer, WitnessState(bench.path), {}, cast("Any", bench.published), cast("Any", None))


def test_a_log_cut_back_with_its_checkpoints_is_found_by_the_cosignature(bench: Bench) -> None:
    bench.witness.handle(0, segments())
    size, problems = check_cosigned(LOG.origin, iter(LOG.leaves[:21]), iter(bench.published.notes()), POLICY)
    assert (size, problems) == (0, ["cosigned checkpoint 0: 28 leaves cosigned, 21 to read"])
    changed = (*LOG.leaves[:3], b"x", *LOG.leaves[4:])
    _, problems = check_cosigned(LOG.origin, iter(changed), iter(bench.published.notes()), POLICY)
    assert problems[0] == "cosigned checkpoint 0: its root at 28 is not that of the leaves"


def test_a_log_that_nobody_witnessed_does_not_satisfy_a_policy() -> None:
    assert check_cosigned(LOG.origin, iter(LOG.leaves), iter(LOG.notes), POLICY) == (
        0,
        ["no cosigned checkpoint satisfies the policy"],
    )
    assert check_cosigned(LOG.origin, iter(()), iter(()), POLICY) == (0, [])
    with pytest.raises(TlogPolicyError):
        POLICY.check(LOG.notes[0])
