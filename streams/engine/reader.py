"""A reader that keeps the latest record per key of a whole topic, outside the consumer group."""

# ruff: noqa: SLF001 - how fresh the reader is only the insides of aiokafka's consumer know.

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from streams.engine.clock import FetchClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiokafka.structs import ConsumerRecord

_log = logging.getLogger(__name__)

_FETCH_WAIT_MS = 50
_POLL_MS = 200
_RETRY_S = 0.5
_RECORDS_MAX = 2_000


class LatestReader(Service):  # type: ignore[misc]
    """Reads all partitions of a topic from their first record, committed records only, and follows them.

    `latest` holds the newest record of each key; a tombstone removes its key. `on_record` is called for every record,
    tombstones too, so that the owner can decode each once.
    """

    def __init__(
        self,
        topic: str,
        *,
        bootstrap_servers: str,
        on_record: Callable[[ConsumerRecord], None] = lambda _: None,
        stale_after_s: float = 2.0,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.latest: dict[bytes, ConsumerRecord] = {}
        self._topic = topic
        self._on_record = on_record
        self._stale_after_s = stale_after_s
        self._settings = {"bootstrap_servers": bootstrap_servers, **(security or {})}
        self._end_seen_at = 0.0
        self._next: dict[TopicPartition, int] = {}

    @property
    def caught_up(self) -> bool:
        """Whether the reader had every committed record of the topic within the last `stale_after_s` seconds.

        True only while the broker answers: the end must have been seen in a fetch response that recent, in each
        partition. So a reader that lags, or is cut off, is not caught up.
        """
        return time.time() - self._end_seen_at <= self._stale_after_s

    async def on_start(self) -> None:
        """Start to read, in the background."""
        self.add_future(self._read())

    async def _read(self) -> None:
        while not self.should_stop:
            consumer = aiokafka.AIOKafkaConsumer(
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                **self._settings,
            )
            try:
                await self._follow(consumer)
            except (KafkaError, OSError) as error:
                _log.warning("reader of %s starts again: %r", self._topic, error)
                await self.sleep(_RETRY_S)
            finally:
                await consumer.stop()

    async def _follow(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        await consumer.start()
        clock = FetchClock(_FETCH_WAIT_MS, _FETCH_WAIT_MS)
        partitions = await consumer._client._wait_on_metadata(self._topic)
        tps = [TopicPartition(self._topic, partition) for partition in partitions]
        consumer.assign(tps)
        for tp, offset in self._next.items():
            consumer.seek(tp, offset)
        while not self.should_stop:
            found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_MAX)
            clock.observe(len(found))
            consumer._fetcher._fetch_min_bytes, consumer._fetcher._fetch_max_wait_ms = clock.settings(settled=True)
            for tp, records in found.items():
                for record in records:
                    self._take(record)
                self._next[tp] = records[-1].offset + 1
            self._end_seen_at = max(self._end_seen_at, self._oldest_end(consumer, tps))

    def _take(self, record: ConsumerRecord) -> None:
        if record.key is not None:
            if record.value is None:
                self.latest.pop(record.key, None)
            else:
                self.latest[record.key] = record
        self._on_record(record)

    def _oldest_end(self, consumer: aiokafka.AIOKafkaConsumer, tps: list[TopicPartition]) -> float:
        """Return when, at the earliest over all partitions, a fetch response showed that nothing is left to read."""
        seen_at = []
        for tp in tps:
            state = consumer._subscription.subscription.assignment.state_value(tp)
            at_end = state.has_valid_position and state.lso is not None and state.position >= state.lso
            seen_at.append(state.timestamp / 1_000 if at_end and state.timestamp else 0.0)
        return min(seen_at)
