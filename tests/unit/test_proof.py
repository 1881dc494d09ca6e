"""Proof texts: a record, its place, its path and the signed checkpoint in one file."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from streams.audit.checkpoint import Checkpoint, CheckpointError, WrongOriginError, sign_checkpoint
from streams.audit.proof import (
    Inclusion,
    ProofFormatError,
    ProofVerifier,
    TlogProof,
    encode_proofs,
    verify_proof,
)
from streams.core.merkle import BatchProver, Frontier, MerkleError, hash_leaf
from streams.wire.note import BadSignatureError, NoteError, Signer, UntrustedNoteError, sign_note

if TYPE_CHECKING:
    from streams.core.errors import PortcullisError

ORIGIN = "log.example/3"
LOG = Signer.from_seed(ORIGIN, b"\x01" * 32)
OTHER_LOG = Signer.from_seed("log.example/4", b"\x02" * 32)
LEAVES = [b"record %d" % number for number in range(23)]
BEFORE = Frontier().extend(map(hash_leaf, LEAVES[:9]))
PROVER = BatchProver(BEFORE, [hash_leaf(leaf) for leaf in LEAVES[9:]])
CHECKPOINT = Checkpoint(ORIGIN, 23, PROVER.root)
NOTE = sign_checkpoint(CHECKPOINT, LOG)
PROOFS = encode_proofs(PROVER, NOTE)


def test_a_proof_reads_as_the_specification_has_it() -> None:
    path = "".join(f"{b64encode(node).decode()}\n" for node in PROVER.proof(12))
    assert PROOFS[3].decode() == f"c2sp.org/tlog-proof@v1\nindex 12\n{path}\n{NOTE.decode()}"


def test_every_leaf_of_a_batch_is_proven() -> None:
    assert len(PROOFS) == 14
    verifier = ProofVerifier([OTHER_LOG.verifier, LOG.verifier])
    for index, proof in enumerate(PROOFS, 9):
        assert verifier.verify(LEAVES[index], proof) == Inclusion(index, CHECKPOINT)
        assert verify_proof(LEAVES[index], proof, [LOG.verifier]) == Inclusion(index, CHECKPOINT)


def test_a_log_of_one_record() -> None:
    prover = BatchProver(Frontier(), [hash_leaf(b"first")])
    note = sign_checkpoint(Checkpoint(ORIGIN, 1, prover.root), LOG)
    (proof,) = encode_proofs(prover, note)
    assert proof == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note
    assert verify_proof(b"first", proof, [LOG.verifier]).index == 0


def test_an_empty_batch_has_no_proofs() -> None:
    assert encode_proofs(BatchProver(BEFORE, []), NOTE) == []


@pytest.mark.parametrize("extra", [None, b"", b"more \x00"])
def test_proofs_go_both_ways(extra: bytes | None) -> None:
    proof = replace(TlogProof.parse(PROOFS[3]), extra=extra)
    assert TlogProof.parse(proof.encode()) == proof
    assert proof.path == tuple(PROVER.proof(12))
    assert verify_proof(LEAVES[12], proof.encode(), [LOG.verifier]).index == 12


_PROOF = PROOFS[3]
_HASH = b64encode(PROVER.proof(12)[0])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        NOTE,
        b"c2sp.org/tlog-proof@v1\nextra AAAA\n\n" + NOTE,
        _PROOF.removeprefix(b"c2sp.org/tlog-proof@v1\n"),
        _PROOF.replace(b"@v1", b"@v2"),
        _PROOF.replace(b"@v1\n", b"@v1 \n"),
        _PROOF.replace(b"\n", b"\r\n"),
        b"\n" + _PROOF,
        _PROOF.replace(b"@v1\n", b"@v1\n\n"),
        _PROOF.replace(b"index 12\n", b""),
        _PROOF.replace(b"index 12", b"index 012"),
        _PROOF.replace(b"index 12", b"index  12"),
        _PROOF.replace(b"index 12", b"index -12"),
        _PROOF.replace(b"index 12", b"index 9223372036854775808"),
        _PROOF.replace(b"index 12", b"index 12\nindex 12"),
        _PROOF.replace(b"index 12", b"Index 12"),
        _PROOF.replace(b"index 12", b"extra AA\nindex 12"),
        _PROOF.replace(b"index 12", b"extra \xff\nindex 12"),
        _PROOF.replace(b"index 12", b"extra\nindex 12"),
        _PROOF.replace(b"index 12", b"index 12\nextra AAAA"),
        _PROOF.replace(b"index 12", b"extra AAAA\nextra AAAA\nindex 12"),
        _PROOF.replace(_HASH, _HASH[:-1]),
        _PROOF.replace(_HASH, _HASH + b" "),
        _PROOF.replace(_HASH, b64encode(b"\x00" * 31)),
        _PROOF.replace(_HASH, b64encode(b"\x00" * 33)),
        _PROOF[: _PROOF.index(b"\n\n")],
        _PROOF + b"\n" * 2_000_000,
    ],
)
def test_every_other_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(ProofFormatError):
        TlogProof.parse(text)


def test_another_record_is_not_proven() -> None:
    with pytest.raises(MerkleError):
        verify_proof(LEAVES[11], PROOFS[3], [LOG.verifier])


def test_another_place_is_not_proven() -> None:
    with pytest.raises(MerkleError):
        verify_proof(LEAVES[12], _PROOF.replace(b"index 12", b"index 13"), [LOG.verifier])


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (b"", NoteError),
        (sign_checkpoint(Checkpoint(ORIGIN, 13, PROVER.root), LOG), MerkleError),
        (sign_checkpoint(Checkpoint(ORIGIN, 23, BEFORE.root()), LOG), MerkleError),
        (NOTE.replace(b"\n23\n", b"\n24\n"), BadSignatureError),
        (sign_checkpoint(replace(CHECKPOINT, origin="log.example/5"), Signer.from_seed("log.example/5", b"\x05" * 32)),
         UntrustedNoteError),
        (sign_note(CHECKPOINT.encode(), OTHER_LOG), WrongOriginError),
        (sign_note(b"no checkpoint\n", LOG), CheckpointError),
    ],
)  # fmt: skip
def test_only_the_log_s_own_checkpoint_proves(note: bytes, error: type[PortcullisError]) -> None:
    proof = replace(TlogProof.parse(_PROOF), checkpoint_note=note).encode()
    verifier = ProofVerifier([LOG.verifier, OTHER_LOG.verifier])
    for _ in range(2):
        with pytest.raises(error):
            verifier.verify(LEAVES[12], proof)


def test_a_checkpoint_that_comes_again_is_not_verified_again() -> None:
    verifier = ProofVerifier([LOG.verifier])
    for index, proof in enumerate(PROOFS, 9):
        verifier.verify(LEAVES[index], proof)
    assert verifier._checkpoint.cache_info().misses == 1
