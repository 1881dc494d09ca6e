"""A worker that takes over from a running one of its name, and prepares all it can while that one still decides.

What a worker needs from its start to its first decision is mostly CPU time of its own: imports, connections, topics,
readers, rows. A successor has all of it behind it before it asks its predecessor to end, so that the partitions wait
for three things only: the last transaction of the one, the join and the rest of the changelogs of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Self

import aiokafka
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol

from streams.engine.exits import EngineError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aiokafka.structs import ConsumerRecord

    from streams.engine.engine import Engine
    from streams.engine.lane_tables import LaneTables
    from streams.engine.options import EngineOptions

_log = logging.getLogger(__name__)

_END_S = 30.0
_READY_POLL_S = 0.01
_POLL_MS = 100
_RECORDS_MAX = 5_000


class Predecessor:
    """A worker process of this machine that is to end once its successor is ready.

    Raises: ProcessLookupError where there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)  # else another process could get the number meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    async def end(self) -> None:
        """Ask it to end, and return when it has.

        Raises: EngineError where it does not end in time.
        """
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._descriptor, gone.set)
        try:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
            await asyncio.wait_for(gone.wait(), _END_S)
        except TimeoutError as error:
            raise EngineError(
                ExitCode.DRAIN_TIMEOUT, f"worker {self.pid} did not end within {_END_S:g} s of being asked"
            ) from error
        finally:
            loop.remove_reader(self._descriptor)


class Succession:
    """The steps from a prepared worker to one that has its predecessor's name to itself."""

    def __init__(
        self,
        predecessor: Predecessor,
        options: EngineOptions,
        tables: LaneTables,
        engine: Engine,
        then: Callable[[], object],
    ) -> None:
        self._predecessor, self._options, self._tables = predecessor, options, tables
        self._engine, self._then = engine, then

    async def take_over(self) -> None:
        """Connect lanes, restore rows, wait for what lanes wait for, and then for the predecessor's end.

        Raises: EngineError where it does not end in time.
        """
        began = time.monotonic()
        partitions = await self._partitions()
        await self._engine.prepare()
        await self._read_ahead(partitions)
        while not self._engine.caught_up:  # noqa: ASYNC110 - a moment; the check is anybody's
            await asyncio.sleep(_READY_POLL_S)
        asked = time.monotonic()
        await self._predecessor.end()
        self._then()
        _log.info(
            "succeeds worker %d on partitions %s: prepared in %.3f s, it ended %.3f s after it was asked",
            self._predecessor.pid,
            sorted(partitions),
            asked - began,
            time.monotonic() - asked,
        )

    async def _partitions(self) -> set[int]:
        """Return the partitions of the group's member with this worker's name."""
        admin = AIOKafkaAdminClient(**self._brokers)
        await admin.start()
        try:
            (response,) = await admin.describe_consumer_groups([self._options.app_id])
        finally:
            await admin.close()
        ((_, _, _, _, _, members, *_),) = response.groups
        own = [member[4] for member in members if member[1] == self._options.client_id and member[4]]
        assigned = [topic for data in own for topic in ConsumerProtocol.ASSIGNMENT.decode(data).assignment]
        return {number for _, numbers in assigned for number in numbers}

    async def _read_ahead(self, partitions: set[int]) -> None:
        """Restore what the partitions' changelogs hold now; recovery reads on from there.

        Rows on disk are left to recovery: their folder is the predecessor's as long as it runs.
        """
        if not partitions or self._options.rows_in_memory_max:
            return
        consumer = aiokafka.AIOKafkaConsumer(
            auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed", **self._brokers
        )
        await consumer.start()
        try:
            places = [TopicPartition(self._tables.changelog_topic_name, number) for number in partitions]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            left = {place for place in places if ends[place] > 0}
            while left:
                found: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
                    timeout_ms=_POLL_MS, max_records=_RECORDS_MAX
                )
                for place, records in found.items():
                    self._tables.partition(place.partition).restore(records)
                left = {place for place in left if await consumer.position(place) < ends[place]}
        finally:
            await consumer.stop()

    @property
    def _brokers(self) -> dict[str, Any]:
        return {"bootstrap_servers": self._options.bootstrap_servers, **self._options.security}
