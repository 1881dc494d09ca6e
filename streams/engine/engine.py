"""The lanes of one worker: which partitions it has, what it may fetch for them, and where fetched records go."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from aiokafka import TopicPartition
from faust.types import TP

from streams.engine.exits import EngineError, ExitCode
from streams.engine.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.engine.lane import LaneContext
    from streams.engine.membership import Membership
    from streams.engine.sources import SourceBatch


_log = logging.getLogger(__name__)


class Grant(NamedTuple):
    """Leave to fetch from one partition."""

    records_max: int
    epoch: int


class Position(NamedTuple):
    """Where a source partition goes on."""

    offset: int
    committed: bool
    """Whether the lane or the group had this offset; else it is the first record's."""


class Engine:
    """Owns the lanes; all methods run on the worker's main loop."""

    def __init__(self, context: LaneContext) -> None:
        self.urgency = {topic: urgency for urgency, topic in enumerate(context.topics.sources)}
        """Of each source topic; the lower the number, the sooner its records are decided."""
        self.revocations = 0
        """How often partitions were taken away; tells a position that was asked for before from one after."""
        self._context = context
        self._lanes: dict[int, Lane] = {}

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """Return the lanes by partition number, for those who watch them."""
        return self._lanes

    @property
    def caught_up(self) -> bool:
        """Tell whether everything that lanes wait for at the start is there."""
        return self._context.ready()

    async def deliver(self, batch: SourceBatch) -> None:
        """Hand fetched records to their lane. Never raises: a gap in the records ends the process."""
        lane = self._lanes.get(batch.tp.partition)
        if lane is None:
            return
        try:
            lane.put(batch)
        except EngineError as error:
            self._context.stop(error.code, f"lane {batch.tp.partition}", error)
        except Exception as error:  # noqa: BLE001 - an agent that raises would lose the records
            self._context.stop(ExitCode.LANE_FAILURE, f"lane {batch.tp.partition}", error)

    def grants(self) -> dict[TP, Grant]:
        """Return the source partitions to poll now: those whose lane is positioned and has room."""
        return {
            TP(topic, lane.partition): Grant(room, lane.epoch)
            for lane in self._lanes.values()
            for topic in self._context.topics.sources
            if (room := lane.room(topic))
        }

    def is_unbounded(self, grants: Mapping[TP, Grant]) -> bool:
        """Tell whether no source partition of this worker is missing among the grants."""
        return len(grants) >= len(self._lanes) * len(self._context.topics.sources)

    async def revoke(self) -> None:
        """Stop deciding, and wait for the transactions in flight."""
        self.revocations += 1
        await asyncio.gather(*(lane.drain() for lane in self._lanes.values()))

    async def prepare(self) -> None:
        """Connect what lanes write with; whoever has the partitions now is not disturbed."""
        await self._context.writer.connect()

    async def assign(self, assigned: Iterable[TP], membership: Membership) -> None:
        """Give up the partitions that went away, and take over the new ones, which nobody else writes from here on."""
        partitions = self._partitions_of(assigned)
        gone = [self._lanes.pop(number) for number in self._lanes.keys() - partitions]
        await asyncio.gather(*(lane.close() for lane in gone))
        new = {number: Lane(self._context, number) for number in partitions - self._lanes.keys()}
        sources = [TopicPartition(topic, number) for number in new for topic in self._context.topics.sources]
        try:
            await self._context.writer.take_over(sources, membership)
        except Exception as error:  # noqa: BLE001 - Faust would go on without the lane
            self._context.stop(ExitCode.LANE_FAILURE, f"partitions {sorted(new)}", error)
        self._lanes.update(new)
        if gone or new:
            _log.info("partitions: %s (given up: %s)", sorted(self._lanes), [lane.partition for lane in gone])

    def held(self, sources: Iterable[TP]) -> dict[TP, int]:
        """Return where those source partitions go on whose lanes have state here."""
        found = ((tp, self._lanes[tp.partition].held(tp.topic)) for tp in sources if tp.partition in self._lanes)
        return {tp: offset for tp, offset in found if offset is not None}

    def position(self, positions: Mapping[TP, Position]) -> None:
        """Start the lanes, or let them go on; their tables have been restored."""
        try:
            for number, lane in self._lanes.items():
                own = {topic: positions[TP(topic, number)] for topic in self._context.topics.sources}
                lane.position(
                    {topic: position.offset for topic, position in own.items()},
                    fresh=not any(position.committed for position in own.values()),
                )
                _log.info("partition %d: ready at offsets %s", number, [position.offset for position in own.values()])
        except EngineError as error:
            self._context.stop(error.code, f"partitions {sorted(self._lanes)}", error)
        except Exception as error:  # noqa: BLE001 - includes the application factory's
            self._context.stop(ExitCode.LANE_FAILURE, f"partitions {sorted(self._lanes)}", error)

    def fail(self, code: ExitCode, where: str, cause: BaseException) -> None:
        """End the process for what went wrong outside the lanes."""
        self._context.stop(code, where, cause)

    async def close(self) -> None:
        """Drain and close all lanes."""
        await self.revoke()
        lanes, self._lanes = [*self._lanes.values()], {}
        await asyncio.gather(*(lane.close() for lane in lanes))
        await self._context.writer.close()
        self._context.pool.close()

    def _partitions_of(self, assigned: Iterable[TP]) -> set[int]:
        """Return the numbers assigned; each must come with all its sources and all its tables' changelogs."""
        topics: dict[int, set[str]] = {}
        for tp in assigned:
            topics.setdefault(tp.partition, set()).add(tp.topic)
        numbers = {number for number, found in topics.items() if found & self.urgency.keys()}
        # The group's leader assigns what its own metadata show, and leaves out a changelog that was created a moment
        # ago: the lane would begin with an empty table.
        changelogs = {self._context.tables.changelog_topic_name}
        for number in numbers:
            if missing := (self.urgency.keys() | changelogs) - topics[number]:
                error = EngineError(
                    ExitCode.MISCONFIGURED,
                    f"partition {number} comes without {sorted(missing)}: do these topics exist,"
                    f" with {self._context.options.partitions} partitions each?",
                )
                self._context.stop(error.code, f"partition {number}", error)
        return numbers
