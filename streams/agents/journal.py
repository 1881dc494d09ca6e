"""The journal of a partition: every event becomes a leaf of its RFC 6962 log, in the order in which it mattered.

A micro-batch's events are written together, after it: the leaves to `audit.events`, one signed checkpoint to
`audit.checkpoints`, and each approval with the proof that its own event is under that checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.proof import encode_proofs
from streams.core.errors import PortcullisError
from streams.core.merkle import BatchProver, Frontier, hash_leaf
from streams.wire.headers import AUDIT_HEAD, TLOG_PROOF

if TYPE_CHECKING:
    from streams.engine.application import Header, Outputs
    from streams.engine.tables import PartitionTable
    from streams.wire.log_keys import LogSigners

FRONTIER: Final = "frontier"
CLOSED: Final = "closed"
"""The row that says which log follows; nothing is appended to a log that has it."""
GENERATION: Final = "generation"
"""The row that says the how manieth log of its lane number this is; none: the first."""
_TIME_BYTES: Final = 8


def frontier_row(decided_us: int, tree: Frontier) -> bytes:
    """Return the row of a log: when its last events were decided, and its tree."""
    return decided_us.to_bytes(_TIME_BYTES, "big") + tree.to_bytes()


def decided_us_of(row: bytes) -> int:
    """Return when the last events of a log were decided, by its row."""
    return int.from_bytes(row[:_TIME_BYTES], "big")


class LogClosedError(PortcullisError):
    """The log was closed and another follows: this worker's settings are those of the closed one."""


class Journal:
    """One partition's log: its one writer."""

    def __init__(
        self, table: PartitionTable[bytes], outputs: Outputs, signers: LogSigners, topics: tuple[str, str, str]
    ) -> None:
        """Continue the log that the table's frontier describes; `topics`: events, checkpoints, approvals."""
        self._table, self._outputs, self._signers = table, outputs, signers
        self._events_topic, self._checkpoints_topic, self._approved_topic = topics
        following = table.get(CLOSED)
        if following is not None:
            raise LogClosedError(f"log {signers.origin}: closed, followed by {following.decode()}")
        stored, generation = table.get(FRONTIER), table.get(GENERATION)
        self.generation = 1 if generation is None else int(generation)
        self._frontier = Frontier() if stored is None else Frontier.from_bytes(stored[_TIME_BYTES:])
        self.decided_us = 0 if stored is None else decided_us_of(stored)
        """Decision time of the last events; it outlives the worker, so that time never goes back in a log."""
        self.next_index = self._frontier.size
        """Leaf index of the next event."""
        self._leaves: list[tuple[bytes, bytes]] = []
        # Leaf index, key, verdict, headers, how many of the leaf's bytes are its head.
        self._approvals: list[tuple[int, bytes, bytes, tuple[Header, ...], int]] = []

    def append(self, key: bytes, leaf: bytes) -> None:
        """Append an event; `leaf` is the value of its record in `audit.events`."""
        self._leaves.append((key, leaf))
        self.next_index += 1

    def approve(self, key: bytes, verdict: bytes, headers: tuple[Header, ...], head_bytes: int) -> None:
        """Hold an approval back until the event appended last has its proof; its leaf's first bytes are the head."""
        self._approvals.append((self.next_index - 1, key, verdict, headers, head_bytes))

    def finish(self, now_us: int) -> None:
        """Write the batch decided at this time: leaves, checkpoint, approvals with their proofs, the new frontier."""
        if not self._leaves:
            return
        self.decided_us = now_us
        prover = BatchProver(self._frontier, [hash_leaf(leaf) for _, leaf in self._leaves])
        origin = self._signers.origin
        checkpoint = Checkpoint(origin, prover.frontier.size, prover.root)
        note = sign_checkpoint(checkpoint, *self._signers.at(now_us))
        send = self._outputs.send
        for key, leaf in self._leaves:
            send(self._events_topic, key, leaf)
        send(self._checkpoints_topic, origin.encode(), note)
        if self._approvals:
            proofs, first = encode_proofs(prover, note), self._frontier.size
            for log_index, key, value, headers, head_bytes in self._approvals:
                place = log_index - first
                head = self._leaves[place][1][:head_bytes]
                send(self._approved_topic, key, value, (*headers, (TLOG_PROOF, proofs[place]), (AUDIT_HEAD, head)))
        self._frontier = prover.frontier
        self._table.put(FRONTIER, frontier_row(now_us, self._frontier))
        self._leaves, self._approvals = [], []
