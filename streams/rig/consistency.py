"""The proof that one checkpoint of a log extends another, for somebody who has only these two."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from streams.audit.checkpoint import Checkpoint, verify_checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, consistency_proof, hash_leaf, verify_consistency
from streams.names import Topic
from streams.rig.auditing import current_epoch, read_topic, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streams.settings import Settings
    from streams.wire.log_keys import LogKey


class NoCheckpointError(PortcullisError):
    """The log has signed no checkpoint of this size."""


def prove_consistency(
    settings: Settings, keys: Callable[[str], Sequence[LogKey]], lane: int, sizes: tuple[int, int]
) -> dict[str, Any]:
    """Return both signed checkpoints and the proof between them, as RFC 6962 has it (base64), verified.

    Raises: NoCheckpointError where the log has not signed these sizes, MerkleError where the second is no extension.
    """
    epoch = current_epoch(settings)
    origin = epoch.log(lane)
    old, new = sorted(sizes)
    notes = values(read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, lane))
    found = _find(notes, [key.verifier for key in keys(origin)], {old, new})
    hashes = [hash_leaf(leaf) for leaf in _first(values(read_topic(settings, epoch, Topic.AUDIT_EVENTS, lane)), new)]
    for size in (old, new):
        if size not in found or len(hashes) < new:
            raise NoCheckpointError(f"log {origin}: a checkpoint of size {size} and its leaves required")

    def read(level: int, index: int) -> bytes:
        return Frontier().extend(hashes[index << level : (index + 1) << level]).root()

    proof = consistency_proof(old, new, read)
    (first, first_note), (second, second_note) = found[old], found[new]
    verify_consistency(old, first.root, new, second.root, proof)
    return {
        "verified": True,
        "origin": origin,
        "old": {"size": old, "root": _base64(first.root), "checkpoint": first_note.decode()},
        "new": {"size": new, "root": _base64(second.root), "checkpoint": second_note.decode()},
        "proof": [_base64(node) for node in proof],
    }


def _find(notes: Iterator[bytes], keys: list[Any], sizes: set[int]) -> dict[int, tuple[Checkpoint, bytes]]:
    found: dict[int, tuple[Checkpoint, bytes]] = {}
    for note in notes:
        checkpoint = Checkpoint.parse(note.rpartition(b"\n\n")[0] + b"\n")
        if checkpoint.size in sizes and checkpoint.size not in found:
            found[checkpoint.size] = verify_checkpoint(note, keys), note
        if len(found) == len(sizes):
            break
    return found


def _first(leaves: Iterator[bytes], count: int) -> Iterator[bytes]:
    for place, leaf in enumerate(leaves):
        if place == count:
            return
        yield leaf


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
