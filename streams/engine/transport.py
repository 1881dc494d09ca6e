"""Faust's Kafka transport, made to hand over one batch of records per partition and poll.

Group membership, assignment and table recovery stay Faust's. Overridden is what happens between a fetch and a stream,
and everything about transactions, which are the lanes'.
"""

# ruff: noqa: SLF001 - this module and transactions.py are where the insides of Faust and aiokafka are touched.

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult
from aiokafka.errors import ConsumerStoppedError
from faust.transport.consumer import TransactionManager as FaustTransactionManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.engine.clock import IDLE_AFTER_S, FetchClock
from streams.engine.engine import Grant, Position
from streams.engine.exits import EngineError
from streams.engine.membership import Membership, check_membership, mend
from streams.engine.sources import SourceBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from aiokafka.consumer.fetcher import Fetcher

_cluster_log = logging.getLogger("aiokafka.cluster")

_RECOVERY_RECORDS_MAX = 5_000
_OFFSETS_TIMEOUT_MS = 40_000
_POLL_S = 0.25
_POLL_PARTIAL_S = 0.01
# Long enough for the poll that waits to take what was fetched, so that all partitions share the next fetch; short
# enough that a partition whose lane is full does not hold up the others (aiokafka: 100 ms).
_PREFETCH_BACKOFF_S = 0.01


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to the broker."""

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002
        options = self.app.options
        self.clock = FetchClock(options.fetch_wait_ms_min, options.fetch_wait_ms_max)
        self._assignor = self.app.assignor
        min_bytes, wait_ms = self.clock.settings(settled=False)
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=options.bootstrap_servers,
            client_id=options.client_id,  # by which others see whose transactions are a member's
            group_id=options.app_id,
            group_instance_id=options.instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_min_bytes=min_bytes,
            fetch_max_wait_ms=wait_ms,
            session_timeout_ms=options.session_timeout_ms,
            heartbeat_interval_ms=options.session_timeout_ms // 4,
            rebalance_timeout_ms=max(options.session_timeout_ms, 30_000),
            max_poll_interval_ms=24 * 3_600_000,  # back-pressure may stop the polls for as long as the broker is away
            **options.security,
        )

    async def on_start(self) -> None:
        """Connect."""
        await super().on_start()
        consumer = self._ensure_consumer()
        consumer._fetcher._prefetch_backoff = _PREFETCH_BACKOFF_S
        _leave_positions_to_us(consumer._fetcher)
        mend(consumer._coordinator, self._joined)

    def _joined(self, generation: int, member_id: str) -> None:
        self.membership = Membership(generation, member_id, self.app.options.instance_id)

    async def prepare(self, topics: Iterable[str]) -> None:
        """Do what a join begins with and no member notices: metadata, and a connection to the coordinator."""
        consumer = self._ensure_consumer()
        known = consumer._client.set_topics(topics)
        await consumer._coordinator.ensure_coordinator_known()
        await known

    async def _highwaters(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        # Faust asks for the last stable offset, which is unknown before the first fetch: recovery would be skipped.
        # What is read are committed records, but up to the very end: the last transaction of the worker before may be
        # over and its markers not yet in each changelog (KAFKA-10167).
        fetcher = copy.copy(self._ensure_consumer()._fetcher)
        fetcher._isolation_level = READ_UNCOMMITTED
        return await fetcher.end_offsets(list(partitions), _OFFSETS_TIMEOUT_MS)  # type: ignore[no-any-return]

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: Mapping[TP, Grant],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,  # noqa: ARG002
    ) -> dict[TP, SourceBatch]:
        """Return what was fetched of the partitions granted, waiting for it up to `timeout` seconds."""
        if not self.consumer.flow_active:
            return {}
        try:
            check_membership(consumer._coordinator)
        except EngineError as error:
            self.app.engine.fail(error.code, "consumer group", error)
        fetcher = consumer._fetcher
        deadline = time.monotonic() + (timeout or 0)
        with fetcher._subscriptions.fetch_context():
            while True:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                batches = {} if fetcher._subscriptions.reassignment_in_progress else _drain(fetcher, active_partitions)
                self._set_clock(fetcher, sum(len(batch.records) for batch in batches.values()))
                left = deadline - time.monotonic()
                if batches or left <= 0:
                    return batches
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=min(left, IDLE_AFTER_S))
                if done:
                    waiter.result()  # raises what the coordinator could not settle
                else:
                    waiter.cancel()

    def _set_clock(self, fetcher: Fetcher, records: int) -> None:
        self.clock.observe(records)
        settled = not (self.app.rebalancing or self.app.in_recovery)
        fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = self.clock.settings(settled=settled)

    async def seek_sources(
        self, sources: Iterable[TP], held: Mapping[TP, int], changelogs: Iterable[TP]
    ) -> dict[TP, Position]:
        """Go to where each source partition goes on: what its lane holds, the group's offset, or the first record.

        A lane that stayed here knows its offset better than the broker: aiokafka cannot ask for stable offsets, and
        until the markers of the last transaction are written the group still has those before it.
        """
        consumer = self._ensure_consumer()
        known = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in held.items()}
        tps = [tp for tp in map(driver.ensure_aiokafka_TP, sources) if tp not in known]
        committed = await consumer._coordinator.fetch_committed_offsets(tps) if tps else {}
        known.update((tp, found.offset) for tp, found in committed.items())
        new = [tp for tp in tps if tp not in committed]
        # Asked for only where needed: ListOffsets waits behind the fetch under way on the same connection.
        positions = await consumer.beginning_offsets(new) if new else {}
        positions.update(known)
        for tp, offset in positions.items():
            consumer.seek(tp, offset)
        # What the lanes write to their changelogs need not come back.
        for tp in changelogs:
            consumer.pause(driver.ensure_aiokafka_TP(tp))
            consumer._fetcher._records.pop(tp, None)
        return {TP(*tp): Position(offset, committed=tp in known) for tp, offset in positions.items()}


def _leave_positions_to_us(fetcher: Fetcher) -> None:
    """Let aiokafka pass over partitions that have no position yet, until recovery or `seek_sources` gives them one.

    It would ask the coordinator for the committed offset of each, one request after the other, and fetch nothing
    meanwhile: with 12 tables and 7 sources per lane the longest part of a start.
    """
    actions = fetcher._get_actions_per_node
    fetcher._get_actions_per_node = lambda assignment: actions(_Positioned(assignment))


class _Positioned:
    """An assignment without the partitions that have no position."""

    __slots__ = ("state_value", "tps")

    def __init__(self, assignment: Any) -> None:  # noqa: ANN401 - aiokafka's
        self.state_value = state_value = assignment.state_value
        states = ((tp, state_value(tp)) for tp in assignment.tps)
        self.tps = [tp for tp, state in states if state.has_valid_position or state.awaiting_reset]


def _drain(fetcher: Fetcher, grants: Mapping[TP, Grant]) -> dict[TP, SourceBatch]:
    """Take what aiokafka has fetched, one batch per partition; also where only markers moved the position."""
    batches = {}
    for tp in list(fetcher._records):
        if not fetcher._subscriptions.is_assigned(tp):
            del fetcher._records[tp]
            continue
        grant = grants.get(tp)
        if grant is None:
            continue
        fetched = fetcher._records[tp]
        records: list[Any] = []
        state = fetcher._subscriptions.subscription.assignment.state_value(tp)
        start = state._position
        if isinstance(fetched, FetchResult):
            records = fetched.getall(grant.records_max)
        if not isinstance(fetched, FetchResult) or not fetched.has_more():
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
        if not isinstance(fetched, FetchResult):
            fetched.check_raise()
        if start is not None and state._position > start:
            batches[TP(*tp)] = SourceBatch(TP(*tp), start, state._position, records, grant.epoch)
    return batches


def _message(batch: SourceBatch, generation: int) -> ConsumerMessage:
    tp = batch.tp
    return ConsumerMessage(
        topic=tp.topic,
        partition=tp.partition,
        offset=batch.end - 1,
        timestamp=0.0,
        timestamp_type=0,
        headers=None,
        key=None,
        value=batch,
        checksum=None,
        tp=tp,
        generation_id=generation,
    )


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Hands batches to the streams, of those partitions whose lanes have room."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def membership(self) -> Membership:
        """Return what the worker is in its group since the last rebalance."""
        return self._thread.membership  # type: ignore[no-any-return]

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group, as soon as the name is this worker's alone."""
        await self.app.take_over(lambda: self._thread.call_thread(self._thread.prepare, set(topics)))
        await super().subscribe(topics)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109
        """Yield one message per partition, its value the batch; those of a lane together, the urgent ones first."""
        found, _ = await self._wait_next_records(timeout)
        generation, urgency = self.app.consumer_generation_id, self.app.engine.urgency
        batches = sorted(found.values(), key=lambda batch: (batch.tp.partition, urgency.get(batch.tp.topic, 0)))
        for batch, after in itertools.zip_longest(batches, batches[1:]):
            if self.should_stop or not self.flow_active:
                return
            more = after is not None and after.tp.partition == batch.tp.partition
            yield batch.tp, _message(dataclasses.replace(batch, more=more), generation)

    async def _wait_next_records(self, timeout: float) -> tuple[dict[TP, SourceBatch], None]:  # noqa: ASYNC109
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        engine = self.app.engine
        grants = engine.grants()
        complete = bool(grants) and engine.is_unbounded(grants)
        # Faust makes changelog partitions active while tables recover, and only then.
        for tp in self._get_active_partitions():
            if tp.topic not in engine.urgency:
                grants[tp] = Grant(_RECOVERY_RECORDS_MAX, engine.revocations)
                complete = False
        if not grants:
            await asyncio.sleep(_POLL_PARTIAL_S)
            return {}, None
        # A poll that leaves some partitions out is short: their lanes may have room again.
        return await self._getmany(grants, min(timeout, _POLL_S if complete else _POLL_PARTIAL_S)), None

    async def perform_seek(self) -> None:
        """Position the lanes where their last transaction ended; called when the tables have been restored."""
        engine = self.app.engine
        revocations = engine.revocations
        assignment = self.assignment()
        sources = [tp for tp in assignment if tp.topic in engine.urgency]
        changelogs = [tp for tp in assignment if self._is_changelog_tp(tp)]
        positions = await self._thread.call_thread(self._thread.seek_sources, sources, engine.held(sources), changelogs)
        if engine.revocations == revocations:
            engine.position(positions)


class TransactionManager(FaustTransactionManager):  # type: ignore[misc]
    """Tells the lanes what Faust's consumer tells its transactions."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:  # noqa: ARG002
        """Wait for the transactions in flight."""
        await self.app.engine.revoke()

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]) -> None:  # noqa: ARG002
        """Take over partitions, before their changelogs and offsets are read."""
        await self.app.engine.assign(assigned, self.app.consumer.membership)

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Do nothing: each lane commits with its own transactions."""
        return True

    async def flush(self) -> None:
        """Do nothing: Faust's producer sends nothing."""


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a line is worth logging while a topic is waited for that was made a moment ago."""
    return "not found in cluster metadata" not in record.msg


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust's own producer, used to create changelog topics only."""

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's signature
        """Create a topic where it is missing, with no more copies than brokers; all but one of them must take a write.

        Returns when the brokers know it, which is some time after they answered: a worker that joined the group before
        would assign the partitions without this changelog.
        """
        copies = min(replication, len(self._ensure_producer().client.cluster.brokers()))
        config = {**(kwargs.pop("config", None) or {}), "min.insync.replicas": str(max(1, copies - 1))}
        await super().create_topic(topic, partitions, copies, config=config, **kwargs)
        _cluster_log.addFilter(_is_news)
        try:
            await self._ensure_producer().client._wait_on_metadata(topic)
        finally:
            _cluster_log.removeFilter(_is_news)

    def _settings_auth(self) -> Mapping[str, Any]:
        return self.app.options.security  # type: ignore[no-any-return]

    def _settings_extra(self) -> Mapping[str, Any]:
        return {}


class Transport(driver.Transport):  # type: ignore[misc]
    """The transport of an `EngineApp`."""

    Consumer = Consumer
    Producer = Producer
    TransactionManager = TransactionManager
