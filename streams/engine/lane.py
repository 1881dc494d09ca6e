"""A lane: everything that happens to one partition number, one micro-batch after another.

A micro-batch is decided on the state in memory, then written in one transaction together with the changelog rows and
the offsets of all source topics; lanes that decide at the same time share it. Others decide while this one waits for
the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from streams.engine.application import Application, ApplicationFactory, Message, Outputs
from streams.engine.exits import EngineError, ExitCode, StopProcess
from streams.engine.sources import CHUNK_RECORDS, Chunk, SourceBatch, SourceQueue
from streams.engine.transactions import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streams.engine.lane_tables import LaneTables
    from streams.engine.options import EngineOptions, LaneTopics
    from streams.engine.transactions import TransactionWriter
    from streams.engine.verify import VerifyPool

_DRAIN_TIMEOUT_S = 20.0
_READY_POLL_S = 0.01
_PATIENCE_S = 0.1
_MORE_WAIT_S = 0.05  # at most; the rest of a poll comes through other agents' queues, mostly within 2 ms


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What all lanes of a worker share."""

    options: EngineOptions
    topics: LaneTopics
    factory: ApplicationFactory
    tables: LaneTables
    writer: TransactionWriter
    pool: VerifyPool
    ready: Callable[[], bool]
    stop: StopProcess


class Lane:
    """One partition number: its queues, application and tables."""

    def __init__(self, context: LaneContext, partition: int) -> None:
        self.partition = partition
        self.epoch = 0
        """Raised whenever the lane is positioned or drained: what was fetched before is void."""
        self._context = context
        chunk = min(CHUNK_RECORDS, context.options.batch_records_max)
        self._queues = {
            topic: SourceQueue(urgency, chunk_records=chunk) for urgency, topic in enumerate(context.topics.sources)
        }
        self._outputs = Outputs()
        self.transactions = 0
        self.transaction_s = 0.0
        """Time spent in transactions, all together."""
        self.progress_s = time.monotonic()
        """When the last transaction was committed, or the lane began; monotonic."""
        self._application: Application | None = None
        self._open = False
        self._batch_records = chunk  # small after a start, so that the first decision comes soon; doubled with each
        self._now_us = 0
        self._more_until_s = 0.0  # on the loop's clock: until when a poll's other records are waited for
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def application(self) -> Application | None:
        """Return what decides here, once the lane was positioned."""
        return self._application

    @property
    def positioned(self) -> bool:
        """Tell whether records may be decided."""
        return self._open

    def committed(self) -> dict[str, int]:
        """Return, for each source topic, the offset up to which everything was decided."""
        return {
            topic: queue.taken if queue.committed is None else queue.committed for topic, queue in self._queues.items()
        }

    def position(self, offsets: Mapping[str, int], *, fresh: bool) -> None:
        """Begin, or go on, with the records at these offsets; the tables must have been restored.

        `fresh`: the group has no offsets yet, so these are the first records'.

        Raises:
            EngineError: the state in memory does not belong to these offsets.
        """
        rows = self._context.tables.partition(self.partition)
        if fresh and rows.position >= 0:
            # Kafka forgets a group's offsets a week after its last member left.
            raise EngineError(
                ExitCode.POSITION_BROKEN,
                f"partition {self.partition}: the group's offsets are gone but its tables are there;"
                " everything would be decided again: set the offsets by hand (kafka-consumer-groups --reset-offsets)",
            )
        for topic, queue in self._queues.items():
            queue.reset(offsets[topic], where=f"{topic}-{self.partition}")
        if self._application is None:
            self._application = self._context.factory(self.partition, rows.tables, self._outputs)
        self.epoch += 1
        self._open = True
        self._arrived.set()  # something may have been due while the lane was closed
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"lane-{self.partition}")

    def held(self, topic: str) -> int | None:
        """Return the offset that follows what the state in memory includes of a topic; None before there is state."""
        return None if self._application is None else self._queues[topic].taken

    def room(self, topic: str) -> int:
        """Return how many records of a topic may be fetched now; 0: the lane is behind, or not positioned."""
        return self._queues[topic].room(2 * self._context.options.batch_records_max) if self._open else 0

    def put(self, batch: SourceBatch) -> None:
        """Take over fetched records and start to prepare them.

        Raises:
            EngineError: the records do not follow those before.
        """
        if not self._open or batch.epoch != self.epoch or self._application is None:
            return
        prepare, pool = self._application.prepare, self._context.pool
        queue = self._queues[batch.tp.topic]
        queue.put(batch, lambda records: pool.submit(prepare, records, urgency=queue.urgency))
        loop, waited = asyncio.get_running_loop(), self._more_until_s > 0
        self._more_until_s = loop.time() + _MORE_WAIT_S if batch.more else 0.0
        if batch.more:
            loop.call_at(self._more_until_s, self._arrived.set)
        elif batch.tp.topic in self._context.topics.patient and not waited:
            # At one time for all lanes: then they share a transaction.
            loop.call_at((loop.time() // _PATIENCE_S + 1) * _PATIENCE_S, self._arrived.set)
        else:
            self._arrived.set()

    async def drain(self) -> None:
        """Take no more records and wait for the transaction in flight."""
        self._open = False
        self.epoch += 1
        self._more_until_s = 0.0
        for queue in self._queues.values():
            queue.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), _DRAIN_TIMEOUT_S)
        except TimeoutError as error:
            self._context.stop(ExitCode.DRAIN_TIMEOUT, f"lane {self.partition}", error)

    async def close(self) -> None:
        """Give up the partition."""
        await self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while not self._context.ready():  # noqa: ASYNC110 - a moment at the start; the check is anybody's
                await asyncio.sleep(_READY_POLL_S)
            while True:
                await self._wait()
                await self._next_batch()
        except asyncio.CancelledError:
            raise
        except EngineError as error:
            self._context.stop(error.code, f"lane {self.partition}", error.__cause__ or error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, memory is ahead of the log
            self._context.stop(ExitCode.LANE_FAILURE, f"lane {self.partition}", error)

    async def _wait(self) -> None:
        """Wait for records, or until the application has something to do without them."""
        due_us = self._due_us()
        if due_us is None:
            await self._arrived.wait()
        elif not self._arrived.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), max(due_us - _now_us(), 0) / 1_000_000)

    def _due_us(self) -> int | None:
        """Return when the application wants a micro-batch; while the lane is drained, or goes away, it gets none."""
        return self._application.due_us() if self._open and self._application is not None else None

    async def _next_batch(self) -> None:
        if self._more_until_s > asyncio.get_running_loop().time():
            self._arrived.clear()
            return
        chunks, offsets = self._take()
        due_us = self._due_us()
        if not chunks and (due_us is None or due_us > _now_us()):
            self._arrived.clear()
            return
        self._idle.clear()
        with self._context.writer.deciding():
            outputs = await self._decide(chunks)
        began_s = time.monotonic()
        await self._commit(outputs, offsets)
        self.progress_s = time.monotonic()
        self.transactions += 1
        self.transaction_s += self.progress_s - began_s
        self._idle.set()
        self._batch_records = min(2 * self._batch_records, self._context.options.batch_records_max)

    def _take(self) -> tuple[list[Chunk], dict[str, int]]:
        """Take the next micro-batch, urgent topics first, and the offsets that follow it."""
        chunks: list[Chunk] = []
        left = self._batch_records
        for queue in self._queues.values():
            left -= queue.take(left, chunks)
        return chunks, {topic: queue.taken for topic, queue in self._queues.items()}

    async def _decide(self, chunks: Sequence[Chunk]) -> dict[str, list[Message]]:
        application = self._application
        if application is None:
            raise RuntimeError("a lane decides only once it is positioned")
        prepared = [await chunk.prepared for chunk in chunks]
        self._now_us = max(self._now_us, _now_us())
        application.begin(self._now_us)
        process = application.process
        for chunk, results in zip(chunks, prepared, strict=True):
            for record, result in zip(chunk.records, results, strict=True):
                process(record, result)
            await asyncio.sleep(0)
        application.finish()
        return self._outputs.take()

    async def _commit(self, outputs: dict[str, list[Message]], offsets: Mapping[str, int]) -> None:
        rows, changelog = self._context.tables.partition(self.partition), self._context.tables.changelog_topic_name
        changes = rows.take_changes()
        if changes:
            outputs[changelog] = changes
        moved = {
            TopicPartition(topic, self.partition): offset
            for topic, offset in offsets.items()
            if offset != self._queues[topic].committed
        }
        if not outputs and not moved:
            return
        # Offsets are what fences a transaction: where none has moved, all stand for it.
        moved = moved or {TopicPartition(topic, self.partition): offset for topic, offset in offsets.items()}
        written = await self._context.writer.commit(Share(self.partition, outputs, moved, self._now_us // 1_000))
        if changes:
            rows.position = written[changelog]
        for topic, offset in offsets.items():
            self._queues[topic].committed = offset


def _now_us() -> int:
    return time.time_ns() // 1_000
