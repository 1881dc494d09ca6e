"""The tree against RFC 6962's recursive definitions, exhaustively for all small sizes."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import pytest

from streams.core.merkle import (
    MAX_TREE_SIZE,
    BatchProver,
    Frontier,
    MerkleError,
    consistency_proof,
    hash_leaf,
    hash_node,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 256
LARGEST_WITH_BATCHES = 130
LEAVES = [hash_leaf(b"leaf %d" % number) for number in range(LARGEST)]


# RFC 6962 section 2.1 word for word: MTH, PATH and SUBPROOF over D[begin:end].


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


@cache
def _mth(begin: int, end: int) -> bytes:
    if begin == end:
        return sha256(b"").digest()
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + _split(end - begin)
    return sha256(b"\x01" + _mth(begin, middle) + _mth(middle, end)).digest()


def _path(index: int, begin: int, end: int) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + _split(end - begin)
    if index < middle:
        return [*_path(index, begin, middle), _mth(middle, end)]
    return [*_path(index, middle, end), _mth(begin, middle)]


def _subproof(size: int, begin: int, end: int, *, whole: bool) -> list[bytes]:
    if size == end:
        return [] if whole else [_mth(begin, end)]
    middle = begin + _split(end - begin)
    if size <= middle:
        return [*_subproof(size, begin, middle, whole=whole), _mth(middle, end)]
    return [*_subproof(size, middle, end, whole=False), _mth(begin, middle)]


def _read(level: int, index: int) -> bytes:
    assert (index + 1) << level <= LARGEST, "asked for a node that is not complete"
    return _mth(index << level, (index + 1) << level)


def test_roots_of_certificate_transparency() -> None:
    # The eight leaves and roots that implementations of RFC 6962 have shared since its draft.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf, root in zip(leaves, roots, strict=True):
        tree = tree.append(hash_leaf(bytes.fromhex(leaf)))
        assert tree.root().hex() == root


def test_leaves_and_nodes_hash_apart() -> None:
    left, right = LEAVES[:2]
    assert hash_node(left, right) != hash_leaf(left + right)


def test_a_doubled_last_leaf_changes_the_root() -> None:
    a, b, c = LEAVES[:3]
    assert Frontier().extend([a, b, c]).root() != Frontier().extend([a, b, c, c]).root()


def test_every_frontier_has_the_defined_root_and_survives_storage() -> None:
    tree = Frontier()
    for size in range(LARGEST):
        assert tree.size == size
        assert tree.root() == _mth(0, size)
        assert Frontier.from_bytes(tree.to_bytes()) == tree
        assert Frontier().extend(LEAVES[:size]) == tree
        tree = tree.append(LEAVES[size])


def test_every_inclusion_proof() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, _read)
            assert proof == _path(index, 0, size)
            verify_inclusion(LEAVES[index], index, size, proof, _mth(0, size))


def test_every_consistency_proof() -> None:
    for size2 in range(LARGEST + 1):
        for size1 in range(size2 + 1):
            proof = consistency_proof(size1, size2, _read)
            assert proof == (_subproof(size1, 0, size2, whole=True) if size1 else [])
            verify_consistency(size1, _mth(0, size1), size2, _mth(0, size2), proof)


def test_every_batch_on_every_tree() -> None:
    before = Frontier()
    for first in range(LARGEST_WITH_BATCHES + 1):
        for size in range(first, LARGEST_WITH_BATCHES + 1):
            prover = BatchProver(before, LEAVES[first:size])
            assert prover.root == _mth(0, size)
            assert prover.frontier.size == size
            assert prover.frontier.root() == _mth(0, size)
            assert prover.joined_proofs() == [_joined_path(index, size) for index in range(first, size)]
        before = before.append(LEAVES[first]) if first < LARGEST_WITH_BATCHES else before


@cache
def _joined_path(index: int, size: int) -> bytes:
    return b"".join(_path(index, 0, size))


@pytest.mark.parametrize(("first", "size"), [(0, 1), (0, 7), (1, 2), (5, 6), (37, 100), (64, 65), (63, 130)])
def test_one_proof_of_a_batch(first: int, size: int) -> None:
    prover = BatchProver(Frontier().extend(LEAVES[:first]), LEAVES[first:size])
    for index in range(first, size):
        assert prover.proof(index) == _path(index, 0, size)
    for index in (first - 1, size):
        with pytest.raises(MerkleError, match=f"leaf index: {first} to {size - 1} allowed, got {index}"):
            prover.proof(index)


def test_batches_join_to_the_same_frontier() -> None:
    tree, first = Frontier(), 0
    for count in (1, 0, 2, 31, 4, 64, 5):
        tree = BatchProver(tree, LEAVES[first : first + count]).frontier
        first += count
    assert tree == Frontier().extend(LEAVES[:first])


def test_encoding_of_joined_proofs() -> None:
    prover = BatchProver(Frontier().extend(LEAVES[:3]), LEAVES[3:9])
    encoded = prover.joined_proofs(lambda node: node.hex().encode() + b"\n")
    for index, proof in enumerate(encoded, 3):
        assert [bytes.fromhex(line) for line in proof.decode().splitlines()] == _path(index, 0, 9)


def test_an_empty_batch_changes_nothing() -> None:
    before = Frontier().extend(LEAVES[:5])
    prover = BatchProver(before, [])
    assert (prover.frontier, prover.root, prover.joined_proofs()) == (before, before.root(), [])


@pytest.mark.parametrize(
    ("size", "hashes", "message"),
    [
        (-1, 0, "frontier size: 0 to 9223372036854775807 allowed, got -1"),
        (MAX_TREE_SIZE + 1, 1, "frontier size"),
        (3, 1, "frontier of size 3: 2 hashes, got 1"),
        (4, 2, "frontier of size 4: 1 hashes, got 2"),
    ],
)
def test_impossible_frontiers(size: int, hashes: int, message: str) -> None:
    with pytest.raises(MerkleError, match=message):
        Frontier(size, tuple(LEAVES[:hashes]))


@pytest.mark.parametrize(
    "change", [lambda stored: stored[:-1], lambda stored: stored + LEAVES[0], lambda _: b"\x00" * 7]
)
def test_a_stored_frontier_is_read_whole_or_not_at_all(change: object) -> None:
    assert callable(change)
    stored = Frontier().extend(LEAVES[:5]).to_bytes()
    with pytest.raises(MerkleError):
        Frontier.from_bytes(change(stored))


def test_hashes_of_a_wrong_length() -> None:
    with pytest.raises(MerkleError, match="leaf hash: 32 bytes required, got 31"):
        BatchProver(Frontier(), [LEAVES[0][:-1]])
    with pytest.raises(MerkleError, match="frontier hash: 32 bytes required, got 33"):
        Frontier().append(LEAVES[0] + b"\x00")
    # A proof's hash that swallows its neighbour would hash to the same bytes.
    root = hash_node(LEAVES[0], LEAVES[1])
    with pytest.raises(MerkleError, match="hash of the inclusion proof: 32 bytes required, got 31"):
        verify_inclusion(LEAVES[0] + LEAVES[1][:1], 0, 2, [LEAVES[1][1:]], root)
    with pytest.raises(MerkleError, match="leaf hash: 32 bytes required, got 33"):
        verify_inclusion(LEAVES[0] + b"\x00", 0, 2, [LEAVES[1]], root)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, MAX_TREE_SIZE + 1)])
def test_no_such_leaf(index: int, size: int) -> None:
    with pytest.raises(MerkleError, match="leaf index"):
        inclusion_proof(index, size, _read)
    with pytest.raises(MerkleError, match="leaf index"):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("size1", "size2"), [(-1, 5), (6, 5), (1, MAX_TREE_SIZE + 1)])
def test_no_such_prefix(size1: int, size2: int) -> None:
    with pytest.raises(MerkleError, match="size of the first tree"):
        consistency_proof(size1, size2, _read)
    with pytest.raises(MerkleError, match="size of the first tree"):
        verify_consistency(size1, LEAVES[0], size2, LEAVES[1], [])


def test_every_other_index_size_and_leaf_fails() -> None:
    for size in range(1, 20):
        for index in range(size):
            proof, root = inclusion_proof(index, size, _read), _mth(0, size)
            claims = [(LEAVES[index], other, size) for other in range(size) if other != index]
            claims += [(LEAVES[(index + 1) % LARGEST], index, size)]
            for leaf, other_index, other_size in claims:
                with pytest.raises(MerkleError):
                    verify_inclusion(leaf, other_index, other_size, proof, root)


def test_consistency_needs_both_roots() -> None:
    for size2 in range(2, 20):
        for size1 in range(1, size2):
            proof = consistency_proof(size1, size2, _read)
            for root1, root2 in ((LEAVES[50], _mth(0, size2)), (_mth(0, size1), LEAVES[50])):
                with pytest.raises(MerkleError):
                    verify_consistency(size1, root1, size2, root2, proof)


def test_equal_and_empty_trees_need_no_proof_but_the_right_roots() -> None:
    empty, root = Frontier().root(), _mth(0, 5)
    verify_consistency(0, empty, 5, root, [])
    verify_consistency(5, root, 5, root, [])
    for size1, root1, size2, root2, proof in (
        (0, root, 5, root, []),
        (0, root, 0, root, []),
        (0, empty, 0, root, []),
        (5, root, 5, empty, []),
        (5, root, 5, root, [root]),
        (0, empty, 5, root, [root]),
    ):
        with pytest.raises(MerkleError):
            verify_consistency(size1, root1, size2, root2, proof)
