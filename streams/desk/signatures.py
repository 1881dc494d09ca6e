"""How far each log is signed by its key and cosigned by witnesses; the latest note of each lane is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.audit.checkpoint import Checkpoint, verify_checkpoint
from streams.core.errors import PortcullisError
from streams.wire.log_keys import log_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.audit.policy import TlogPolicy
    from streams.desk.lanes import Lane


class Checkpoints:
    """Keeps the latest note of each lane and verifies it when somebody wants to be told."""

    def __init__(self, pki: Path, origin: str, policy: TlogPolicy | None = None) -> None:
        """Without a policy nobody says whose cosignatures count, and none does."""
        self._pki, self._origin, self._policy = pki, origin, policy
        self._latest: dict[int, tuple[bytes, int]] = {}
        self._cosigned: dict[int, bytes] = {}

    def on_note(self, lane: int, note: bytes, at_us: int) -> None:
        """Take in a checkpoint and its append time (microseconds UTC)."""
        self._latest[lane] = (note, at_us)

    def on_cosigned(self, lane: int, note: bytes) -> None:
        """Take in a checkpoint that witnesses have cosigned."""
        self._cosigned[lane] = note

    def tell(self, lanes: Sequence[Lane]) -> None:
        """Verify what is new and write it to the lanes."""
        latest, self._latest = self._latest, {}
        for number, (note, at_us) in latest.items():
            lane = lanes[number]
            checkpoint = self.verified(number, note)
            lane.signature_ok = checkpoint is not None
            if checkpoint is not None:
                lane.signed, lane.signed_us = checkpoint.size, at_us
        cosigned, self._cosigned = self._cosigned, {}
        for number, note in cosigned.items():
            size = self._witnessed(number, note)
            lanes[number].witness_ok = size is not None
            lanes[number].witnessed = size or lanes[number].witnessed

    def _witnessed(self, lane: int, note: bytes) -> int | None:
        """Return the size of a checkpoint that satisfies the policy; None where it does not."""
        if self._policy is None:
            return 0
        try:
            checkpoint = self._policy.check(note)
        except PortcullisError:
            return None
        return checkpoint.size if checkpoint.origin == f"{self._origin}/{lane}" else None

    def verified(self, lane: int, note: bytes) -> Checkpoint | None:
        """Return a lane's checkpoint; None where the log's key has not signed it."""
        origin = f"{self._origin}/{lane}"
        try:
            checkpoint = verify_checkpoint(note, [key.verifier for key in log_keys(self._pki, origin)])
        except PortcullisError:
            return None
        return checkpoint if checkpoint.origin == origin else None
