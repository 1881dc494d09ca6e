"""The collector: a live read-committed reader of what the gate answers, and when it could be seen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.rig.live_reader import LiveReader
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.kafka.reading import Stored
    from streams.settings import Settings

_ANSWERS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)


class Collector:
    """Counts answers by reason; latency is from the request's append to the moment its verdict is seen here."""

    def __init__(self, settings: Settings) -> None:
        self.approved = 0
        self.rejected: Counter[str] = Counter()
        self.dead_lettered = 0
        self.latencies_ms: list[float] = []
        self._dead_letters = settings.topic_prefix + Topic.ORDERS_DEAD_LETTER
        self._reader = LiveReader(settings, _ANSWERS, self._take)

    @property
    def answered(self) -> int:
        """Return how many requests have their verdict or dead letter."""
        return self.approved + self.rejected.total() + self.dead_lettered

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
        """Wait until so many requests are answered; `check` may raise meanwhile.

        Raises: MissingAnswersError where no answer comes for a minute.
        """
        self._reader.wait_for(answers, lambda: self.answered, check)

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latencies so far, 0 where there are none."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def _take(self, records: list[Stored], seen_us: int) -> None:
        for record in records:
            if record.topic == self._dead_letters:
                self.dead_lettered += 1
                continue
            verdict = decode_verdict(record.value)
            self.latencies_ms.append((seen_us - verdict.request_time_us) / 1000)
            if verdict.approved:
                self.approved += 1
            else:
                self.rejected[verdict.reason] += 1
