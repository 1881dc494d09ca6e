"""Single changes of what a run leaves behind, each with what must be named when it is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.proof import TlogProof
from streams.core.merkle import HASH_BYTES
from streams.wire.note import Signer

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from streams.rig.evidence import Evidence, LogCopy

_THIEF_SEED: Final = bytes(range(32))
_RANGE: Final = re.compile(r"log (\d+)\b.*?(?:from|between leaf|from leaf) (\d+) (?:up to|and) (\d+)")


@unique
class Target(StrEnum):
    """Where a change is made."""

    LOG = "log"
    WAREHOUSE = "warehouse"
    BATCH = "batch"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change that was made, how to check for it, and what must be named: a leaf of a log, or one of these texts."""

    target: Target
    kind: str
    what: str
    check: Callable[[], list[str]]
    leaf: tuple[int, int] | None = None
    texts: tuple[str, ...] = ()

    def is_named(self, problems: list[str]) -> bool:
        """Say whether a problem names the record, or a span of leaves that has it."""
        return any(self._names(problem) for problem in problems)

    def _names(self, problem: str) -> bool:
        if any(re.search(rf"{re.escape(text)}(?!\d)", problem) for text in self.texts):
            return True
        if self.leaf is None:
            return False
        log, leaf = self.leaf
        if re.search(rf"log {log} leaf {leaf}(?!\d)", problem):
            return True
        span = _RANGE.search(problem)
        return span is not None and int(span[1]) == log and int(span[2]) <= leaf < max(int(span[3]), int(span[2]) + 1)


Change = Callable[["Evidence", "Random", str], "Iterator[Mutation]"]


def flipped(data: bytes, rng: Random) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    place = rng.randrange(8 * len(changed))
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


# What can be done to a list of records, at a place of it.
LIST_CHANGES: Final[dict[str, Callable[[list[Any], int], list[Any]]]] = {
    "drop": lambda items, place: [*items[:place], *items[place + 1 :]],
    "swap": lambda items, place: [*items[:place], items[place + 1], items[place], *items[place + 2 :]],
    "repeat": lambda items, place: [*items[: place + 1], *items[place:]],
    "truncate": lambda items, place: items[:place],
}


def place_for(kind: str, items: list[Any], rng: Random) -> int:
    """Return a place that a change of this kind can be made at."""
    return rng.randrange(len(items) - (kind == "swap"))


def first_wrong(kind: str, place: int) -> int:
    """Return the first place at which a list differs after a change."""
    return place + (kind == "repeat")


def resigned(note: bytes) -> bytes:
    """Return a checkpoint signed again under its log's name, with a key that nobody trusts."""
    checkpoint = checkpoint_of(note)
    return sign_checkpoint(checkpoint, Signer.from_seed(checkpoint.origin, _THIEF_SEED))


def forked(note: bytes, signer: Signer, rng: Random) -> bytes:
    """Return a second history that the log itself has signed: another root for the same size."""
    checkpoint = checkpoint_of(note)
    return sign_checkpoint(Checkpoint(checkpoint.origin, checkpoint.size, rng.randbytes(HASH_BYTES)), signer)


def checkpoint_of(note: bytes) -> Checkpoint:
    """Return what a note says, unverified."""
    return Checkpoint.parse(note.rpartition(b"\n\n")[0] + b"\n")


@contextmanager
def change_log(evidence: Evidence, rng: Random, kind: str) -> Iterator[Mutation]:
    """Change a log as the topics have it: one leaf, one checkpoint, or all of both from a place on."""
    number, log = any_log(evidence, rng)
    leaves, notes = log.leaves, log.notes
    check = partial(evidence.check_log, number)
    if kind in ("flip", *LIST_CHANGES):
        place = place_for(kind, leaves, rng)
        if kind == "flip":
            log.leaves = [*leaves[:place], flipped(leaves[place], rng), *leaves[place + 1 :]]
        else:
            log.leaves = LIST_CHANGES[kind](leaves, place)
        if kind == "truncate":
            log.notes = [note for note in notes if checkpoint_of(note).size <= place]
        mutation = Mutation(Target.LOG, kind, f"log {number} leaf {place}", check, (number, first_wrong(kind, place)))
    else:
        place = rng.randrange(len(notes))
        made = {
            "flip checkpoint": lambda: flipped(notes[place], rng),
            "re-sign": lambda: resigned(notes[place]),
            "fork": lambda: forked(notes[place], evidence.signers[number], rng),
        }[kind]()
        log.notes = [*notes[:place], made, *notes[place + 1 :]]
        name = f"log {number} checkpoint {place}"
        mutation = Mutation(Target.LOG, kind, name, check, texts=(name,))
    try:
        yield mutation
    finally:
        log.leaves, log.notes = leaves, notes


@contextmanager
def change_archive(evidence: Evidence, rng: Random, kind: str) -> Iterator[Mutation]:
    """Change one object of the archive, or what is under two names: files, as the folder's owner could."""
    name, other = rng.sample(evidence.archived, 2)
    path, second = evidence.archive / name, evidence.archive / other
    kept = {each: each.read_bytes() for each in (path, second)}
    data = kept[path]
    if kind == "drop":
        path.unlink()
    elif kind == "swap":
        _overwrite(path, kept[second])
        _overwrite(second, data)
    else:
        made = {
            "flip": lambda: flipped(data, rng),
            "repeat": lambda: kept[second],
            "truncate": lambda: data[: rng.randrange(len(data))],
            "re-sign": lambda: _resigned_object(data),
        }[kind]()
        _overwrite(path, made)
    lane, _, index = path.name.partition("-")
    texts = (name, f"log {evidence.origin}/{lane} leaf {index}")
    try:
        yield Mutation(Target.ARCHIVE, kind, name, evidence.check_archive, texts=texts)
    finally:
        for each, sound in kept.items():
            _overwrite(each, sound)


def _overwrite(path: Path, data: bytes) -> None:
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(data)


def any_log(evidence: Evidence, rng: Random) -> tuple[int, LogCopy]:
    """Return a log that has more than one leaf."""
    number = rng.choice([number for number, log in evidence.logs.items() if len(log.leaves) > 1])
    return number, evidence.logs[number]


def _resigned_object(data: bytes) -> bytes:
    proof = TlogProof.parse(data)
    return TlogProof(proof.index, proof.path, resigned(proof.checkpoint_note), proof.extra).encode()


# Kinds of change, by where they are made; others are in `streams.rig.batch_mutations` and `warehouse_mutations`.
LOG_KINDS: Final = ("flip", *LIST_CHANGES, "flip checkpoint", "re-sign", "fork")
ARCHIVE_KINDS: Final = ("flip", "drop", "swap", "repeat", "truncate", "re-sign")
