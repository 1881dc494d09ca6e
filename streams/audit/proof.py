"""Proofs that a record is in a log, in one text that verifies off-line. Source: C2SP tlog-proof."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, CheckpointError, parse_decimal, verify_checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import HASH_BYTES, hash_leaf, verify_inclusion
from streams.wire.note import NoteError, decode_base64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.audit.policy import TlogPolicy
    from streams.core.merkle import BatchProver
    from streams.wire.note import Verifier

_HEADER: Final = b"c2sp.org/tlog-proof@v1\n"
# A note's bound, and as much again for the path (63 lines at most) and extra data.
_MAX_PROOF_BYTES: Final = 2_000_000
# One checkpoint is the same for a whole batch of proofs, and every partition has its own.
_CACHED_CHECKPOINTS: Final = 256


class ProofFormatError(PortcullisError):
    """A proof's text is malformed."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What a proof has proven: the record is leaf ``index`` of the log that the checkpoint names."""

    index: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as written: nothing in it is verified, and ``extra`` is never authenticated."""

    index: int
    path: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the proof's text."""
        extra = b"" if self.extra is None else b"extra " + b2a_base64(self.extra)
        path = b"".join(map(b2a_base64, self.path))
        return b"%b%bindex %d\n%b\n%b" % (_HEADER, extra, self.index, path, self.checkpoint_note)

    @classmethod
    def parse(cls, text: bytes) -> TlogProof:
        """Read a proof's text up to its checkpoint, which is kept as it is.

        Raises:
            ProofFormatError: it is not exactly a proof.
        """
        if len(text) > _MAX_PROOF_BYTES:
            raise ProofFormatError(f"proof: at most {_MAX_PROOF_BYTES} bytes allowed, got {len(text)}")
        head, gap, checkpoint_note = text.partition(b"\n\n")
        if not gap or not head.startswith(_HEADER):
            raise ProofFormatError(f"proof: {_HEADER.decode().strip()}, index, path and checkpoint required")
        lines = head.removeprefix(_HEADER).split(b"\n")
        try:
            extra = None
            if lines[0].startswith(b"extra "):
                extra = decode_base64("extra data", lines.pop(0).removeprefix(b"extra "))
            index = _parse_index(lines)
            path = tuple(decode_base64("path hash", line) for line in lines[1:])
        except (NoteError, CheckpointError) as error:
            raise ProofFormatError(f"proof: {error}") from None
        if any(len(node) != HASH_BYTES for node in path):
            raise ProofFormatError(f"proof: path hashes of {HASH_BYTES} bytes required")
        return cls(index, path, checkpoint_note, extra)


class ProofVerifier:
    """Verify many proofs against the same keys; a checkpoint that comes again is not verified again.

    With a policy, its keys count, and a checkpoint needs the cosignatures that it asks for.
    """

    def __init__(self, verifiers: Iterable[Verifier], policy: TlogPolicy | None = None) -> None:
        opened = partial(verify_checkpoint, verifiers=tuple(verifiers)) if policy is None else policy.check
        self._checkpoint = lru_cache(_CACHED_CHECKPOINTS)(opened)

    def verify(self, leaf: bytes, proof_text: bytes) -> Inclusion:
        """Return where the log has this record.

        Raises:
            ProofFormatError, CheckpointError: the proof or its checkpoint is malformed or another log's.
            NoteError: the checkpoint's signature is missing or bad.
            TlogPolicyError: the checkpoint lacks cosignatures.
            MerkleError: the record is not proven to be in the log.
        """
        proof = TlogProof.parse(proof_text)
        checkpoint = self._checkpoint(proof.checkpoint_note)
        verify_inclusion(hash_leaf(leaf), proof.index, checkpoint.size, proof.path, checkpoint.root)
        return Inclusion(proof.index, checkpoint)


def verify_proof(leaf: bytes, proof_text: bytes, verifiers: Iterable[Verifier]) -> Inclusion:
    """Verify one proof; see ``ProofVerifier.verify``."""
    return ProofVerifier(verifiers).verify(leaf, proof_text)


def encode_proofs(prover: BatchProver, checkpoint_note: bytes) -> list[bytes]:
    """Return the proof of every leaf of a batch, in order, under the signed checkpoint of the tree after the batch."""
    paths = prover.joined_proofs(b2a_base64)
    first = prover.frontier.size - len(paths)
    tail = b"\n" + checkpoint_note
    return [b"%bindex %d\n%b%b" % (_HEADER, index, path, tail) for index, path in enumerate(paths, first)]


def _parse_index(lines: list[bytes]) -> int:
    if not lines or not lines[0].startswith(b"index "):
        raise ProofFormatError("proof: index line required")
    return parse_decimal("index", lines[0].removeprefix(b"index "))
