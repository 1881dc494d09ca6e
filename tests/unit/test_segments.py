"""Following a log: segments hold together, and a log that is not the one it was is refused with its kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.proof import encode_proofs, verify_proof
from streams.audit.segments import Leaf, LogFaultError, LogFollower, Position, Segment
from streams.audit.verify import ProblemKind
from streams.wire.log_keys import Generation, LogKey
from streams.wire.note import Signer
from tests.made_log import START_US, STEP_US, MadeLog, make_log

LOG = make_log(1, 30)
KEY = LogKey(LOG.signer.verifier, Generation(1, 0, None))


def follower(keys: tuple[LogKey, ...] = (KEY,), start: Position | None = None) -> LogFollower:
    return LogFollower(LOG.origin, keys, start or Position())


def play(log: MadeLog, following: LogFollower, notes: tuple[bytes, ...] | None = None) -> list[Segment]:
    for offset, leaf in enumerate(log.leaves):
        following.take_leaf(Leaf(offset, leaf))
    for offset, note in enumerate(log.notes if notes is None else notes):
        following.take_note(offset, note)
    return list(following.segments())


def fault(log: MadeLog, following: LogFollower, notes: tuple[bytes, ...] | None = None) -> ProblemKind:
    with pytest.raises(LogFaultError) as caught:
        play(log, following, notes)
    return caught.value.kind


def test_segments_prove_every_leaf() -> None:
    segments = play(LOG, follower())
    assert [len(segment.leaves) for segment in segments] == [7, 7, 7, 7, 2]
    for segment in segments:
        proofs = encode_proofs(segment.prover, segment.note)
        for leaf, proof in zip(segment.leaves, proofs, strict=True):
            assert verify_proof(leaf.value, proof, [LOG.signer.verifier]).index == leaf.offset
    assert segments[-1].after == Position(segments[-1].prover.frontier, 30, 5)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 4))
def test_whatever_arrives_first_the_segments_are_the_same(order: list[bool], resumed_after: int) -> None:
    expected = play(LOG, follower())
    start = expected[resumed_after - 1].after if resumed_after else Position()
    following = follower(start=start)
    found: list[Segment] = []
    leaves = [Leaf(offset, leaf) for offset, leaf in enumerate(LOG.leaves)][max(start.next_leaf, 0) :]
    notes = list(enumerate(LOG.notes))[max(start.next_note, 0) :]
    for is_leaf in [*order, *[True] * 40, *[False] * 10]:
        if is_leaf and leaves:
            following.take_leaf(leaves.pop(0))
        elif not is_leaf and notes:
            following.take_note(*notes.pop(0))
        found += following.segments()
    assert [s.after for s in found] == [s.after for s in expected[resumed_after:]]


def test_a_fork_is_refused() -> None:
    first = LOG.notes[0]
    checkpoint = Checkpoint(LOG.origin, 14, bytes(32))
    assert fault(LOG, follower(), (first, sign_checkpoint(checkpoint, LOG.signer))) is ProblemKind.FORKED_CHECKPOINT
    other = make_log(1, 30).leaves
    changed = replace(LOG, leaves=(*other[:9], other[9] + b"x", *other[10:]))
    assert fault(changed, follower(), LOG.notes) is ProblemKind.FORKED_CHECKPOINT


def test_what_held_before_a_fault_stays() -> None:
    following = follower()
    for offset, leaf in enumerate(LOG.leaves):
        following.take_leaf(Leaf(offset, leaf))
    following.take_note(0, LOG.notes[0])
    following.take_note(1, sign_checkpoint(Checkpoint(LOG.origin, 9, bytes(32)), LOG.signer))
    with pytest.raises(LogFaultError):
        list(following.segments())
    assert (following.position.tree.size, following.position.next_note) == (7, 1)


def test_a_shrunk_log_is_refused() -> None:
    assert fault(LOG, follower(), (LOG.notes[2], LOG.notes[1])) is ProblemKind.SHRUNK_CHECKPOINT
    done = play(LOG, follower())[3].after
    with pytest.raises(LogFaultError, match="after 28"):
        follower(start=done).take_note(5, LOG.notes[0])


def test_what_the_log_has_not_signed_is_refused() -> None:
    stranger = make_log(2, 7)
    assert fault(LOG, follower(), stranger.notes) is ProblemKind.UNKNOWN_SIGNER
    assert fault(LOG, follower((KEY, LogKey(stranger.signer.verifier, KEY.generation))), stranger.notes) is not None
    assert fault(LOG, follower(), (LOG.notes[0].replace(b"\n7\n", b"\n8\n"),)) is ProblemKind.BAD_SIGNATURE
    assert fault(LOG, follower(), (b"none",)) is ProblemKind.MALFORMED_CHECKPOINT


def test_a_key_counts_in_its_time_only() -> None:
    last_of_first_us = START_US + 6 * STEP_US
    in_time = LogKey(KEY.verifier, Generation(1, last_of_first_us, last_of_first_us))
    assert len(play(LOG, follower((in_time,)), LOG.notes[:1])) == 1
    assert fault(LOG, follower((in_time,)), LOG.notes[:2]) is ProblemKind.KEY_OUT_OF_TIME


def test_while_two_keys_count_either_is_enough() -> None:
    fresh = Signer.from_seed(LOG.origin, bytes(32))
    both = tuple(note + fresh.sign(note.partition(b"\n\n")[0] + b"\n") for note in LOG.notes)
    for known in ((KEY,), (LogKey(fresh.verifier, Generation(2, 0, None)),)):
        assert len(play(LOG, follower(known), both)) == 5


def test_halves_that_wait_are_told() -> None:
    following = follower()
    following.check_waiting()
    following.take_note(0, LOG.notes[0])
    with pytest.raises(LogFaultError, match="7 signed, 0 to read"):
        following.check_waiting()
    following = follower()
    following.take_leaf(Leaf(0, LOG.leaves[0]))
    with pytest.raises(LogFaultError, match="1 leaves from 0 on are under no checkpoint"):
        following.check_waiting()
