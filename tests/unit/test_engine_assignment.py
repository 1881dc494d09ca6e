"""What a lane must come with: all of its sources, and every changelog of its tables."""

import asyncio
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import pytest
from faust.types import TP

from streams.engine.engine import Engine
from streams.engine.exits import EngineError, ExitCode
from streams.engine.lane import LaneContext
from streams.engine.membership import Membership
from streams.engine.options import EngineOptions, LaneTopics
from streams.engine.sources import SourceBatch
from streams.engine.verify import VerifyPool
from tests.integration.engine_rig import asynchronous

MEMBER = Membership(1, "worker-1-f00d", "worker-1")


@dataclass
class Table:
    changelog_topic_name: str


class Writer:
    """Takes over whatever it is told to."""

    async def take_over(self, sources: object, membership: object) -> None:
        pass


class StoppedError(Exception):
    pass


def engine_of(stops: list[str] | None = None) -> Engine:
    def stop(code: ExitCode, where: str, cause: BaseException) -> None:
        line = f"{code.name} {where}: {cause}"
        if stops is None:
            raise StoppedError(line)
        stops.append(line)

    def factory(*_: object) -> NoReturn:
        raise AssertionError("no lane is positioned here")

    options = EngineOptions(app_id="app", bootstrap_servers="nowhere:9", partitions=1)
    context = LaneContext(
        options,
        LaneTopics(sources=("commands", "orders"), outputs=()),
        factory,
        cast("Any", Table("app-log-changelog")),
        cast("Any", Writer()),
        VerifyPool(0),
        lambda: True,
        stop,
    )
    return Engine(context)


@pytest.mark.parametrize(
    ("assigned", "missing"),
    [
        ([("orders", 2), ("app-log-changelog", 2)], "['commands']"),
        # A changelog that the group's leader did not know yet: the lane would begin with an empty log, and fork it.
        ([("commands", 2), ("orders", 2)], "['app-log-changelog']"),
        ([("commands", 2), ("orders", 2), ("app-log-changelog", 1)], "['app-log-changelog']"),
    ],
)
def test_partition_without_all_its_topics_ends_the_worker(assigned: list[tuple[str, int]], missing: str) -> None:
    @asynchronous
    async def assign() -> None:
        await engine_of().assign([TP(*tp) for tp in assigned], MEMBER)

    with pytest.raises(StoppedError) as stopped:
        assign()
    assert str(stopped.value).startswith(f"MISCONFIGURED partition 2: partition 2 comes without {missing}")


def test_changelogs_alone_make_no_lane() -> None:
    @asynchronous
    async def assign() -> None:
        engine = engine_of()
        await engine.assign([TP("app-log-changelog", 0)], MEMBER)
        assert engine.grants() == {}

    assign()


class BrokenLane:
    """Stands for a lane whose bug, or whose gap in the records, shows when records come."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def put(self, _: SourceBatch) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [(EngineError(ExitCode.POSITION_BROKEN, "a gap"), "POSITION_BROKEN"), (ValueError("a bug"), "LANE_FAILURE")],
)
def test_deliver_ends_the_worker_instead_of_raising_in_the_agent(error: Exception, code: str) -> None:
    stops: list[str] = []
    engine = engine_of(stops)
    engine._lanes[0] = cast("Any", BrokenLane(error))
    batch = SourceBatch(TP("orders", 0), 0, 1, [], epoch=0)
    asyncio.run(engine.deliver(batch))
    assert stops == [f"{code} lane 0: {error}"]


def test_records_of_a_partition_that_went_away_are_dropped() -> None:
    stops: list[str] = []
    engine = engine_of(stops)
    asyncio.run(engine.deliver(SourceBatch(TP("orders", 7), 0, 1, [], epoch=0)))
    assert stops == []
