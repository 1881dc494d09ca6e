"""RFC 6962 Merkle trees: hashes, the frontier of a growing tree, proofs made and checked.

A node is named by (level, index): it covers the leaves [index << level, (index + 1) << level). The last node of a
level may cover fewer; a last node without a sibling stands unchanged one level higher and is never doubled. That is the
tree of RFC 6962, and the reason why ``[a, b, c]`` and ``[a, b, c, c]`` have different roots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from streams.core.errors import PortcullisError

HASH_BYTES: Final = 32
# Tree sizes stay in the range of Kafka's offsets and of other implementations' signed 64-bit integers.
MAX_TREE_SIZE: Final = 2**63 - 1

_EMPTY_ROOT: Final = sha256(b"").digest()
# What every inner node's hash begins with; a copy of it is ready in half the time that a new one takes.
_NODE: Final = sha256(b"\x01")
_SIZE_BYTES: Final = 8

HashReader = Callable[[int, int], bytes]
"""Gives the hash of the complete node (level, index); asked only for nodes that lie wholly inside the tree."""


class MerkleError(PortcullisError):
    """A proof does not hold, or a tree's numbers or hashes cannot be those of a tree."""


def hash_leaf(leaf: bytes) -> bytes:
    """Return a leaf's hash. Source: RFC 6962 section 2.1."""
    return sha256(b"\x00" + leaf).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node. Source: RFC 6962 section 2.1."""
    node = _NODE.copy()
    node.update(left + right)
    return node.digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """Name a tree by its size and the roots of its complete subtrees, the largest (leftmost) first.

    All that is needed to append: one hash per bit set in ``size``, so at most 2 KiB whatever the log's length.

    Raises:
        MerkleError: the number or the length of the hashes does not fit the size.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise MerkleError(f"frontier size: 0 to {MAX_TREE_SIZE} allowed, got {self.size}")
        if len(self.hashes) != self.size.bit_count():
            raise MerkleError(f"frontier of size {self.size}: {self.size.bit_count()} hashes, got {len(self.hashes)}")
        for node in self.hashes:
            _require_hash("frontier hash", node)

    def append(self, leaf_hash: bytes) -> Frontier:
        """Return the frontier with one more leaf."""
        return self.extend((leaf_hash,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier with these leaves appended in order."""
        # Level by level, so that the loops are few and long: an old node is the left sibling of the first new one, and
        # what has no sibling is a complete subtree of the new tree.
        old, nodes = list(self.hashes), list(leaf_hashes)
        size, level, complete = self.size + len(nodes), 0, list[bytes]()
        while nodes:
            if self.size >> level & 1:
                nodes.insert(0, old.pop())
            if len(nodes) & 1:
                complete.append(nodes.pop())
            nodes, level = list(map(hash_node, nodes[::2], nodes[1::2])), level + 1
        return Frontier(size, (*old, *reversed(complete)))

    def root(self) -> bytes:
        """Return the tree's root hash."""
        return _fold(self.hashes)

    def to_bytes(self) -> bytes:
        """Return the size (8 bytes, big-endian) and the hashes, the largest subtree first."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Frontier:
        """Read what ``to_bytes`` wrote.

        Raises:
            MerkleError: the bytes are not one whole frontier.
        """
        size, hashes = int.from_bytes(stored[:_SIZE_BYTES], "big"), stored[_SIZE_BYTES:]
        if len(stored) < _SIZE_BYTES:
            raise MerkleError(f"stored frontier: {_SIZE_BYTES} bytes and the hashes required, got {len(stored)} bytes")
        return cls(size, tuple(hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)))


class BatchProver:
    """Append a batch of leaves to a tree and prove each of them in the tree after the batch.

    Only nodes above the batch's leaves are built, each once, so the cost per leaf falls towards two hashes.

    Raises:
        MerkleError: a leaf hash has the wrong length, or the tree would pass ``MAX_TREE_SIZE``.
    """

    __slots__ = ("_first", "_levels", "frontier", "root")

    def __init__(self, before: Frontier, leaf_hashes: Sequence[bytes]) -> None:
        for size in set(map(len, leaf_hashes)) - {HASH_BYTES}:
            raise MerkleError(f"leaf hash: {HASH_BYTES} bytes required, got {size}")
        self._first = before.size
        # _levels[k] holds the last nodes of level k, from node (first >> k) rounded down to even, so that the left
        # sibling of the first new node is in it too.
        self._levels = _levels_above(before, leaf_hashes)
        self.frontier = self._frontier_after(before, before.size + len(leaf_hashes)) if leaf_hashes else before
        self.root: bytes = self._levels[-1][-1] if leaf_hashes else before.root()

    def proof(self, index: int) -> list[bytes]:
        """Return the inclusion proof of the new leaf with this index in the log, from its sibling up to the root.

        Raises:
            MerkleError: the leaf is not one of the batch.
        """
        if not self._first <= index < self.frontier.size:
            raise MerkleError(f"leaf index: {self._first} to {self.frontier.size - 1} allowed, got {index}")
        siblings = []
        for level, nodes in enumerate(self._levels):
            sibling = ((index >> level) ^ 1) - (self._first >> level & ~1)
            if sibling < len(nodes):
                siblings.append(nodes[sibling])
        return siblings

    def joined_proofs(self, encode: Callable[[bytes], bytes] = bytes) -> list[bytes]:
        """Return every new leaf's inclusion proof in order, each as the concatenation of its encoded hashes.

        Neighbours share the upper part of their proofs, so each node is encoded once and each tail built once.
        """
        # The paths of one level's new nodes, from the root down; the root's own is empty.
        paths = [b""] if self._levels else []
        for level in range(len(self._levels) - 2, -1, -1):
            # A node without a sibling stands unchanged one level higher, and so does its path.
            if len(self._levels[level]) > 1:
                paths = self._paths_below(level, paths, encode)
        return paths

    def _paths_below(self, level: int, above: list[bytes], encode: Callable[[bytes], bytes]) -> list[bytes]:
        """Return the paths of this level's new nodes, given those of their parents."""
        encoded = [encode(node) for node in self._levels[level]]
        paths: list[bytes] = []
        for left, right, tail in zip(encoded[::2], encoded[1::2], above, strict=False):
            paths += (right + tail, left + tail)
        if len(encoded) & 1:
            paths.append(above[-1])
        # With an odd first index the first node is the old left sibling, which needs no proof.
        return paths[self._first >> level & 1 :]

    def _frontier_after(self, before: Frontier, size: int) -> Frontier:
        """Return the complete subtrees of the new tree: those of the levels built, above them the old ones."""
        hashes = [
            self._levels[level][(size >> level) - 1 - (before.size >> level & ~1)]
            for level in range(len(self._levels) - 1, -1, -1)
            if size >> level & 1
        ]
        return Frontier(size, tuple(hashes))


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of ``size`` leaves. Source: RFC 6962 section 2.1.1.

    Raises:
        MerkleError: there is no such leaf.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise MerkleError(f"leaf index: 0 to {size - 1} allowed, got {index}")
    return _siblings(0, index, size, read)


def consistency_proof(size1: int, size2: int, read: HashReader) -> list[bytes]:
    """Return the proof that the first tree is a prefix of the second. Source: RFC 6962 section 2.1.2.

    Raises:
        MerkleError: the first tree is larger than the second.
    """
    if not 0 <= size1 <= size2 <= MAX_TREE_SIZE:
        raise MerkleError(f"size of the first tree: 0 to {size2} allowed, got {size1}")
    if size1 in (0, size2):
        return []
    level = _trailing_zeros(size1)
    index = (size1 >> level) - 1
    # The start is the last complete subtree of the first tree; where that is the whole tree, the verifier has its root.
    start = [read(level, index)] if index else []
    return start + _siblings(level, index, size2, read)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is in the tree with this size and root. Source: RFC 9162 section 2.1.3.2.

    Raises:
        MerkleError: it is not proven.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise MerkleError(f"leaf index: 0 to {size - 1} allowed, got {index}")
    inner, border = _proof_shape(index, size)
    _require_hashes("inclusion proof", proof, inner + border)
    _require_hash("leaf hash", leaf_hash)
    if _climb(leaf_hash, index, proof, inner) != root:
        raise MerkleError(f"inclusion proof of leaf {index} in {size}: does not lead to root {root.hex()}")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the first tree is a prefix of the second. Source: RFC 9162 section 2.1.4.2.

    Raises:
        MerkleError: it is not proven.
    """
    if not 0 <= size1 <= size2 <= MAX_TREE_SIZE:
        raise MerkleError(f"size of the first tree: 0 to {size2} allowed, got {size1}")
    _require_hash("first root", root1)
    _require_hash("second root", root2)
    if size1 in (0, size2):
        _require_hashes("consistency proof", proof, 0)
        known = root2 if size1 else _EMPTY_ROOT
        if root1 != known or (not size2 and root2 != _EMPTY_ROOT):
            raise MerkleError(f"tree of size {size1}: has root {known.hex()}, got {root1.hex()}")
        return
    # The proof starts at the last complete subtree of the first tree, which is seen as a leaf of a smaller tree.
    level = _trailing_zeros(size1)
    index = (size1 >> level) - 1
    inner, border = _proof_shape(index, ((size2 - 1) >> level) + 1)
    _require_hashes("consistency proof", proof, inner + border + bool(index))
    start, path = (proof[0], proof[1:]) if index else (root1, proof)
    # The first root takes only the nodes to the left of the path: those to the right hold later leaves.
    left = [sibling for place, sibling in enumerate(path) if place >= inner or index >> place & 1]
    if _climb(start, index, left, 0) != root1 or _climb(start, index, path, inner) != root2:
        raise MerkleError(f"consistency proof from {size1} to {size2}: does not lead to both roots")


def _levels_above(before: Frontier, leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the nodes over the new leaves level by level, with the old left sibling where there is one."""
    levels: list[list[bytes]] = []
    old, nodes = list(before.hashes), list(leaf_hashes)
    height = (before.size + len(leaf_hashes) - 1).bit_length()
    for level in range(height + 1 if nodes else 0):
        if before.size >> level & 1:
            nodes = [old.pop(), *nodes]
        levels.append(nodes)
        if len(nodes) == 1:
            continue
        parents = list(map(hash_node, nodes[::2], nodes[1::2]))
        nodes = [*parents, nodes[-1]] if len(nodes) & 1 else parents
    return levels


def _siblings(level: int, index: int, size: int, read: HashReader) -> list[bytes]:
    """Return the siblings of node (level, index) and of its ancestors in the tree of ``size`` leaves."""
    siblings = []
    while (size - 1) >> level:
        if (index ^ 1) << level < size:
            siblings.append(_node_hash(level, index ^ 1, size, read))
        level, index = level + 1, index >> 1
    return siblings


def _node_hash(level: int, index: int, size: int, read: HashReader) -> bytes:
    """Return a node's hash, putting it together from complete nodes where the tree ends inside it."""
    if (index + 1) << level <= size:
        return read(level, index)
    return _fold([read(part, (size >> part) - 1) for part in range(level - 1, -1, -1) if size >> part & 1])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, the largest first."""
    if not hashes:
        return _EMPTY_ROOT
    root = hashes[-1]
    for left in hashes[-2::-1]:
        root = hash_node(left, root)
    return root


def _proof_shape(index: int, size: int) -> tuple[int, int]:
    """Return how many siblings lie below the point where the path joins the tree's right edge, and how many above."""
    inner = (index ^ (size - 1)).bit_length()
    return inner, (index >> inner).bit_count()


def _climb(node: bytes, index: int, path: Sequence[bytes], inner: int) -> bytes:
    """Return the root a path leads to: below the right edge the index's bits give the side, above it all is left."""
    for place, sibling in enumerate(path):
        right_of_sibling = place >= inner or index >> place & 1
        node = hash_node(sibling, node) if right_of_sibling else hash_node(node, sibling)
    return node


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def _require_hash(name: str, value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise MerkleError(f"{name}: {HASH_BYTES} bytes required, got {len(value)}")


def _require_hashes(name: str, hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count:
        raise MerkleError(f"{name}: {count} hashes required, got {len(hashes)}")
    for node in hashes:
        _require_hash(f"hash of the {name}", node)
