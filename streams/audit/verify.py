"""Verify one log from its records and its signed checkpoints alone, in one pass and flat memory.

A key that counts for some time only must have signed while it did: the time of a checkpoint is that of its last leaf.

Every checkpoint is compared with the tree built from the records up to its size, so all that hold are consistent with
each other. What nobody can see from these two is a log cut back together with its checkpoints: whoever has a later
checkpoint, as a witness has, adds it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, WrongOriginError, is_log_key, open_checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.note import BadSignatureError, UntrustedNoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from streams.wire.log_keys import LogKey
    from streams.wire.note import Signature, Verifier

_LEAVES_AT_ONCE: Final = 1024
# Enough to show what is wrong; a log read with the wrong key has one problem for each of its checkpoints.
_MAX_PROBLEMS: Final = 1000


class ProblemKind(Enum):
    """What is wrong with a log: first its checkpoints, then its records."""

    MALFORMED_CHECKPOINT = "malformed checkpoint"
    BAD_SIGNATURE = "bad signature"
    UNKNOWN_SIGNER = "unknown signer"
    WRONG_ORIGIN = "wrong origin"
    KEY_OUT_OF_TIME = "key out of time"
    SHRUNK_CHECKPOINT = "shrunk checkpoint"
    FORKED_CHECKPOINT = "forked checkpoint"
    CHANGED = "changed"
    GAP = "gap"
    INSERTED = "inserted"
    MISSING_TAIL = "missing tail"
    EXTRA_LEAVES = "extra leaves"


# Which exception of a checkpoint is which problem; the first that fits, so the root error comes last.
_REFUSALS: Final[tuple[tuple[type[PortcullisError], ProblemKind], ...]] = (
    (BadSignatureError, ProblemKind.BAD_SIGNATURE),
    (UntrustedNoteError, ProblemKind.UNKNOWN_SIGNER),
    (WrongOriginError, ProblemKind.WRONG_ORIGIN),
    (PortcullisError, ProblemKind.MALFORMED_CHECKPOINT),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, and where.

    ``checkpoint`` is the checkpoint's place in the stream, from 0. The damage to the records begins at or after leaf
    ``first_leaf`` and before ``end_leaf``; between two checkpoints that hold, no more can be known.
    """

    kind: ProblemKind
    detail: str
    checkpoint: int | None = None
    first_leaf: int | None = None
    end_leaf: int | None = None


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a verification read and found; ``root`` is that of all the leaves read.

    The log is good if there is no problem. ``omitted`` counts problems past the first thousand.
    """

    origin: str | None
    leaves: int
    checkpoints: int
    root: bytes
    problems: tuple[Problem, ...]
    omitted: int = 0


def verify_log(
    leaves: Iterable[bytes],
    checkpoints: Iterable[bytes],
    verifiers: Iterable[Verifier],
    *,
    origin: str | None = None,
) -> LogReport:
    """Rebuild a log's tree from its records and compare it with each of its signed checkpoints, both in log order.

    Without ``origin`` the log is the one that the first good checkpoint names: give it wherever it is known.
    """
    return _compare(checkpoints, _Comparison(iter(leaves), tuple(verifiers), origin))


def verify_timed_log(
    leaves: Iterable[bytes],
    checkpoints: Iterable[bytes],
    keys: Sequence[LogKey],
    *,
    origin: str,
) -> LogReport:
    """Verify a log of audit events whose keys count for some time only."""
    comparison = _Comparison(iter(leaves), tuple(key.verifier for key in keys), origin)
    spans = {key.verifier: key.generation for key in keys}

    def in_time(leaf: bytes, signatures: Iterable[Signature]) -> bool:
        try:
            at_us = event_time_us(leaf)
        except DecodeError:
            return False
        own = (signature.verifier for signature in signatures if is_log_key(signature.verifier, origin))
        return any(spans[verifier].counts_at(at_us) for verifier in own)

    comparison.in_time = in_time
    return _compare(checkpoints, comparison)


def event_time_us(leaf: bytes) -> int:
    """Return when an audit event was decided (microseconds UTC). Raises: DecodeError where the leaf is none."""
    time_us: int = decode(Schema.AUDIT_EVENT, leaf)["event_time"]
    return time_us


def _compare(checkpoints: Iterable[bytes], comparison: _Comparison) -> LogReport:
    for note in checkpoints:
        comparison.take(note)
    return comparison.finish()


def problem_kind(error: PortcullisError) -> ProblemKind:
    """Return which problem a checkpoint's refusal is."""
    return next(kind for refusal, kind in _REFUSALS if isinstance(error, refusal))


class _Comparison:
    """The state of one verification: the tree so far, and the checkpoints that it has yet to explain."""

    def __init__(self, leaves: Iterator[bytes], verifiers: tuple[Verifier, ...], origin: str | None) -> None:
        self._leaves = leaves
        self._verifiers = verifiers
        self._origin = origin
        self.in_time: Callable[[bytes, Iterable[Signature]], bool] | None = None
        self._tree = Frontier()
        self._last_leaf = b""
        self._taken = 0
        self._proven_size = 0
        self._largest: Checkpoint | None = None
        # The first checkpoint since the last good one whose root is not the tree's. Either it is a fork, which a later
        # good checkpoint shows, or the records differ from what was signed, and then none that follows is good.
        self._doubted: tuple[int, Checkpoint] | None = None
        self._problems: list[Problem] = []
        self._omitted = 0

    def take(self, note: bytes) -> None:
        """Compare the next checkpoint."""
        number, self._taken = self._taken, self._taken + 1
        opened = self._trusted(number, note)
        if opened is None:
            return
        checkpoint, signatures = opened
        largest = self._largest
        if largest is not None and checkpoint.size < largest.size:
            detail = f"size {checkpoint.size} after {largest.size}"
            self._add(Problem(ProblemKind.SHRUNK_CHECKPOINT, detail, number))
            return
        self._read_to(checkpoint.size)
        if checkpoint.size == self._tree.size and checkpoint.root == self._tree.root():
            self._confirm(number, checkpoint, signatures)
        elif largest is not None and checkpoint.size == largest.size and checkpoint.root != largest.root:
            detail = f"a second root for size {checkpoint.size}"
            self._add(Problem(ProblemKind.FORKED_CHECKPOINT, detail, number))
        elif checkpoint.size == self._tree.size:
            self._doubted = self._doubted or (number, checkpoint)
        self._largest = checkpoint

    def finish(self) -> LogReport:
        """Read the leaves that are left and say what the checkpoints do not cover."""
        signed_size = self._largest.size if self._largest else 0
        while self._read(_LEAVES_AT_ONCE):
            pass
        damage = self._damage(self._tree.size, signed_size)
        if damage is not None:
            self._problems.append(damage)
        problems = tuple(self._problems)
        return LogReport(self._origin, self._tree.size, self._taken, self._tree.root(), problems, self._omitted)

    def _damage(self, size: int, signed_size: int) -> Problem | None:
        """Tell what happened to the records from how many there are and from where the roots differ."""
        counts = f"{size} leaves, {signed_size} signed"
        if self._doubted is not None:
            number, checkpoint = self._doubted
            kind = ProblemKind.CHANGED
            if size != signed_size:
                kind = ProblemKind.GAP if size < signed_size else ProblemKind.INSERTED
            detail = f"{counts}; nothing from leaf {self._proven_size} on is proven"
            return Problem(kind, detail, number, self._proven_size, checkpoint.size)
        if size < signed_size:
            detail = f"{counts}; nothing from leaf {self._proven_size} on is proven"
            return Problem(ProblemKind.MISSING_TAIL, detail, None, self._proven_size, signed_size)
        if size > signed_size:
            return Problem(ProblemKind.EXTRA_LEAVES, counts, None, signed_size, size)
        return None

    def _trusted(self, number: int, note: bytes) -> tuple[Checkpoint, tuple[Signature, ...]] | None:
        """Return the checkpoint and its signatures if this log has signed it."""
        try:
            checkpoint, signatures = open_checkpoint(note, self._verifiers)
            self._origin = checkpoint.origin if self._origin is None else self._origin
            if checkpoint.origin != self._origin:
                raise WrongOriginError(f"checkpoint of {checkpoint.origin}: in the log {self._origin}")
        except PortcullisError as error:
            self._add(Problem(problem_kind(error), str(error), number))
            return None
        return checkpoint, signatures

    def _confirm(self, number: int, checkpoint: Checkpoint, signatures: Iterable[Signature]) -> None:
        """Note that all records up to here are as signed, so a doubted checkpoint before was a fork."""
        if self._doubted is not None:
            forked, other = self._doubted
            detail = f"the root at size {other.size} is not that of the log which checkpoint {number} confirms"
            self._add(Problem(ProblemKind.FORKED_CHECKPOINT, detail, forked))
            self._doubted = None
        self._proven_size = checkpoint.size
        if self._last_leaf and self.in_time is not None and not self.in_time(self._last_leaf, signatures):
            detail = f"size {checkpoint.size}: no key that counted at the last leaf's time has signed"
            self._add(Problem(ProblemKind.KEY_OUT_OF_TIME, detail, number))

    def _read_to(self, size: int) -> None:
        while self._tree.size < size and self._read(min(size - self._tree.size, _LEAVES_AT_ONCE)):
            pass

    def _read(self, count: int) -> bool:
        """Append up to ``count`` leaves; False when there are none left."""
        size = self._tree.size
        self._tree = self._tree.extend(self._hash(leaf) for leaf in islice(self._leaves, count))
        return self._tree.size > size

    def _hash(self, leaf: bytes) -> bytes:
        self._last_leaf = leaf
        return hash_leaf(leaf)

    def _add(self, problem: Problem) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._omitted += 1
