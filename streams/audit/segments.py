"""A log as it grows: leaves and checkpoints, whichever arrive first, become segments proven to belong together.

A segment is what one checkpoint adds to the checkpoint before: its signature is checked, and the tree continued with
its leaves has its root. So a run of segments from the first on is a proof that each checkpoint extends the last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.audit.checkpoint import Checkpoint, is_log_key, open_checkpoint
from streams.audit.verify import ProblemKind, event_time_us, problem_kind
from streams.core.errors import PortcullisError
from streams.core.merkle import BatchProver, Frontier, hash_leaf
from streams.wire.avro import DecodeError
from streams.wire.note import UntrustedNoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streams.wire.log_keys import LogKey
    from streams.wire.note import Verifier


_EMPTY: Final = Frontier()


class LogFaultError(PortcullisError):
    """A log is not the log it was: nothing of it counts from here on."""

    def __init__(self, origin: str, kind: ProblemKind, detail: str) -> None:
        super().__init__(f"log {origin}: {kind.value}: {detail}")
        self.origin = origin
        self.kind = kind


class Leaf(NamedTuple):
    """A record of `audit.events`."""

    offset: int
    value: bytes


class _Head(NamedTuple):
    checkpoint: Checkpoint
    signers: tuple[Verifier, ...]  # the log's own
    note: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log was followed: the tree, and the next offsets of its leaves and its checkpoints (-1: the first)."""

    tree: Frontier = _EMPTY
    next_leaf: int = -1
    next_note: int = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """A checkpoint that holds and the leaves that it added; `prover` proves each of them in its tree."""

    checkpoint: Checkpoint
    note: bytes
    leaves: tuple[Leaf, ...]
    prover: BatchProver
    after: Position


class LogFollower:
    """One log from a position on; takes its records in the order of their offsets."""

    def __init__(self, origin: str, keys: Sequence[LogKey], start: Position) -> None:
        self.position = start
        """After the last segment."""
        self._origin = origin
        self._verifiers = tuple(key.verifier for key in keys)
        self._spans = {key.verifier: key.generation for key in keys}
        self._leaves: deque[Leaf] = deque()
        self._heads: deque[_Head] = deque()

    @property
    def waiting(self) -> tuple[int, int]:
        """Return how many leaves and checkpoints wait for each other."""
        return len(self._leaves), len(self._heads)

    def take_leaf(self, leaf: Leaf) -> None:
        """Take the next leaf."""
        self._leaves.append(leaf)

    def take_note(self, offset: int, note: bytes) -> None:
        """Take the next checkpoint. Raises: LogFaultError where the log has not signed it, or it is shorter."""
        try:
            checkpoint, signatures = open_checkpoint(note, self._verifiers)
            own = tuple(s.verifier for s in signatures if is_log_key(s.verifier, self._origin))
            if checkpoint.origin != self._origin or not own:
                raise UntrustedNoteError(f"a checkpoint of {checkpoint.origin}")
        except PortcullisError as error:
            raise self._fault(problem_kind(error), f"checkpoint at offset {offset}: {error}") from None
        size = self._heads[-1].checkpoint.size if self._heads else self.position.tree.size
        if checkpoint.size < size:
            detail = f"checkpoint at offset {offset} has size {checkpoint.size} after {size}"
            raise self._fault(ProblemKind.SHRUNK_CHECKPOINT, detail)
        self._heads.append(_Head(checkpoint, own, note, offset))

    def segments(self) -> Iterator[Segment]:
        """Yield what is complete. Raises: LogFaultError where a checkpoint's root is not that of the leaves."""
        while self._heads:
            head, tree = self._heads[0], self.position.tree
            count = head.checkpoint.size - tree.size
            if count > len(self._leaves):
                return
            leaves = tuple(self._leaves.popleft() for _ in range(count))
            prover = BatchProver(tree, [hash_leaf(leaf.value) for leaf in leaves])
            if prover.root != head.checkpoint.root:
                detail = f"size {head.checkpoint.size} at offset {head.offset} does not extend size {tree.size}"
                raise self._fault(ProblemKind.FORKED_CHECKPOINT, f"{detail} by the log's own leaves")
            self._require_key_in_time(head, leaves)
            self._heads.popleft()
            next_leaf = leaves[-1].offset + 1 if leaves else self.position.next_leaf
            self.position = Position(prover.frontier, next_leaf, head.offset + 1)
            yield Segment(head.checkpoint, head.note, leaves, prover, self.position)

    def check_waiting(self) -> None:
        """Raise LogFaultError where one half waits for the other: asked when nothing more can be read."""
        if self._heads:
            detail = (
                f"size {self._heads[0].checkpoint.size} signed, {self.position.tree.size + len(self._leaves)} to read"
            )
            raise self._fault(ProblemKind.MISSING_TAIL, detail)
        if self._leaves:
            detail = f"{len(self._leaves)} leaves from {self.position.tree.size} on are under no checkpoint"
            raise self._fault(ProblemKind.EXTRA_LEAVES, detail)

    def _require_key_in_time(self, head: _Head, leaves: Sequence[Leaf]) -> None:
        if not leaves:
            return
        try:
            at_us = event_time_us(leaves[-1].value)
        except DecodeError as error:
            raise self._fault(ProblemKind.CHANGED, f"leaf at offset {leaves[-1].offset}: {error}") from None
        if not any(self._spans[key].counts_at(at_us) for key in head.signers):
            detail = f"checkpoint at offset {head.offset}: no key that counts at {at_us} us has signed"
            raise self._fault(ProblemKind.KEY_OUT_OF_TIME, detail)

    def _fault(self, kind: ProblemKind, detail: str) -> LogFaultError:
        return LogFaultError(self._origin, kind, detail)


def follow(origin: str, keys: Sequence[LogKey]) -> Callable[[Position], LogFollower]:
    """Return what begins to follow this log at a position."""
    return lambda start: LogFollower(origin, keys, start)
