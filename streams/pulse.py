"""What a long-running service says of itself while it runs; `streams.telemetry.service` shows it to those who ask."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from confluent_kafka import Consumer

_LOOK_EVERY_S: Final = 1.0


class Pulse:
    """Figures that a service's loop writes and another thread reads: each is one value, written whole."""

    def __init__(self, service: str, *parts: str) -> None:
        """Begin with nothing done; `parts` are what must hold before the service is ready."""
        self.service = service
        self.parts = dict.fromkeys(parts, False)
        self.records = 0
        """Records that were read and dealt with since the start."""
        self.failures = 0
        """What did not succeed, and was or will be tried again."""
        self.behind = 0
        """Committed records that wait to be read."""
        self.turned_s = time.monotonic()
        """When the loop last turned."""
        self._looked_s = 0.0
        self._consumer: Consumer | None = None

    def watch(self, consumer: Consumer) -> None:
        """Look from now on at what this consumer has before it."""
        self._consumer = consumer

    def set(self, part: str, *, holds: bool) -> None:
        """Say whether a part of being ready holds."""
        self.parts[part] = holds

    def fail(self) -> None:
        """Count a failure."""
        self.failures += 1

    def turn(self, records: int = 0) -> None:
        """Say that the loop turns, and how many records it has dealt with meanwhile."""
        now_s = time.monotonic()
        self.turned_s = now_s
        self.records += records
        if self._consumer is not None and now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            self.behind = records_behind(self._consumer)


def records_behind(consumer: Consumer) -> int:
    """Return how many committed records lie before a consumer, as the last fetches told; no question is asked."""
    total = 0
    for place in consumer.position(consumer.assignment()):
        _, end = consumer.get_watermark_offsets(place, cached=True)
        if place.offset >= 0 and end >= 0:
            total += max(0, end - place.offset)
    return total
