import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from streams.engine.exits import EngineError, ExitCode
from streams.engine.sources import Chunk, SourceBatch, SourceQueue


class Record(NamedTuple):
    offset: int
    serialized_value_size: int = 10


class Prepared:
    """Stands for a future: what matters here is whether it was cancelled."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def prepare(records: Sequence[Any]) -> Any:
    del records
    return Prepared()


def batch(start: int, end: int, *offsets: int, size: int = 10) -> SourceBatch:
    return SourceBatch(("orders", 0), start, end, [Record(offset, size) for offset in offsets], epoch=1)


def queue_at(offset: int) -> SourceQueue:
    queue = SourceQueue(0)
    queue.reset(offset, where="orders-0")
    return queue


def test_the_offset_after_a_batch_includes_its_markers() -> None:
    queue = queue_at(0)
    queue.put(batch(0, 5, 0, 1, 3), prepare)
    queue.put(batch(5, 7), prepare)
    taken: list[Chunk] = []
    assert queue.take(64, taken) == 3
    assert queue.taken == 7


def test_a_part_of_what_waits_ends_after_its_last_record() -> None:
    queue = queue_at(100)
    queue.put(batch(100, 300, *range(100, 299)), prepare)
    taken: list[Chunk] = []
    assert queue.take(130, taken) == 128
    assert [len(chunk.records) for chunk in taken] == [64, 64]
    assert queue.taken == 228
    assert queue.take(1_000, taken) == 71
    assert queue.taken == 300


def test_markers_alone_move_the_offset() -> None:
    queue = queue_at(4)
    queue.put(batch(4, 5), prepare)
    assert queue.taken == 5
    assert queue.take(64, []) == 0


@pytest.mark.parametrize("start", [4, 6])
def test_a_gap_or_a_repetition_is_refused(start: int) -> None:
    queue = queue_at(0)
    queue.put(batch(0, 5, 0), prepare)
    with pytest.raises(EngineError, match=f"orders-0: records from offset {start} follow those up to 5") as caught:
        queue.put(batch(start, 9, 8), prepare)
    assert caught.value.code is ExitCode.POSITION_BROKEN


def test_goes_on_only_where_its_state_is() -> None:
    queue = queue_at(8)
    queue.reset(8, where="orders-0")
    with pytest.raises(EngineError, match="asked to go on at offset 9, this worker's state is at 8"):
        queue.reset(9, where="orders-0")


def test_room_shrinks_with_records_and_ends_with_bytes() -> None:
    queue = queue_at(0)
    assert queue.room(100) == 100
    queue.put(batch(0, 60, *range(60)), prepare)
    assert queue.room(100) == 40
    queue.put(batch(60, 61, 60, size=5_000_000), prepare)
    assert queue.room(100) == 0
    queue.take(1_000, [])
    assert queue.room(100) == 100


def test_what_is_dropped_is_not_prepared_in_vain() -> None:
    queue = queue_at(0)
    made: list[Any] = []

    def keep(records: Sequence[Any]) -> Any:
        made.append(prepare(records))
        return made[-1]

    queue.put(batch(0, 200, *range(200)), keep)
    queue.clear()
    assert all(prepared.cancelled for prepared in made)
    assert queue.room(100) == 100
    assert queue.take(1_000, []) == 0


def test_an_urgent_queue_leaves_no_more_than_what_is_left() -> None:
    queue = queue_at(0)
    queue.put(batch(0, 64, *range(64)), prepare)
    assert queue.take(63, []) == 0
    assert queue.take(-1, []) == 0
    assert queue.take(64, []) == 64
    assert asyncio.iscoroutinefunction(queue.take) is False
