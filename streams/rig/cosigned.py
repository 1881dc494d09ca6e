"""Cosigned checkpoints of a log, held against its leaves: what the witnesses have seen is what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.audit.policy import TlogPolicyError
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.audit.policy import TlogPolicy


def check_cosigned(
    origin: str, leaves: Iterator[bytes], notes: Iterator[bytes], policy: TlogPolicy
) -> tuple[int, list[str]]:
    """Return how many leaves are under checkpoints that satisfy the policy, and what does not hold.

    A note that lacks a quorum is another witness's share and no fault: the largest that has one counts.
    """
    tree, problems = Frontier(), []
    witnessed = 0
    for place, note in enumerate(notes):
        try:
            checkpoint = policy.check(note)
        except TlogPolicyError:
            continue
        except PortcullisError as error:
            problems.append(f"cosigned checkpoint {place}: {error}")
            continue
        if checkpoint.origin != origin:
            problems.append(f"cosigned checkpoint {place}: of {checkpoint.origin}")
            continue
        if checkpoint.size < tree.size:
            continue  # published again
        tree = _grown(tree, leaves, checkpoint.size)
        if tree.size < checkpoint.size:
            problems.append(f"cosigned checkpoint {place}: {checkpoint.size} leaves cosigned, {tree.size} to read")
            break
        if tree.root() != checkpoint.root:
            problems.append(f"cosigned checkpoint {place}: its root at {checkpoint.size} is not that of the leaves")
            continue
        witnessed = checkpoint.size
    if not witnessed and next(leaves, None) is not None:
        problems.append("no cosigned checkpoint satisfies the policy")
    return witnessed, problems


def _grown(tree: Frontier, leaves: Iterator[bytes], size: int) -> Frontier:
    hashes: list[bytes] = []
    while tree.size + len(hashes) < size:
        leaf = next(leaves, None)
        if leaf is None:
            break
        hashes.append(hash_leaf(leaf))
    return tree.extend(hashes)
