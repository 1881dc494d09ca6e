"""A worker's transactions: outputs, table rows and offsets of its lanes go together or not at all.

A transaction costs the broker and the worker the same few requests whether one lane or all write in it, so lanes that
have decided at the same time share one. What keeps two workers from writing for the same partition is the group: the
offsets in each transaction name the member and its generation, and the broker refuses those of an older one (KIP-447).

Two producers take turns. A commit is answered once it is decided; until its markers are written, the broker lets that
producer name no partitions (10 to 14 ms at 500 orders/s), and the other one is through with that.
"""

# ruff: noqa: SLF001 - one of the modules where the insides of aiokafka are touched.

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import BrokerResponseError, InvalidProducerEpoch, KafkaError, ProducerFenced

from streams.engine.exits import EngineError, ExitCode
from streams.engine.producing import commit_as, connect, give_up, start
from streams.engine.takeover import clear_the_way

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from aiokafka.producer.message_accumulator import BatchBuilder

    from streams.engine.application import Message
    from streams.engine.membership import Membership
    from streams.engine.options import EngineOptions

_TOGETHER_S = 0.01  # how long a lane that has decided waits at most for others that still do
_BUSY_S = 0.5  # transactions that follow each other within this are worth one begun ahead
_IDLE_S = 5.0  # after which a transaction begun ahead is ended unused
_CLOSE_TIMEOUT_S = 1.0
_FENCED = (ProducerFenced, InvalidProducerEpoch)


@dataclass(frozen=True, slots=True)
class Share:
    """What one lane writes in a transaction; without an offset it would not be fenced."""

    partition: int
    outputs: Mapping[str, Sequence[Message]]
    offsets: Mapping[TopicPartition, int]
    timestamp_ms: int

    def __post_init__(self) -> None:
        if not self.offsets:
            raise ValueError(f"partition {self.partition}: a transaction needs an offset, which fences it")


class TransactionWriter:
    """Writes the micro-batches of all lanes of a worker, one transaction after the other.

    While they follow each other closely, the next transaction is begun as soon as one has ended: the broker then
    knows its partitions and group before the batches are there, which takes two of five round trips out of their way.
    """

    def __init__(self, options: EngineOptions, topics: Collection[str]) -> None:
        """Prepare; `topics`: those that will be written."""
        self._options = options
        self._topics = topics
        self._producers: list[Any] = []  # connected; the one whose turn it is first
        self._membership: Membership | None = None
        self._deciding = 0
        self._all_decided = asyncio.Event()
        self._shares: list[tuple[Share, asyncio.Future[dict[str, int]]]] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._committed_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_end: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Do what must be done before the first partition can be taken over, and disturbs nobody."""
        if not self._producers:
            self._producers = await asyncio.gather(
                *(connect(self._options, name, self._topics) for name in self._options.transactional_ids)
            )
            for producer in self._producers:
                commit_as(producer, self._options.app_id, self._member)

    async def take_over(self, sources: Collection[TopicPartition], membership: Membership) -> None:
        """Write as this member from now on, and return when nobody else can write for these partitions."""
        self._membership = membership
        if self._task is None:
            await self.connect()
            await asyncio.gather(*map(start, self._producers))
            self._task = asyncio.create_task(self._run(), name="transactions")
        if sources:
            await clear_the_way(self._producers[0], self._options, sources)

    async def close(self) -> None:
        """Close the connections; the lanes have been drained."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        producers, self._producers = self._producers, []
        for producer in producers:
            # Where the broker is away, aiokafka would wait until it is back.
            if producer._txn_manager.is_in_transaction():
                with contextlib.suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.abort_transaction(), _CLOSE_TIMEOUT_S)
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), _CLOSE_TIMEOUT_S)

    @contextlib.contextmanager
    def deciding(self) -> Iterator[None]:
        """Say that a lane decides and will soon have something to write."""
        self._deciding += 1
        self._all_decided.clear()
        try:
            yield
        finally:
            self._deciding -= 1
            if not self._deciding:
                self._all_decided.set()

    async def commit(self, share: Share) -> dict[str, int]:
        """Write everything in a transaction; return the offset of the last record written, by topic.

        Raises:
            EngineError: with the exit code that fits; the process cannot go on after it.
        """
        done: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        self._shares.append((share, done))
        self._arrived.set()
        return await done

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(0)  # lanes whose transaction has just ended begin to decide what came meanwhile
            if self._deciding:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._all_decided.wait(), _TOGETHER_S)
            self._arrived.clear()
            shares, self._shares = self._shares, []
            try:
                written = await self._write([share for share, _ in shares])
            except EngineError as error:
                for _, done in shares:
                    done.set_exception(error)
                return
            for share, done in shares:
                done.set_result(written[share.partition])

    async def _write(self, shares: Sequence[Share]) -> dict[int, dict[str, int]]:
        places = [TopicPartition(topic, share.partition) for share in shares for topic in share.outputs]
        committing = False
        try:
            async with asyncio.timeout(self._options.transaction_timeout_ms / 1_000):
                await self._begin()
                self._announce(places)
                written = await self._produce(shares)
                # Only now: an offset commit beside a produce request makes the broker refuse 1 produce in 25.
                offsets = {tp: offset for share in shares for tp, offset in share.offsets.items()}
                await self._producer.send_offsets_to_transaction(offsets, self._options.app_id)
                committing = True
                await self._producer.commit_transaction()
        except Exception as error:
            code = self._exit_code(error, committing=committing)
            if code is ExitCode.FENCED:
                await give_up(self._producer)
            raise EngineError(code, f"{error!r}") from error
        self._producers.reverse()
        self._begin_next(places)
        return written

    async def _begin(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._idle_end is not None:
            await self._idle_end
            self._idle_end = None
        if not self._producer._txn_manager.is_in_transaction():
            await self._producer.begin_transaction()

    def _begin_next(self, places: Iterable[TopicPartition]) -> None:
        before, self._committed_at = self._committed_at, time.monotonic()
        if self._committed_at - before > _BUSY_S:
            return
        self._producer._txn_manager.begin_transaction()
        self._announce(places)
        self._idle_timer = asyncio.get_running_loop().call_later(_IDLE_S, self._end_empty)

    def _announce(self, places: Iterable[TopicPartition]) -> None:
        """Tell the coordinator of all partitions in one request; aiokafka does as each is written."""
        for place in places:
            self._producer._txn_manager.maybe_add_partition_to_txn(place)

    def _end_empty(self) -> None:
        # Before the broker ends it for its age, which would fence us.
        self._idle_end = asyncio.create_task(self._producer.commit_transaction())

    async def _produce(self, shares: Sequence[Share]) -> dict[int, dict[str, int]]:
        sent = []
        for share in shares:
            for topic, messages in share.outputs.items():
                for batch in self._batches(messages, share.timestamp_ms):
                    future = await self._producer.send_batch(batch, topic, partition=share.partition)
                    sent.append((share.partition, topic, batch.record_count(), future))
        written: dict[int, dict[str, int]] = {share.partition: {} for share in shares}
        # aiokafka's commit would succeed without a batch that the broker refused: look at every one.
        for partition, topic, count, future in sent:
            written[partition][topic] = (await future).offset + count - 1
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

    @property
    def _producer(self) -> Any:  # noqa: ANN401 - aiokafka's
        return self._producers[0]

    def _member(self) -> Membership:
        if self._membership is None:
            raise RuntimeError("a worker commits only as a member of its group")
        return self._membership

    def _exit_code(self, error: Exception, *, committing: bool) -> ExitCode:
        sender = self._producer._sender.sender_task
        fault = sender.exception() if sender.done() and not sender.cancelled() else None
        if isinstance(error, _FENCED) or isinstance(fault, _FENCED):
            return ExitCode.FENCED
        if committing:
            return ExitCode.UNCERTAIN_COMMIT
        if isinstance(error, TimeoutError):
            return ExitCode.TRANSACTION_TIMEOUT
        # What a request of the sender's own was answered, aiokafka wraps.
        refused = isinstance(error, BrokerResponseError) or isinstance(error.__cause__, BrokerResponseError)
        return ExitCode.BATCH_REFUSED if refused else ExitCode.LANE_FAILURE
