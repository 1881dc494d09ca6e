"""Any single change of a log, a proof or a note is found, and no bytes do worse than be refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.audit.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from streams.audit.proof import ProofVerifier, TlogProof, encode_proofs, verify_proof
from streams.audit.verify import ProblemKind, verify_log
from streams.core.errors import PortcullisError
from streams.core.merkle import (
    BatchProver,
    Frontier,
    MerkleError,
    consistency_proof,
    hash_leaf,
    verify_consistency,
    verify_inclusion,
)
from streams.wire.note import NoteError, SignatureType, Signer, Verifier, cosign_note, sign_note, verify_note

ORIGIN = "log.example/3"
LOG = Signer.from_seed(ORIGIN, b"\x01" * 32)
WITNESS = Signer.from_seed("witness.example", b"\x02" * 32, SignatureType.COSIGNATURE_V1)
KEYS = [LOG.verifier, WITNESS.verifier]
LEAF_COUNT = 40

unhurried = settings(deadline=None)
batches = st.lists(st.lists(st.binary(max_size=12), min_size=1, max_size=9), min_size=1, max_size=8)


def _log(written: list[list[bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Return the leaves and, one for each batch, the checkpoints of a log written batch by batch."""
    tree, leaves, notes = Frontier(), [], []
    for batch in written:
        prover = BatchProver(tree, [hash_leaf(leaf) for leaf in batch])
        tree = prover.frontier
        leaves += batch
        notes.append(sign_checkpoint(Checkpoint(ORIGIN, tree.size, prover.root), LOG))
    return leaves, notes


def _flip(data: bytes, bit: int) -> bytes:
    place = bit % (8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


bits = st.integers(min_value=0, max_value=2**20)


@unhurried
@given(batches)
def test_an_honest_log_verifies_and_every_leaf_is_proven(written: list[list[bytes]]) -> None:
    leaves, notes = _log(written)
    report = verify_log(leaves, notes, KEYS, origin=ORIGIN)
    assert (report.problems, report.leaves, report.checkpoints) == ((), len(leaves), len(written))
    prover = BatchProver(Frontier().extend(map(hash_leaf, leaves[: -len(written[-1])])), [*map(hash_leaf, written[-1])])
    verifier = ProofVerifier(KEYS)
    first = len(leaves) - len(written[-1])
    for index, proof in enumerate(encode_proofs(prover, notes[-1]), first):
        assert verifier.verify(leaves[index], proof).index == index


@unhurried
@given(batches, st.data())
def test_one_changed_leaf_is_found_where_it_is(written: list[list[bytes]], data: st.DataObject) -> None:
    leaves, notes = _log(written)
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.binary(max_size=12))
    assume(other != leaves[index])
    (problem,) = verify_log([*leaves[:index], other, *leaves[index + 1 :]], notes, KEYS).problems
    assert problem.kind is ProblemKind.CHANGED
    assert problem.first_leaf is not None
    assert problem.end_leaf is not None
    assert problem.first_leaf <= index < problem.end_leaf


@unhurried
@given(batches, st.data())
def test_one_missing_leaf_is_found(written: list[list[bytes]], data: st.DataObject) -> None:
    leaves, notes = _log(written)
    index = data.draw(st.integers(0, len(leaves) - 1))
    (problem,) = verify_log(leaves[:index] + leaves[index + 1 :], notes, KEYS).problems
    assert problem.kind in (ProblemKind.GAP, ProblemKind.MISSING_TAIL)
    # A leaf equal to its right neighbours is missing as well at their place.
    same_until = next((i for i in range(index, len(leaves)) if leaves[i] != leaves[index]), len(leaves))
    assert problem.first_leaf is not None
    assert problem.end_leaf is not None
    assert problem.first_leaf < same_until
    assert index < problem.end_leaf


@unhurried
@given(batches, st.binary(max_size=12), st.data())
def test_one_leaf_more_is_found(written: list[list[bytes]], leaf: bytes, data: st.DataObject) -> None:
    leaves, notes = _log(written)
    index = data.draw(st.integers(0, len(leaves)))
    (problem,) = verify_log([*leaves[:index], leaf, *leaves[index:]], notes, KEYS).problems
    assert problem.kind in (ProblemKind.INSERTED, ProblemKind.EXTRA_LEAVES)


@unhurried
@given(batches, st.data())
def test_two_exchanged_leaves_are_found(written: list[list[bytes]], data: st.DataObject) -> None:
    leaves, notes = _log(written)
    places = st.integers(0, len(leaves) - 1)
    one, two = data.draw(places), data.draw(places)
    assume(leaves[one] != leaves[two])
    exchanged = list(leaves)
    exchanged[one], exchanged[two] = leaves[two], leaves[one]
    (problem,) = verify_log(exchanged, notes, KEYS).problems
    assert problem.kind is ProblemKind.CHANGED


@unhurried
@given(batches, bits, st.data())
def test_one_flipped_bit_of_a_checkpoint_is_found(written: list[list[bytes]], bit: int, data: st.DataObject) -> None:
    leaves, notes = _log(written)
    number = data.draw(st.integers(0, len(notes) - 1))
    notes[number] = _flip(notes[number], bit)
    problems = verify_log(leaves, notes, KEYS, origin=ORIGIN).problems
    assert problems
    assert problems[0].checkpoint == number


@unhurried
@given(batches, st.data())
def test_a_missing_last_checkpoint_is_found(written: list[list[bytes]], data: st.DataObject) -> None:
    leaves, notes = _log(written)
    kept = data.draw(st.integers(0, len(notes) - 1))
    (problem,) = verify_log(leaves, notes[:kept], KEYS).problems
    assert problem.kind is ProblemKind.EXTRA_LEAVES


@unhurried
@given(batches, st.binary(min_size=32, max_size=32), st.data())
def test_a_signed_second_history_is_found(written: list[list[bytes]], root: bytes, data: st.DataObject) -> None:
    leaves, notes = _log(written)
    size = data.draw(st.integers(0, len(leaves)))
    place = data.draw(st.integers(0, len(notes)))
    fork = sign_checkpoint(Checkpoint(ORIGIN, size, root), LOG)
    problems = verify_log(leaves, [*notes[:place], fork, *notes[place:]], KEYS).problems
    assert problems
    assert {p.kind for p in problems} <= {
        ProblemKind.FORKED_CHECKPOINT,
        ProblemKind.SHRUNK_CHECKPOINT,
        ProblemKind.CHANGED,
    }


@unhurried
@given(st.integers(1, LEAF_COUNT), bits, st.data())
def test_one_flipped_bit_of_a_proof_is_found(size: int, bit: int, data: st.DataObject) -> None:
    leaves = [b"%d" % number for number in range(size)]
    prover = BatchProver(Frontier(), [hash_leaf(leaf) for leaf in leaves])
    note = sign_checkpoint(Checkpoint(ORIGIN, size, prover.root), LOG)
    note = cosign_note(note, WITNESS, time_s=1)
    index = data.draw(st.integers(0, size - 1))
    proof = encode_proofs(prover, note)[index]
    assert verify_proof(leaves[index], proof, KEYS).index == index
    changed = _flip(proof, bit)
    try:
        proven = verify_proof(leaves[index], changed, KEYS)
    except PortcullisError:
        return
    # Only the name or key id of the witness's signature can change without a word: then its key is an unknown one.
    parsed = TlogProof.parse(changed)
    assert replace(parsed, checkpoint_note=note).encode() == proof
    assert len(verify_note(parsed.checkpoint_note, KEYS).signatures) == 1
    assert proven.checkpoint.root == prover.root


@unhurried
@given(st.integers(1, LEAF_COUNT), bits, st.data())
def test_no_path_but_one_proves_a_leaf(size: int, bit: int, data: st.DataObject) -> None:
    hashes = [hash_leaf(b"%d" % number) for number in range(size)]
    prover = BatchProver(Frontier(), hashes)
    index = data.draw(st.integers(0, size - 1))
    path = prover.proof(index)
    wrong = [path[:-1], [*path, path[-1]], path[::-1], [_flip(path[0], bit), *path[1:]]] if path else [[hashes[0]]]
    for other in wrong:
        assume(other != path)
        with pytest.raises(MerkleError):
            verify_inclusion(hashes[index], index, size, other, prover.root)


@unhurried
@given(st.integers(1, LEAF_COUNT), bits, st.data())
def test_no_other_consistency_proof_holds(size2: int, bit: int, data: st.DataObject) -> None:
    hashes = [hash_leaf(b"%d" % number) for number in range(size2)]
    size1 = data.draw(st.integers(1, size2))

    def read(level: int, index: int) -> bytes:
        return Frontier().extend(hashes[index << level : (index + 1) << level]).root()

    root1, root2 = Frontier().extend(hashes[:size1]).root(), Frontier().extend(hashes).root()
    proof = consistency_proof(size1, size2, read)
    verify_consistency(size1, root1, size2, root2, proof)
    place = data.draw(st.integers(0, max(len(proof) - 1, 0)))
    wrong = [[*proof, root1]]
    if proof:
        wrong += [proof[:-1], [*proof[:place], _flip(proof[place], bit), *proof[place + 1 :]]]
    for other in wrong:
        with pytest.raises(MerkleError):
            verify_consistency(size1, root1, size2, root2, other)


texts = st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cc", "Cs"]), max_size=20)
lines = st.lists(texts, min_size=1, max_size=6).map(lambda parts: "".join(f"{part}\n" for part in parts).encode())


@unhurried
@given(lines, st.binary(min_size=32, max_size=32), st.integers(0, 2**63 - 1))
def test_any_text_can_be_signed_and_cosigned(text: bytes, seed: bytes, time_s: int) -> None:
    signer = Signer.from_seed("someone.example", seed)
    note = cosign_note(sign_note(text, signer), WITNESS, time_s=time_s)
    verified = verify_note(note, [signer.verifier, WITNESS.verifier])
    assert verified.text == text
    assert [signature.time_s for signature in verified.signatures] == [None, time_s]
    assert Verifier.parse(signer.verifier.vkey) == signer.verifier


origins = texts.filter(bool)


@unhurried
@given(origins, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(origins, max_size=2))
def test_checkpoints_go_both_ways(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint


pieces = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b" ",
        b"0",
        b"7",
        b"index ",
        b"extra ",
        b"AAAA",
        b"=",
        b"\xe2\x80\x94 ",
        b"log.example/3",
        b"+",
        b"\xff",
    ]
)
garbage = st.one_of(st.binary(max_size=80), st.lists(pieces, max_size=20).map(b"".join))


@unhurried
@given(garbage)
def test_garbage_is_refused_with_our_own_errors(data: bytes) -> None:
    prefixed = b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + data
    for attempt in (
        lambda: verify_note(data, KEYS),
        lambda: verify_checkpoint(data, KEYS),
        lambda: verify_proof(b"", prefixed, KEYS),
        lambda: verify_proof(b"", data, KEYS),
    ):
        with pytest.raises(PortcullisError):
            attempt()


@unhurried
@given(garbage)
def test_what_parses_is_spelled_canonically(data: bytes) -> None:
    for parse in (Checkpoint.parse, TlogProof.parse, Frontier.from_bytes):
        try:
            parsed = parse(data)
        except PortcullisError:
            continue
        assert (parsed.to_bytes() if isinstance(parsed, Frontier) else parsed.encode()) == data


@unhurried
@given(st.text(max_size=60))
def test_any_verifier_key_parses_canonically_or_not_at_all(vkey: str) -> None:
    try:
        verifier = Verifier.parse(vkey)
    except NoteError:
        return
    assert verifier.vkey == vkey
