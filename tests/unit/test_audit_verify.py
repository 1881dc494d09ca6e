"""Verification of a whole log: what is wrong is named, and where."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.verify import LogReport, Problem, ProblemKind, verify_log
from streams.core.merkle import Frontier, hash_leaf
from streams.wire.note import Signer, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = "log.example/3"
LOG = Signer.from_seed(ORIGIN, b"\x01" * 32)
OTHER_LOG = Signer.from_seed("log.example/4", b"\x02" * 32)
KEYS = [LOG.verifier, OTHER_LOG.verifier]
SIZES = (0, 3, 4, 9, 17)
LEAVES = [b"record %d" % number for number in range(17)]


def _root(leaves: list[bytes]) -> bytes:
    return Frontier().extend(map(hash_leaf, leaves)).root()


def _note(size: int, root: bytes | None = None) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, root or _root(LEAVES[:size])), LOG)


NOTES = [_note(size) for size in SIZES]
NO_ROOT = b"\x0f" * 32


def _only(report: LogReport) -> Problem:
    assert len(report.problems) == 1, report.problems
    return report.problems[0]


def test_a_good_log() -> None:
    assert verify_log(LEAVES, NOTES, KEYS, origin=ORIGIN) == LogReport(ORIGIN, 17, 5, _root(LEAVES), ())


def test_checkpoints_of_the_same_tree_may_come_again() -> None:
    assert verify_log(LEAVES, sorted(NOTES * 2, key=NOTES.index), KEYS).problems == ()


def test_a_checkpoint_that_comes_again_doubts_nothing_twice() -> None:
    leaves = [*LEAVES[:5], b"other", *LEAVES[6:]]
    problem = _only(verify_log(leaves, sorted(NOTES * 2, key=NOTES.index), KEYS))
    assert (problem.kind, problem.checkpoint, problem.first_leaf) == (ProblemKind.CHANGED, 6, 4)


def test_a_root_counts_for_its_own_size_only() -> None:
    problem = _only(verify_log(LEAVES, [*NOTES, _note(18, _root(LEAVES))], KEYS))
    assert (problem.kind, problem.first_leaf, problem.end_leaf) == (ProblemKind.MISSING_TAIL, 17, 18)


def test_an_empty_log_has_the_empty_root() -> None:
    assert verify_log([], NOTES[:1], KEYS) == LogReport(ORIGIN, 0, 1, _root([]), ())
    assert verify_log([], [], KEYS) == LogReport(None, 0, 0, _root([]), ())
    assert _only(verify_log([], [_note(0, NO_ROOT)], KEYS)).kind is ProblemKind.CHANGED


@pytest.mark.parametrize("index", range(17))
def test_a_changed_leaf_lies_between_two_checkpoints(index: int) -> None:
    leaves = [*LEAVES[:index], b"other", *LEAVES[index + 1 :]]
    problem = _only(verify_log(leaves, NOTES, KEYS))
    number = next(number for number, size in enumerate(SIZES) if size > index)
    assert (problem.kind, problem.checkpoint) == (ProblemKind.CHANGED, number)
    assert (problem.first_leaf, problem.end_leaf) == (SIZES[number - 1], SIZES[number])
    assert problem.detail == f"17 leaves, 17 signed; nothing from leaf {SIZES[number - 1]} on is proven"


@pytest.mark.parametrize("index", range(9))
def test_a_gap(index: int) -> None:
    problem = _only(verify_log(LEAVES[:index] + LEAVES[index + 1 :], NOTES, KEYS))
    assert problem.kind is ProblemKind.GAP
    assert _covers(problem, index)
    assert problem.detail.startswith("16 leaves, 17 signed")


@pytest.mark.parametrize("index", range(17))
def test_an_inserted_leaf(index: int) -> None:
    problem = _only(verify_log([*LEAVES[:index], LEAVES[index - 1], *LEAVES[index:]], NOTES, KEYS))
    assert problem.kind is ProblemKind.INSERTED
    assert _covers(problem, index)


@pytest.mark.parametrize("count", range(17))
def test_a_missing_tail(count: int) -> None:
    problem = _only(verify_log(LEAVES[:count], NOTES, KEYS))
    assert (problem.kind, problem.checkpoint, problem.end_leaf) == (ProblemKind.MISSING_TAIL, None, 17)
    assert _covers(problem, count)


def _covers(problem: Problem, index: int) -> bool:
    assert problem.first_leaf is not None
    assert problem.end_leaf is not None
    return problem.first_leaf <= index < problem.end_leaf


def test_extra_leaves_after_the_last_checkpoint() -> None:
    problem = _only(verify_log([*LEAVES, LEAVES[-1]], NOTES, KEYS))
    assert problem == Problem(ProblemKind.EXTRA_LEAVES, "18 leaves, 17 signed", None, 17, 18)
    assert _only(verify_log(LEAVES, [], KEYS)).first_leaf == 0


@pytest.mark.parametrize("number", range(1, 5))
def test_a_fork_is_not_the_records_fault(number: int) -> None:
    # A second, signed, root for a size, before or after the true one.
    fork = _note(SIZES[number], NO_ROOT)
    for place in (number, number + 1):
        problem = _only(verify_log(LEAVES, [*NOTES[:place], fork, *NOTES[place:]], KEYS))
        assert (problem.kind, problem.checkpoint) == (ProblemKind.FORKED_CHECKPOINT, place)


def test_a_fork_at_a_size_of_its_own() -> None:
    problem = _only(verify_log(LEAVES, [*NOTES[:3], _note(6, NO_ROOT), *NOTES[3:]], KEYS))
    assert (problem.kind, problem.checkpoint) == (ProblemKind.FORKED_CHECKPOINT, 3)


def test_two_roots_for_leaves_that_are_not_there() -> None:
    kinds = [p.kind for p in verify_log(LEAVES[:9], [*NOTES, _note(17, NO_ROOT)], KEYS).problems]
    assert kinds == [ProblemKind.FORKED_CHECKPOINT, ProblemKind.MISSING_TAIL]


def test_a_shrunk_checkpoint() -> None:
    problem = _only(verify_log(LEAVES, [*NOTES[:4], _note(5), NOTES[4]], KEYS))
    assert problem == Problem(ProblemKind.SHRUNK_CHECKPOINT, "size 5 after 9", 4)


_SIGNATURE = NOTES[2].rsplit(b" ", 1)[1]


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        (NOTES[2].replace(b"\n4\n", b"\n5\n"), ProblemKind.BAD_SIGNATURE),
        (NOTES[2].replace(_SIGNATURE, NOTES[3].rsplit(b" ", 1)[1]), ProblemKind.BAD_SIGNATURE),
        (sign_checkpoint(Checkpoint("elsewhere", 4, NO_ROOT), Signer.from_seed("elsewhere", b"\x03" * 32)),
         ProblemKind.UNKNOWN_SIGNER),
        (sign_note(NOTES[2].partition(b"\n\n")[0] + b"\n", OTHER_LOG), ProblemKind.WRONG_ORIGIN),
        (sign_checkpoint(Checkpoint("log.example/4", 4, _root(LEAVES[:4])), OTHER_LOG), ProblemKind.WRONG_ORIGIN),
        (sign_note(b"log.example/3\n004\nAAAA\n", LOG), ProblemKind.MALFORMED_CHECKPOINT),
        (b"\xff", ProblemKind.MALFORMED_CHECKPOINT),
        (b"", ProblemKind.MALFORMED_CHECKPOINT),
    ],
)  # fmt: skip
def test_a_checkpoint_that_the_log_did_not_sign(note: bytes, kind: ProblemKind) -> None:
    report = verify_log(LEAVES, [*NOTES[:2], note, *NOTES[3:]], KEYS)
    assert (_only(report).kind, _only(report).checkpoint) == (kind, 2)
    assert report.checkpoints == 5


def test_another_log_in_whole_is_the_wrong_one() -> None:
    checkpoint = Checkpoint("log.example/4", 17, _root(LEAVES))
    note = sign_checkpoint(checkpoint, OTHER_LOG)
    assert verify_log(LEAVES, [note], KEYS).problems == ()
    report = verify_log(LEAVES, [note], KEYS, origin=ORIGIN)
    assert [p.kind for p in report.problems] == [ProblemKind.WRONG_ORIGIN, ProblemKind.EXTRA_LEAVES]
    assert verify_log(LEAVES, [note], KEYS, origin="").problems[0].kind is ProblemKind.WRONG_ORIGIN


def test_a_log_cut_back_with_its_checkpoints_is_found_by_a_later_one() -> None:
    leaves, notes = LEAVES[:9], NOTES[:4]
    assert verify_log(leaves, notes, KEYS).problems == ()
    assert _only(verify_log(leaves, [*notes, NOTES[4]], KEYS)).kind is ProblemKind.MISSING_TAIL


def test_problems_past_the_thousandth_are_counted() -> None:
    report = verify_log(LEAVES, [b""] * 1200, KEYS)
    assert len(report.problems) == 1001
    assert report.omitted == 200
    assert report.problems[-1].kind is ProblemKind.EXTRA_LEAVES


def test_memory_does_not_grow_with_the_log() -> None:
    def leaves() -> Iterator[bytes]:
        for number in range(50_000):
            yield number.to_bytes(1000, "big")

    note = _note(50_000, Frontier().extend(map(hash_leaf, leaves())).root())
    tracemalloc.start()
    try:
        assert verify_log(leaves(), iter([note]), KEYS).problems == ()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 50 MB of leaves pass; at once there are 1024 of their hashes.
    assert peak_bytes < 1_000_000
