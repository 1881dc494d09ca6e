"""The ledger: a live read-committed reader of a run that may lose its broker, and when it saw verdicts again."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.rig.live_reader import LiveReader
from streams.rig.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from streams.kafka.reading import Stored
    from streams.settings import Settings
    from streams.wire.note import Verifier

_TALLIED: Final = (
    Topic.ORDERS_REQUESTED,
    Topic.ORDERS_APPROVED,
    Topic.ORDERS_REJECTED,
    Topic.ORDERS_DEAD_LETTER,
    Topic.AUDIT_EVENTS,
    Topic.AUDIT_CHECKPOINTS,
)
# Compacted, so that only who reads along has all of them for the oracle.
_KEPT: Final = (Topic.MARKETS_REFERENCE, Topic.RISK_CIRCUIT_BREAKERS)


class Ledger:
    """Keeps the tally of a run in a thread; times are microseconds UTC."""

    def __init__(self, settings: Settings, verifiers: Sequence[Verifier]) -> None:
        self.tally = Tally(verifiers, prefix=settings.topic_prefix)
        self.kept: list[Stored] = []
        """Every record of the compacted topics that the oracle needs."""
        self.lock = threading.Lock()
        """Held while records are taken: hold it to read the tally."""
        self._kept = frozenset(settings.topic_prefix + topic for topic in _KEPT)
        self._seen: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # (seen, newest decision) per poll
        self._reader = LiveReader(settings, (*_TALLIED, *_KEPT), self._take)

    def start(self) -> None:
        """Begin to read from the first record."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading. Raises: whatever ended the thread before."""
        self._reader.stop()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        self._reader.check()

    def forget_times(self) -> None:
        """Forget when verdicts were seen, before the next round."""
        with self.lock:
            self._seen.clear()

    def resumed_us(self, partition: int, since_us: int) -> int | None:
        """Return when the first verdict of a partition that was decided after a moment was seen."""
        with self.lock:
            return next((seen for seen, decided in self._seen[partition] if decided > since_us), None)

    def longest_gap_us(self, partitions: Collection[int], from_us: int, to_us: int) -> int:
        """Return the longest time without a new verdict in any of these partitions between two moments."""
        longest = 0
        with self.lock:
            for partition in partitions:
                times = [from_us, *(seen for seen, _ in self._seen[partition] if from_us < seen < to_us), to_us]
                longest = max(longest, *(after - before for before, after in itertools.pairwise(times)))
        return longest

    def requested(self) -> dict[int, int]:
        """Return the end of `orders.requested` as read so far, by partition."""
        with self.lock:
            return dict(self.tally.requested)

    def unanswered(self, ends: dict[int, int]) -> int:
        """Return how many orders before these ends wait for their verdict or audit event."""
        with self.lock:
            return self.tally.unanswered(ends)

    def _take(self, records: list[Stored], seen_us: int) -> None:
        with self.lock:
            self._note(records, seen_us)

    def _note(self, records: list[Stored], seen_us: int) -> None:
        newest: dict[int, int] = {}
        for record in records:
            if record.topic in self._kept:
                self.kept.append(record)
                continue
            decided_us = self.tally.take(record)
            if decided_us is not None:
                newest[record.partition] = max(decided_us, newest.get(record.partition, 0))
        for partition, decided_us in newest.items():
            self._seen[partition].append((seen_us, decided_us))
