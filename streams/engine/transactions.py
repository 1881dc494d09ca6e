"""One partition's transactional producer: outputs, table rows and offsets go together or not at all."""

# ruff: noqa: SLF001 - this module and transport.py are where the insides of aiokafka are touched.

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import aiokafka
import aiokafka.producer.sender
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import BrokerResponseError, InvalidProducerEpoch, KafkaConnectionError, KafkaError, ProducerFenced

from streams.engine.exits import EngineError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from aiokafka.producer.message_accumulator import BatchBuilder

    from streams.engine.application import Message
    from streams.engine.options import EngineOptions

_log = logging.getLogger(__name__)

# Pause after CONCURRENT_TRANSACTIONS, that is while the markers of the transaction before are being written.
# aiokafka's 20 ms cost p99 50 against 56 ms at 500 records/s. Only this pause is shortened: the general
# retry back-off also paces reconnects, and at 5 ms an outage of 17 s wrote 33,000 log lines.
aiokafka.producer.sender.BACKOFF_OVERRIDE = 0.002

_BATCH_BYTES_MAX = 900_000  # below the broker's default message.max.bytes of 1,048,588
_OPEN_BACKOFF_S = 0.01
_RECONNECT_S = 0.5
_BUSY_S = 0.5  # batches that follow each other within this are worth a transaction begun ahead
_IDLE_S = 5.0  # after which a transaction begun ahead is ended unused
_ABORT_TIMEOUT_S = 1.0
_FENCED = (ProducerFenced, InvalidProducerEpoch)


class TransactionalProducer:
    """Writes micro-batches of one partition number, one transaction each.

    While batches follow each other closely, the next transaction is begun as soon as one has ended: the broker then
    knows its partitions and group before the batch is there, which takes two of five round trips out of its way.
    """

    def __init__(self, options: EngineOptions, partition: int, topics: Collection[str] = ()) -> None:
        """Prepare a producer; `topics` are those that it will write."""
        self.partition = partition
        self._options = options
        self._topics = topics
        self._connected: Any = None
        self._producer: Any = None
        self._committed_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_end: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Do what must be done before the partition can be taken over, and disturbs nobody who has it."""
        while self._connected is None:
            producer = self._new_producer()
            client = producer.client
            try:
                await client.bootstrap()
                # All topics in one request; aiokafka asks for each when it is first written, one after the other.
                known = client.set_topics(self._topics) if self._topics else None
                for kind, key in (
                    (CoordinationType.TRANSACTION, self._options.transactional_id(self.partition)),
                    (CoordinationType.GROUP, self._options.app_id),
                ):
                    node = await producer._sender._find_coordinator(kind, key)
                    await client.ready(node, group=ConnectionGroup.COORDINATION)
                if known is not None:
                    await known
            except KafkaConnectionError as error:
                _log.warning("partition %d: no broker, trying again: %r", self.partition, error)
                await producer.stop()
                await asyncio.sleep(_RECONNECT_S)
            else:
                self._connected = producer

    async def open(self) -> None:
        """Take over the partition: fences the writer before us and ends its transaction."""
        await self.connect()
        sender = self._connected._sender
        # The broker answers CONCURRENT_TRANSACTIONS until it has aborted what a killed worker left open.
        backoff, sender._retry_backoff = sender._retry_backoff, _OPEN_BACKOFF_S
        await sender.start()
        sender._retry_backoff = backoff
        self._producer = self._connected

    def _new_producer(self) -> aiokafka.AIOKafkaProducer:
        transactional_id = self._options.transactional_id(self.partition)
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._options.bootstrap_servers,
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=self._options.transaction_timeout_ms,
            max_batch_size=_BATCH_BYTES_MAX,
            compression_type=self._options.compression,
            linger_ms=0,
            **self._options.security,
        )
        _retry_lookups(producer._sender)
        manager = producer._txn_manager
        # aiokafka tells the coordinator of the group with the first offsets; here with the first partitions.
        manager.consumer_group_to_add = lambda: (
            self._options.app_id if manager.is_in_transaction() and manager._txn_consumer_group is None else None
        )
        return producer

    async def close(self) -> None:
        """Close the connections."""
        producer, self._connected, self._producer = self._connected, None, None
        if producer is None:
            return
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if producer._txn_manager.is_in_transaction():
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.abort_transaction(), _ABORT_TIMEOUT_S)
        await producer.stop()

    async def commit(
        self,
        outputs: Mapping[str, Sequence[Message]],
        offsets: Mapping[TopicPartition, int],
        *,
        timestamp_ms: int,
    ) -> dict[str, int]:
        """Write everything in one transaction; return the offset of the last record written, by topic.

        Raises:
            EngineError: with the exit code that fits; the process cannot go on after it.
        """
        committing = False
        try:
            async with asyncio.timeout(self._options.transaction_timeout_ms / 1_000):
                await self._begin()
                self._announce(outputs)
                written = await self._produce(outputs, timestamp_ms)
                # Only now: an offset commit beside a produce request makes the broker refuse 1 produce in 25.
                if offsets:
                    await self._producer.send_offsets_to_transaction(dict(offsets), self._options.app_id)
                committing = True
                await self._producer.commit_transaction()
        except Exception as error:
            raise EngineError(self._exit_code(error, committing=committing), f"{error!r}") from error
        self._begin_next(outputs)
        return written

    async def _begin(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._idle_end is not None:
            await self._idle_end
            self._idle_end = None
        if not self._producer._txn_manager.is_in_transaction():
            await self._producer.begin_transaction()

    def _begin_next(self, topics: Iterable[str]) -> None:
        before, self._committed_at = self._committed_at, time.monotonic()
        if self._committed_at - before > _BUSY_S:
            return
        self._producer._txn_manager.begin_transaction()
        self._announce(topics)
        self._idle_timer = asyncio.get_running_loop().call_later(_IDLE_S, self._end_empty)

    def _announce(self, topics: Iterable[str]) -> None:
        """Tell the coordinator of all partitions in one request; aiokafka does as each is written."""
        for topic in topics:
            self._producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, self.partition))

    def _end_empty(self) -> None:
        # Before the broker ends it for its age, which would fence us.
        self._idle_end = asyncio.create_task(self._producer.commit_transaction())

    async def _produce(self, outputs: Mapping[str, Sequence[Message]], timestamp_ms: int) -> dict[str, int]:
        sent = []
        for topic, messages in outputs.items():
            for batch in self._batches(messages, timestamp_ms):
                future = await self._producer.send_batch(batch, topic, partition=self.partition)
                sent.append((topic, batch.record_count(), future))
        written = {}
        # aiokafka's commit would succeed without a batch that the broker refused: look at every one.
        for topic, count, future in sent:
            written[topic] = (await future).offset + count - 1
        return written

    def _batches(self, messages: Sequence[Message], timestamp_ms: int) -> Iterator[BatchBuilder]:
        batch = self._producer.create_batch()
        for key, value, headers in messages:
            if batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers) is None:
                yield batch
                batch = self._producer.create_batch()
                # The first record of a batch always fits; whether it is too large is the broker's to say.
                batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers)
        if batch.record_count():
            yield batch

    def _exit_code(self, error: Exception, *, committing: bool) -> ExitCode:
        sender = self._producer._sender.sender_task
        fault = sender.exception() if sender.done() and not sender.cancelled() else None
        if isinstance(error, _FENCED) or isinstance(fault, _FENCED):
            return ExitCode.FENCED
        if committing:
            return ExitCode.UNCERTAIN_COMMIT
        if isinstance(error, TimeoutError):
            return ExitCode.TRANSACTION_TIMEOUT
        return ExitCode.BATCH_REFUSED if isinstance(error, BrokerResponseError) else ExitCode.LANE_FAILURE


def _retry_lookups(sender: Any) -> None:  # noqa: ANN401 - aiokafka's Sender
    """Look a coordinator up again where the connection broke meanwhile; aiokafka's sender would end with that."""
    find_coordinator = sender._find_coordinator

    async def find(kind: int, key: str) -> int:
        while True:
            try:
                return await find_coordinator(kind, key)  # type: ignore[no-any-return]
            except KafkaError as error:
                if not isinstance(error.__cause__, KafkaConnectionError):
                    raise
                await asyncio.sleep(sender._retry_backoff)

    sender._find_coordinator = find
