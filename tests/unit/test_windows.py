"""Windows: tumbling starts, the sliding second in buckets, and their rows."""

from __future__ import annotations

import pytest

from streams.core.windows import RateCounter, WindowCounter, day_start_us, window_start_us
from tests.gate_world import us

BUCKET = 100_000


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        ("2026-06-03T00:00:00+00:00", "2026-06-03T00:00:00+00:00"),
        ("2026-06-03T23:59:59.999999+00:00", "2026-06-03T00:00:00+00:00"),
        ("2026-06-04T00:00:00+00:00", "2026-06-04T00:00:00+00:00"),
        ("2026-06-04T01:30:00+02:00", "2026-06-03T00:00:00+00:00"),
        ("1969-12-31T23:59:59.999999+00:00", "1969-12-31T00:00:00+00:00"),
    ],
)
def test_the_day_is_the_utc_day(moment: str, start: str) -> None:
    assert day_start_us(us(moment)) == us(start)


@pytest.mark.parametrize(("at", "start"), [(0, 0), (59, 0), (60, 60), (119, 60), (-1, -60)])
def test_a_tumbling_window_holds_its_start_and_not_its_end(at: int, start: int) -> None:
    assert window_start_us(at, 60) == start


def test_a_message_counts_for_eleven_buckets_and_no_longer() -> None:
    counter = RateCounter()
    counter.add(5 * BUCKET + 99_999)
    assert [counter.count_at((5 + later) * BUCKET) for later in range(13)] == [1] * 11 + [0, 0]


def filled_counter() -> RateCounter:
    counter = RateCounter()
    for bucket in range(11):
        for _ in range(bucket + 1):
            counter.add(bucket * BUCKET)
    return counter


@pytest.mark.parametrize("steps", range(13))
def test_each_step_drops_the_oldest_bucket_and_no_other(steps: int) -> None:
    later = (10 + steps) * BUCKET
    left = sum(range(1 + steps, 12))
    counter = filled_counter()
    assert counter.count_at(later) == left
    counter.add(later)
    assert counter.count_at(later) == left + 1
    assert sum(counter.to_row()[1:]) == left + 1


def test_counting_changes_nothing() -> None:
    counter = RateCounter()
    for at in (0, BUCKET, 3 * BUCKET):
        counter.add(at)
    before = counter.to_row()
    assert counter.count_at(11 * BUCKET) == 2
    assert counter.count_at(90 * BUCKET) == 0
    assert counter.to_row() == before
    assert counter.count_at(3 * BUCKET) == 3


def test_a_long_silence_empties_the_counter() -> None:
    counter = RateCounter()
    counter.add(0)
    counter.add(11 * BUCKET)
    assert counter.count_at(11 * BUCKET) == 1
    counter.add(10**9 * BUCKET)
    assert counter.to_row() == [10**9, 1]


def test_a_time_that_goes_back_is_counted_in_the_newest_bucket() -> None:
    counter = RateCounter()
    counter.add(20 * BUCKET)
    counter.add(3 * BUCKET)
    assert counter.count_at(3 * BUCKET) == counter.count_at(20 * BUCKET) == 2


@pytest.mark.parametrize("times", [[], [0], [7 * BUCKET, 7 * BUCKET, 9 * BUCKET], [k * BUCKET for k in range(40)]])
def test_a_counter_survives_its_row(times: list[int]) -> None:
    counter = RateCounter()
    for at in times:
        counter.add(at)
    again = RateCounter.from_row(counter.to_row())
    assert again.to_row() == counter.to_row()
    for later in range(60):
        assert again.count_at(later * BUCKET) == counter.count_at(later * BUCKET)


def test_a_row_is_no_longer_than_what_it_holds() -> None:
    counter = RateCounter()
    assert counter.to_row() == [0]
    counter.add(8 * BUCKET)
    counter.add(10 * BUCKET)
    assert counter.to_row() == [10, 1, 0, 1]


def test_a_window_counter_forgets_the_window_before() -> None:
    counter = WindowCounter()
    counter.add(119, 60)
    counter.add(60, 60)
    assert (counter.count_at(60, 60), counter.count_at(119, 60), counter.count_at(120, 60)) == (2, 2, 0)
    counter.add(120, 60)
    assert (counter.start_us, counter.count) == (120, 1)
