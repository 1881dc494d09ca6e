"""The watch of a drill: a read-committed reader that notes when each record could be seen."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.rig.live_reader import LiveReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.kafka.reading import Stored
    from streams.settings import Settings

_POLL_S: Final = 0.02
_ANSWERS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)
_WATCHED: Final = (*_ANSWERS, Topic.RISK_ALERTS, Topic.MARKETS_REFERENCE, Topic.RISK_CIRCUIT_BREAKERS)


class Watch:
    """Keeps what it sees, by topic, each record with the moment when it was seen (microseconds UTC)."""

    def __init__(self, settings: Settings) -> None:
        self.seen: defaultdict[Topic, list[tuple[Stored, int]]] = defaultdict(list)
        self._names = {settings.topic_prefix + topic: topic for topic in _WATCHED}
        self._reader = LiveReader(settings, _WATCHED, self._take)

    @property
    def answered(self) -> int:
        """Return how many messages have their verdict or dead letter."""
        return sum(len(self.seen[topic]) for topic in _ANSWERS)

    def start(self) -> None:
        """Begin to read from the first record."""
        self._reader.start()

    def stop(self) -> None:
        """Stop reading. Raises: whatever ended the thread before."""
        self._reader.stop()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        self._reader.check()

    def wait_for(self, answers: int, check: Callable[[], None]) -> None:
        """Wait until so many messages are answered; `check` may raise meanwhile.

        Raises: MissingAnswersError where no answer comes for a minute.
        """
        self._reader.wait_for(answers, lambda: self.answered, check)

    def happens(self, topic: Topic, wanted: Callable[[Stored], bool], within_s: float) -> bool:
        """Wait until a record of a kept topic is as wanted; say whether one came in time."""
        deadline = time.monotonic() + within_s
        while not (found := any(wanted(record) for record, _ in tuple(self.seen[topic]))):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return found

    def _take(self, records: list[Stored], seen_us: int) -> None:
        for record in records:
            self.seen[self._names[record.topic]].append((record, seen_us))
