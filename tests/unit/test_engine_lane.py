"""One lane, with a writer that only remembers: what is decided when, and what goes into one transaction."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import pytest
from faust.types import TP

from streams.engine.application import Message, Outputs
from streams.engine.changelog import LaneRows, TableKind
from streams.engine.exits import EngineError, ExitCode
from streams.engine.lane import Lane, LaneContext
from streams.engine.options import EngineOptions, LaneTopics
from streams.engine.sources import SourceBatch
from streams.engine.tables import PartitionTable
from streams.engine.transactions import Share
from streams.engine.verify import VerifyPool
from tests.integration.engine_rig import asynchronous, until


class Record(NamedTuple):
    topic: str
    offset: int
    key: bytes = b"k"
    serialized_value_size: int = 10


class Commit(NamedTuple):
    outputs: dict[str, list[Message]]
    offsets: dict[str, int]
    timestamp_ms: int


class FakeWriter:
    """Remembers transactions; may be told to hold one back, or to fail."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.error: Exception | None = None
        self.begun = 0

    @contextmanager
    def deciding(self) -> Iterator[None]:
        yield

    async def commit(self, share: Share) -> dict[str, int]:
        self.begun += 1
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        written = {topic: list(messages) for topic, messages in share.outputs.items()}
        offsets = {tp.topic: offset for tp, offset in share.offsets.items()}
        self.commits.append(Commit(written, offsets, share.timestamp_ms))
        return {topic: 1_000 + len(messages) for topic, messages in share.outputs.items()}


class TextCodec:
    def encode(self, row: str, /) -> bytes:
        return row.encode()

    def decode(self, data: bytes, /) -> str:
        return data.decode()


class Table:
    """Stands for Faust's table."""

    changelog_topic_name = "app-tables-changelog"

    def __init__(self) -> None:
        self.rows = LaneRows({"last": TableKind(TextCodec())})

    def partition(self, _: int) -> LaneRows:
        return self.rows


class Application:
    """Sends the topic and offset of each record, and keeps the last in its table."""

    def __init__(self, tables: Mapping[str, PartitionTable[str]], outputs: Outputs) -> None:
        self.table, self.outputs = tables["last"], outputs
        self.times: list[int] = []
        self.batches: list[list[str]] = []
        self.due: int | None = None

    def prepare(self, record: Record) -> object:
        return f"{record.topic}@{record.offset}"

    def due_us(self) -> int | None:
        return self.due

    def begin(self, now_us: int) -> None:
        self.times.append(now_us)
        self.batches.append([])

    def process(self, record: Record, prepared: str) -> None:
        if record.key == b"raise":
            raise RuntimeError("broken")
        self.batches[-1].append(prepared)
        self.table.put("last", prepared)
        self.outputs.send("out", b"k", prepared.encode())

    def finish(self) -> None:
        self.outputs.send("checkpoints", None, b"%d" % len(self.batches))
        if self.due is not None and self.times[-1] >= self.due:
            self.due = None


@dataclass
class Bench:
    """A lane and everything around it."""

    sources: Sequence[str] = ("commands", "orders")
    batch_records_max: int = 2_000
    ready: Callable[[], bool] = lambda: True
    stops: list[tuple[ExitCode, str, BaseException]] = field(default_factory=list)
    made: list[Application] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = EngineOptions(
            app_id="app", bootstrap_servers="nowhere:9", partitions=1, batch_records_max=self.batch_records_max
        )
        self.table = Table()
        self.writer = FakeWriter()
        context = LaneContext(
            options=options,
            topics=LaneTopics(sources=self.sources, outputs=()),
            factory=self._make,
            tables=cast("Any", self.table),
            writer=cast("Any", self.writer),
            pool=VerifyPool(0),
            ready=self.ready,
            stop=lambda code, where, cause: self.stops.append((code, where, cause)),
        )
        self.lane = Lane(context, 0)
        self.next = dict.fromkeys(self.sources, 0)

    def _make(self, _: int, tables: Any, outputs: Outputs) -> Any:
        self.made.append(Application(tables, outputs))
        return self.made[-1]

    @property
    def application(self) -> Application:
        (application,) = self.made
        return application

    def position(self, **offsets: int) -> None:
        self.next.update(offsets)
        self.lane.position(self.next, fresh=not offsets)

    def put(self, topic: str, count: int, *, markers: int = 0, key: bytes = b"k", more: bool = False) -> None:
        start = self.next[topic]
        self.next[topic] = end = start + count + markers
        records = [Record(topic, offset, key) for offset in range(start, start + count)]
        self.lane.put(SourceBatch(TP(topic, 0), start, end, records, self.lane.epoch, more=more))

    async def commits(self, count: int) -> list[Commit]:
        await until(lambda: len(self.writer.commits) >= count)
        return self.writer.commits


@asynchronous
async def test_one_transaction_holds_outputs_rows_and_offsets_of_all_sources() -> None:
    bench = Bench()
    bench.position(commands=7)
    bench.put("orders", 2, markers=1)
    (commit,) = await bench.commits(1)
    assert [message.value for message in commit.outputs["out"]] == [b"orders@0", b"orders@1"]
    assert [message.value for message in commit.outputs["checkpoints"]] == [b"1"]
    assert commit.outputs["app-tables-changelog"] == [Message(b"last\0last", b"orders@1", [])]
    assert commit.offsets == {"commands": 7, "orders": 3}
    assert commit.timestamp_ms == bench.application.times[0] // 1_000
    assert bench.table.rows.position == 1_001
    await bench.lane.close()


@asynchronous
async def test_later_transactions_commit_only_offsets_that_moved() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1)
    await bench.commits(1)
    bench.put("commands", 0, markers=1)
    bench.put("orders", 1)
    commits = await bench.commits(2)
    assert commits[1].offsets == {"commands": 1, "orders": 2}
    bench.put("commands", 1)
    commits = await bench.commits(3)
    assert commits[2].offsets == {"commands": 2}
    await bench.lane.close()


@asynchronous
async def test_urgent_topics_come_first_in_a_batch() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 3, more=True)
    bench.put("commands", 2)
    await bench.commits(1)
    assert bench.application.batches == [["commands@0", "commands@1", "orders@0", "orders@1", "orders@2"]]
    await bench.lane.close()


@asynchronous
async def test_the_rest_of_a_poll_is_not_waited_for_for_long() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1, more=True)
    await bench.commits(1)
    await bench.lane.close()


@asynchronous
async def test_batches_grow_from_small_to_the_maximum() -> None:
    bench = Bench(batch_records_max=200)
    bench.position()
    bench.put("orders", 900)
    await until(lambda: sum(map(len, bench.application.batches)) == 900)
    assert [len(batch) for batch in bench.application.batches] == [64, 128, 192, 192, 192, 132]
    await bench.lane.close()


@asynchronous
async def test_a_maximum_below_a_chunk_holds() -> None:
    bench = Bench(batch_records_max=10)
    bench.position()
    bench.put("orders", 25)
    await until(lambda: sum(map(len, bench.application.batches)) == 25)
    assert [len(batch) for batch in bench.application.batches] == [10, 10, 5]
    await bench.lane.close()


@asynchronous
async def test_decision_time_never_goes_back() -> None:
    bench = Bench()
    bench.position()
    bench.lane._now_us = ahead = time.time_ns() // 1_000 + 60_000_000
    bench.put("orders", 1)
    await bench.commits(1)
    assert bench.application.times == [ahead]
    await bench.lane.close()


@asynchronous
async def test_nothing_is_decided_before_the_worker_is_ready() -> None:
    ready: list[int] = []
    bench = Bench(ready=lambda: bool(ready))
    bench.position()
    bench.put("orders", 1)
    await asyncio.sleep(0.03)
    assert bench.writer.begun == 0
    ready.append(1)
    await bench.commits(1)
    await bench.lane.close()


@asynchronous
async def test_drain_drops_what_waits_and_waits_for_what_is_in_flight() -> None:
    bench = Bench()
    bench.position()
    bench.writer.goes_on.clear()
    bench.put("orders", 64)
    await until(lambda: bench.writer.begun == 1)
    bench.put("orders", 100)
    draining = asyncio.create_task(bench.lane.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    assert bench.lane.room("orders") == 0
    bench.writer.goes_on.set()
    await draining
    assert bench.writer.commits[0].offsets == {"commands": 0, "orders": 64}

    late = SourceBatch(TP("orders", 0), 164, 165, [cast("Any", Record("orders", 164))], bench.lane.epoch - 1)
    bench.position(orders=64)
    bench.lane.put(late)
    bench.put("orders", 2)
    commits = await bench.commits(2)
    assert commits[1].offsets == {"orders": 66}
    assert len(bench.made) == 1
    await bench.lane.close()


@asynchronous
async def test_goes_on_only_where_its_own_state_ended() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 3)
    await bench.commits(1)
    await bench.lane.drain()
    with pytest.raises(EngineError, match="orders-0: asked to go on at offset 2, this worker's state is at 3"):
        bench.position(orders=2)
    await bench.lane.close()


def test_refuses_tables_without_the_offsets_they_belong_to() -> None:
    @asynchronous
    async def position() -> None:
        bench = Bench()
        bench.table.rows.position = 5
        bench.position()

    with pytest.raises(EngineError, match="the group's offsets are gone but its tables are there") as caught:
        position()
    assert caught.value.code is ExitCode.POSITION_BROKEN


@asynchronous
async def test_an_application_that_raises_ends_the_worker_without_a_transaction() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1, key=b"raise")
    await until(lambda: bool(bench.stops))
    ((code, where, cause),) = bench.stops
    assert (code, where, str(cause)) == (ExitCode.LANE_FAILURE, "lane 0", "broken")
    assert bench.writer.begun == 0


@asynchronous
async def test_a_failed_transaction_ends_the_worker_with_its_code() -> None:
    bench = Bench()
    bench.position()
    bench.writer.error = EngineError(ExitCode.UNCERTAIN_COMMIT, "no answer")
    bench.put("orders", 1)
    await until(lambda: bool(bench.stops))
    assert bench.stops[0][0] is ExitCode.UNCERTAIN_COMMIT


@asynchronous
async def test_what_is_due_is_done_without_records_and_only_once() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1)
    await bench.commits(1)
    due_us = bench.application.due = time.time_ns() // 1_000 + 30_000
    bench.put("orders", 1)  # with records too early it waits on
    first, second, third = (await bench.commits(3))[:3]
    assert bench.application.times[1] < due_us <= bench.application.times[2]
    assert bench.application.batches == [["orders@0"], ["orders@1"], []]
    # No offset has moved, and a transaction without one would not be fenced.
    assert (third.offsets, list(third.outputs)) == ({"commands": 0, "orders": 2}, ["checkpoints"])
    assert first.offsets != second.offsets
    await asyncio.sleep(0.02)
    assert len(bench.writer.commits) == 3
    await bench.lane.close()


@asynchronous
async def test_a_drained_lane_does_nothing_that_is_due_until_it_is_positioned_again() -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1)
    await bench.commits(1)
    await bench.lane.drain()
    bench.application.due = 1
    await asyncio.sleep(0.02)
    assert len(bench.writer.commits) == 1
    bench.position(orders=1)
    await bench.commits(2)
    assert bench.application.batches[-1] == []
    await bench.lane.close()


@asynchronous
async def test_a_due_batch_that_writes_nothing_is_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.position()
    bench.put("orders", 1)
    await bench.commits(1)
    done: list[int] = []

    def finish() -> None:
        done.append(0)
        bench.application.due = None

    monkeypatch.setattr(bench.application, "finish", finish)
    bench.application.due = 1
    bench.lane._arrived.set()
    await until(lambda: bool(done))
    await asyncio.sleep(0.01)
    assert len(bench.writer.commits) == 1
    await bench.lane.close()
