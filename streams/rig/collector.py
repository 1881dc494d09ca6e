"""The collector: a live read-committed reader of what the gate answers, and when it could be seen."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.kafka.reading import partitions_of, reader
from streams.names import Topic
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

_CONSUME_MAX: Final = 2_000
_CONSUME_S: Final = 0.02
_ANSWERS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)
_POLL_S: Final = 0.02
_SILENCE_S: Final = 60.0


class MissingAnswersError(PortcullisError):
    """Requests got neither verdict nor dead letter."""


class Collector:
    """Counts answers by reason; latency is from the request's append to the moment its verdict is seen here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.approved = 0
        self.rejected: Counter[str] = Counter()
        self.dead_lettered = 0
        self.latencies_ms: list[float] = []
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    @property
    def answered(self) -> int:
        """Return how many requests have their verdict or dead letter."""
        return self.approved + self.rejected.total() + self.dead_lettered

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
        """Wait until so many requests are answered; `check` may raise meanwhile.

        Raises: MissingAnswersError where no answer comes for a minute.
        """
        last, since_s = self.answered, time.monotonic()
        while self.answered < answers:
            check()
            self.check()
            time.sleep(_POLL_S)
            if self.answered != last:
                last, since_s = self.answered, time.monotonic()
            elif time.monotonic() - since_s > _SILENCE_S:
                raise MissingAnswersError(f"{last} of {answers} answered, then none for {_SILENCE_S:g} s")

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latencies so far, 0 where there are none."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._failure = error

    def _read(self) -> None:
        consumer = reader(self._settings.kafka_bootstrap_servers, self._settings.kafka_security)
        names = {self._settings.topic_prefix + topic: topic for topic in _ANSWERS}
        try:
            consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in partitions_of(consumer, names)])
            while not self._stopping.is_set():
                messages = consumer.consume(_CONSUME_MAX, _CONSUME_S)
                seen_us = now_us()
                for message in messages:
                    if message.error() is None:
                        self._take(names[message.topic() or ""], message.value() or b"", seen_us)
        finally:
            consumer.close()

    def _take(self, topic: Topic, value: bytes, seen_us: int) -> None:
        if topic is Topic.ORDERS_DEAD_LETTER:
            self.dead_lettered += 1
            return
        verdict = decode_verdict(value)
        self.latencies_ms.append((seen_us - verdict.request_time_us) / 1000)
        if verdict.approved:
            self.approved += 1
        else:
            self.rejected[verdict.reason] += 1
