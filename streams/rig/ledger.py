"""The ledger: a live read-committed reader of a run that may lose its broker, and when it saw verdicts again."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.clock import now_us
from streams.kafka.reading import partitions_of, reader, stored
from streams.names import Topic
from streams.rig.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from streams.kafka.reading import Stored
    from streams.settings import Settings
    from streams.wire.note import Verifier

_CONSUME_MAX: Final = 2_000
_CONSUME_S: Final = 0.02
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
        self._settings = settings
        self._seen: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # (seen, newest decision) per poll
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begin to read from the first record."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading. Raises: whatever ended the thread before."""
        self._stopping.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

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

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._failure = error

    def _read(self) -> None:
        settings = self._settings
        consumer = reader(settings.kafka_bootstrap_servers, settings.kafka_security)
        try:
            names = [settings.topic_prefix + topic for topic in (*_TALLIED, *_KEPT)]
            consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in partitions_of(consumer, names)])
            kept = frozenset(settings.topic_prefix + topic for topic in _KEPT)
            while not self._stopping.is_set():
                messages = consumer.consume(_CONSUME_MAX, _CONSUME_S)
                records = [stored(message) for message in messages if message.error() is None]
                if records:
                    with self.lock:
                        self._take(records, kept, now_us())
        finally:
            consumer.close()

    def _take(self, records: list[Stored], kept: frozenset[str], seen_us: int) -> None:
        newest: dict[int, int] = {}
        for record in records:
            if record.topic in kept:
                self.kept.append(record)
                continue
            decided_us = self.tally.take(record)
            if decided_us is not None:
                newest[record.partition] = max(decided_us, newest.get(record.partition, 0))
        for partition, decided_us in newest.items():
            self._seen[partition].append((seen_us, decided_us))
