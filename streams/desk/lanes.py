"""The health of what the desk watches: how far each lane is, what is signed of its log, its age. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

# Orders that wait longer than this without one decision: nobody decides.
STALLED_US: Final = 3_000_000
# The cluster is asked every second; this long without an answer is silence.
SILENT_US: Final = 4_000_000
_LATENCIES: Final = 1_000
_RATE_SECONDS: Final = 60


@dataclass(slots=True)
class Lane:
    """One partition. Offsets and sizes are those of the next record; times in microseconds UTC."""

    number: int
    requested_end: int = 0
    """The end of `orders.requested`."""
    decided_end: int = 0
    """The request after the last one that the log answers."""
    log_end: int = 0
    """The end of `audit.events` on the cluster."""
    read_end: int = 0
    """How far the desk has read it."""
    events: int = 0
    """Leaves in the log."""
    last_event_us: int = 0
    signed: int = 0
    """Leaves under the last checkpoint."""
    signed_us: int = 0
    signature_ok: bool = True
    witnessed: int = 0
    """Leaves under the last checkpoint that enough witnesses have cosigned."""
    witness_ok: bool = True
    asked: bool = False
    """Whether the cluster has said how far the topics go."""
    progress_us: int = 0
    """When a decision was last seen, or nothing waited."""

    @property
    def waiting(self) -> int:
        """Return how many requests the log does not answer yet."""
        return max(0, self.requested_end - self.decided_end)

    @property
    def lag(self) -> int:
        """Return how many records of the log the desk has not read yet."""
        return max(0, self.log_end - self.read_end)

    def on_ends(self, requested_end: int, log_end: int, now_us: int) -> None:
        """Take in how far the topics go."""
        if not self.asked and not self.decided_end:
            self.decided_end = requested_end  # no answer was seen: what was there before is taken as answered
        self.asked = True
        self.requested_end, self.log_end = requested_end, log_end
        if not self.waiting:
            self.progress_us = now_us

    def on_request_answered(self, offset: int, now_us: int) -> None:
        """Take in that a request was decided or dead-lettered."""
        self.decided_end = max(self.decided_end, offset + 1)
        self.progress_us = now_us

    def stalled_us(self, now_us: int) -> int:
        """Return for how long requests have waited without one decision; 0 where that is no longer than usual."""
        waited_us = now_us - self.progress_us
        return waited_us if self.waiting and self.progress_us and waited_us > STALLED_US else 0


@dataclass(slots=True)
class Pulse:
    """The page's view of time: when the cluster last answered, verdicts per second, how quick they are."""

    began_us: int = 0
    answered_us: int = 0
    caught_up: bool = False
    approved: int = 0
    refused: int = 0
    seconds: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_RATE_SECONDS))
    """(second, approved, refused), the latest last."""
    latencies_us: deque[int] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def on_verdict(self, at_us: int, *, approved: bool, latency_us: int) -> None:
        """Count a verdict."""
        second = at_us // 1_000_000
        self.latencies_us.append(latency_us)
        self.approved += approved
        self.refused += not approved
        if self.seconds and self.seconds[-1][0] >= second:
            last, yes, no = self.seconds[-1]
            self.seconds[-1] = (last, yes + approved, no + (not approved))
        else:
            self.seconds.append((second, int(approved), int(not approved)))

    def silent_us(self, now_us: int) -> int:
        """Return for how long the cluster has not answered; 0 where that is no longer than usual."""
        silent_us = now_us - (self.answered_us or self.began_us)
        return silent_us if silent_us > SILENT_US else 0

    def latency_us(self, share: float) -> int | None:
        """Return the latency that this share of the last verdicts kept to, from request to decision."""
        if not self.latencies_us:
            return None
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
