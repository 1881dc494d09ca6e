"""A live read-committed reader in a thread: what it sees, and when it could be seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.kafka.reading import FOLLOWING, partitions_of, reader, stored
from streams.rig.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.kafka.reading import Stored
    from streams.names import Topic
    from streams.settings import Settings

_CONSUME_MAX: Final = 2_000
_CONSUME_S: Final = 0.02
_POLL_S: Final = 0.02
_SILENCE_S: Final = 60.0


class MissingAnswersError(PortcullisError):
    """Messages got neither verdict nor dead letter."""


class LiveReader:
    """Hands over every record of some topics, from the first on, and when it was seen (microseconds UTC)."""

    def __init__(self, settings: Settings, topics: Iterable[Topic], take: Callable[[list[Stored], int], None]) -> None:
        self._settings = settings
        self._topics = tuple(settings.topic_prefix + topic for topic in topics)
        self._take = take
        self._background = Background("live-reader", self._read)

    def start(self) -> None:
        """Begin to read from the first record."""
        self._background.start()

    def stop(self) -> None:
        """Stop reading. Raises: whatever ended the thread before."""
        self._background.stop()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        self._background.check()

    def wait_for(self, answers: int, answered: Callable[[], int], check: Callable[[], None]) -> None:
        """Wait until so many messages are answered; `check` may raise meanwhile.

        Raises: MissingAnswersError where no answer comes for a minute.
        """
        last, since_s = -1, time.monotonic()
        while (count := answered()) < answers:
            check()
            self.check()
            if count != last:
                last, since_s = count, time.monotonic()
            elif time.monotonic() - since_s > _SILENCE_S:
                raise MissingAnswersError(f"{count} of {answers} answered, then none for {_SILENCE_S:g} s")
            time.sleep(_POLL_S)

    def _read(self) -> None:
        consumer = reader(self._settings.kafka_bootstrap_servers, self._settings.kafka_security, **FOLLOWING)
        try:
            places = partitions_of(consumer, self._topics)
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in places])
            while not self._background.stopping.is_set():
                messages = consumer.consume(_CONSUME_MAX, _CONSUME_S)
                seen_us = now_us()
                records = [stored(message) for message in messages if message.error() is None]
                if records:
                    self._take(records, seen_us)
        finally:
            consumer.close()
