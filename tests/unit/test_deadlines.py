"""Deadlines as rows: kept, moved, taken off, found late, and there again after a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.agents.deadlines import Deadlines, Kind
from streams.app import RowList
from streams.engine.tables import PartitionTable

S_US = 1_000_000


def fresh() -> tuple[Deadlines, PartitionTable[list[int]]]:
    table: PartitionTable[list[int]] = PartitionTable(RowList())
    return Deadlines(table), table


def test_what_is_due_comes_once_in_order_and_not_before() -> None:
    deadlines, _ = fresh()
    deadlines.set(Kind.GRACE, "b", 20)
    deadlines.set(Kind.DUTY, "a x", 10)
    assert deadlines.next_us() == 10
    assert list(deadlines.passed(9)) == []
    assert [(due.kind, due.key) for due in deadlines.passed(20)] == [(Kind.DUTY, "a x"), (Kind.GRACE, "b")]
    assert deadlines.next_us() is None


def test_a_deadline_that_was_moved_or_taken_off_does_not_come_at_its_old_time() -> None:
    deadlines, _ = fresh()
    deadlines.set(Kind.GRACE, "b", 10)
    deadlines.set(Kind.GRACE, "b", 30)
    deadlines.set(Kind.DUTY, "a", 10)
    assert deadlines.cancel(Kind.DUTY, "a")
    assert not deadlines.cancel(Kind.DUTY, "a")
    assert list(deadlines.passed(29)) == []
    assert [due.due_us for due in deadlines.passed(30)] == [30]


def test_one_found_late_waits_half_a_second_once() -> None:
    deadlines, _ = fresh()
    deadlines.set(Kind.GRACE, "b", 10)
    now_us = 10 + 5 * S_US
    assert list(deadlines.passed(now_us)) == []
    assert deadlines.next_us() == now_us + S_US // 2
    assert [due.due_us for due in deadlines.passed(now_us + S_US // 2)] == [10]
    deadlines.set(Kind.GRACE, "c", now_us)
    assert [due.key for due in deadlines.passed(now_us + S_US)] == ["c"]  # a second late is not late


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), max_size=30))
def test_a_restart_changes_nothing(steps: list[tuple[str, int, bool]]) -> None:
    deadlines, table = fresh()
    for key, due_us, cancelled in steps:
        deadlines.set(Kind.DUTY, key, due_us)
        if cancelled:
            deadlines.cancel(Kind.DUTY, key)
    again: PartitionTable[list[int]] = PartitionTable(RowList())
    again.restore(table.take_changes())
    assert list(Deadlines(again).passed(60)) == list(deadlines.passed(60))
