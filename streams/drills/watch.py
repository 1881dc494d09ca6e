"""The watch of a drill: a read-committed reader that notes when each record could be seen."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.kafka.reading import partitions_of, reader, stored
from streams.names import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.kafka.reading import Stored
    from streams.settings import Settings

_CONSUME_MAX: Final = 2_000
_CONSUME_S: Final = 0.02
_POLL_S: Final = 0.02
_SILENCE_S: Final = 60.0
_ANSWERS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)
_WATCHED: Final = (*_ANSWERS, Topic.RISK_ALERTS, Topic.MARKETS_REFERENCE, Topic.RISK_CIRCUIT_BREAKERS)


class UnansweredError(PortcullisError):
    """Messages of a drill got neither verdict nor dead letter."""


class Watch:
    """Keeps what it sees, by topic, each record with the moment when it was seen (microseconds UTC)."""

    def __init__(self, settings: Settings) -> None:
        self.seen: defaultdict[Topic, list[tuple[Stored, int]]] = defaultdict(list)
        self._settings = settings
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def answered(self) -> int:
        """Return how many messages have their verdict or dead letter."""
        return sum(len(self.seen[topic]) for topic in _ANSWERS)

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

    def wait_for(self, answers: int, check: Callable[[], None]) -> None:
        """Wait until so many messages are answered; `check` may raise meanwhile.

        Raises: UnansweredError where no answer comes for a minute.
        """
        last, since_s = -1, time.monotonic()
        while (answered := self.answered) < answers:
            check()
            self.check()
            if answered != last:
                last, since_s = answered, time.monotonic()
            elif time.monotonic() - since_s > _SILENCE_S:
                raise UnansweredError(f"{answered} of {answers} messages answered, then none for {_SILENCE_S:g} s")
            time.sleep(_POLL_S)

    def happens(self, topic: Topic, wanted: Callable[[Stored], bool], within_s: float) -> bool:
        """Wait until a record of a kept topic is as wanted; say whether one came in time."""
        deadline = time.monotonic() + within_s
        while not (found := any(wanted(record) for record, _ in tuple(self.seen[topic]))):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return found

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._failure = error

    def _read(self) -> None:
        settings = self._settings
        consumer = reader(settings.kafka_bootstrap_servers, settings.kafka_security)
        names = {settings.topic_prefix + topic: topic for topic in _WATCHED}
        try:
            consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in partitions_of(consumer, names)])
            while not self._stopping.is_set():
                messages = consumer.consume(_CONSUME_MAX, _CONSUME_S)
                seen_us = now_us()
                for message in messages:
                    if message.error() is None:
                        self.seen[names[message.topic() or ""]].append((stored(message), seen_us))
        finally:
            consumer.close()
