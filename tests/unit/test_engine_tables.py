from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.changelog import LaneRows, TableKind
from streams.engine.tables import PartitionTable, WindowedPartitionTable

DAY = 86_400_000_000


class Row:
    def __init__(self, number: int) -> None:
        self.number = number


class RowCodec:
    decoded = 0

    def encode(self, row: Row, /) -> bytes:
        return b"%d" % row.number

    def decode(self, data: bytes, /) -> Row:
        self.decoded += 1
        return Row(int(data))


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


def changes(table: PartitionTable[Row] | WindowedPartitionTable[Row]) -> list[tuple[bytes, bytes | None]]:
    return list(table.take_changes())


def test_each_changed_row_is_written_once() -> None:
    table = PartitionTable(RowCodec())
    row = Row(1)
    table.put("b", row)
    table.put("a", Row(7))
    row.number = 2
    table.touch("b")
    table.touch("b")
    assert changes(table) == [(b"b", b"2"), (b"a", b"7")]
    assert changes(table) == []


def test_deleted_row_leaves_a_tombstone_and_an_unknown_one_nothing() -> None:
    table = PartitionTable(RowCodec())
    table.put("a", Row(1))
    changes(table)
    table.delete("a")
    table.delete("unknown")
    assert table.get("a") is None
    assert len(table) == 0
    assert changes(table) == [(b"a", None)]


def test_deleted_and_put_again_is_a_row() -> None:
    table = PartitionTable(RowCodec())
    table.put("a", Row(1))
    table.delete("a")
    table.put("a", Row(2))
    assert changes(table) == [(b"a", b"2")]


def test_touch_needs_a_row_that_was_got() -> None:
    table = PartitionTable(RowCodec())
    with pytest.raises(KeyError):
        table.touch("a")


def test_restored_rows_are_decoded_on_first_touch_only() -> None:
    codec = RowCodec()
    table = PartitionTable(codec)
    table.restore((b"k%d" % number, b"%d" % number) for number in range(1_000))
    assert len(table) == 1_000
    assert codec.decoded == 0
    row = table.get("k500")
    assert row is not None
    assert row.number == 500
    assert table.get("k500") is row
    assert codec.decoded == 1
    assert sorted(table.keys()) == sorted(f"k{number}" for number in range(1_000))
    assert changes(table) == []


def test_tables_share_a_changelog_and_keep_their_rows_apart() -> None:
    kinds = {"totals": TableKind(RowCodec()), "daily": TableKind(RowCodec(), window_s=86_400)}
    rows, again = LaneRows(kinds), LaneRows(kinds)
    rows.tables["totals"].put("a", Row(1))
    rows.tables["daily"].put("a", DAY, Row(2))
    written = rows.take_changes()
    assert [(key, value) for key, value, _ in written] == [
        (b"totals\0a", b"1"),
        (b"daily\0a\0" + DAY.to_bytes(8), b"2"),
    ]
    assert rows.take_changes() == []
    again.restore(Record(offset, key, value) for offset, (key, value, _) in enumerate(written))
    assert again.tables["totals"].get("a").number == 1
    assert again.tables["daily"].get("a", DAY).number == 2
    assert again.position == 1


def test_restore_passes_over_what_the_rows_include() -> None:
    rows = LaneRows({"any": TableKind(RowCodec())})
    row, table = Row(5), rows.tables["any"]
    table.put("a", row)
    rows.position = 10
    rows.restore([Record(9, b"any\0a", b"1"), Record(10, b"any\0a", b"5")])
    assert table.get("a") is row
    later = [(11, b"any\0a", b"6"), (12, b"any\0b", b"7"), (13, b"any\0b", None), (14, None, b"")]
    rows.restore(Record(*record) for record in later)
    assert [(key, found.number) for key, found in table.items()] == [("a", 6)]
    assert rows.position == 13


def test_items_may_be_deleted_on_the_way() -> None:
    table = PartitionTable(RowCodec())
    for number in range(4):
        table.put(f"k{number}", Row(number))
    for key, row in table.items():
        if row.number % 2:
            table.delete(key)
    assert sorted(table.keys()) == ["k0", "k2"]


def test_windowed_rows_expire_by_event_time() -> None:
    table = WindowedPartitionTable(RowCodec(), DAY)
    for day in range(3):
        for key in "ab":
            table.put(key, table.window_start_us(day * DAY + 5), Row(day))
    changes(table)
    assert table.expire(DAY - 1) == 0
    assert table.expire(2 * DAY) == 4
    assert sorted(table.keys()) == [("a", 2 * DAY), ("b", 2 * DAY)]
    assert changes(table) == [(key + b"\x00" + day.to_bytes(8), None) for day in (0, DAY) for key in (b"a", b"b")]
    assert table.expire(2 * DAY) == 0


def test_windowed_rows_are_restored_by_key_and_window() -> None:
    source = WindowedPartitionTable(RowCodec(), DAY)
    source.put("a\x00b", DAY, Row(1))
    source.put("ä", 0, Row(2))
    table = WindowedPartitionTable(RowCodec(), DAY)
    table.restore(changes(source))
    row = table.get("a\x00b", DAY)
    assert row is not None
    assert row.number == 1
    assert table.get("a\x00b", 0) is None
    table.restore([("ä".encode() + bytes(9), None)])
    assert table.expire(10 * DAY) == 1
    assert len(table) == 0


def test_windowed_row_is_deleted_alone() -> None:
    table = WindowedPartitionTable(RowCodec(), DAY)
    table.put("a", 0, Row(1))
    table.put("a", DAY, Row(2))
    table.delete("a", 0)
    table.touch("a", DAY)
    assert table.keys() == [("a", DAY)]
    assert table.expire(DAY) == 0


class Step(NamedTuple):
    action: str
    key: str
    number: int
    restart: bool


steps = st.lists(
    st.builds(
        Step, st.sampled_from(["put", "add", "delete", "get"]), st.sampled_from("abc"), st.integers(0, 9), st.booleans()
    ),
    max_size=40,
)


@given(steps)
def test_a_table_restored_from_its_changelog_is_the_table(script: list[Step]) -> None:
    log: list[tuple[bytes, bytes | None]] = []
    table, model = PartitionTable(RowCodec()), dict[str, int]()
    for step in script:
        apply(step, table, model)
        if step.restart:
            log += changes(table)
            table = PartitionTable(RowCodec())
            table.restore(log)
        assert {key: row.number for key, row in table.items()} == model
        assert len(table) == len(model)


def apply(step: Step, table: PartitionTable[Row], model: dict[str, int]) -> None:
    row = table.get(step.key)
    assert (None if row is None else row.number) == model.get(step.key)
    if step.action == "put":
        table.put(step.key, Row(step.number))
        model[step.key] = step.number
    elif step.action == "add" and row is not None:
        row.number += step.number
        table.touch(step.key)
        model[step.key] += step.number
    elif step.action == "delete":
        table.delete(step.key)
        model.pop(step.key, None)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "change", "delete", "commit"]), st.sampled_from("abcdefgh"), st.integers(0, 99)),
    max_size=60,
)


def test_rows_on_disk_are_as_good_as_rows_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict", reason="needs the extra `state`")
    folders = (tmp_path / str(number) for number in count())

    @given(OPERATIONS)
    @settings(max_examples=50, deadline=None)
    def alike(operations: list[tuple[str, str, int]]) -> None:
        tables = (PartitionTable(RowCodec()), PartitionTable(RowCodec()))
        tables[1].keep_on_disk(next(folders), in_memory_max=2)
        for what, key, number in operations:
            found = [_operate(table, what, key, number) for table in tables]
            assert found[0] == found[1]
        contents = [{key: row.number for key, row in table.items()} for table in tables]
        assert contents[0] == contents[1]
        assert len(tables[0]) == len(tables[1])
        tables[1].close()

    alike()


def _operate(table: PartitionTable[Row], what: str, key: str, number: int) -> object:
    row = table.get(key)
    if what == "commit":
        return changes(table)
    if what == "put":
        table.put(key, Row(number))
    elif row is not None and what == "change":
        row.number = number
        table.touch(key)
    elif what == "delete":
        table.delete(key)
    return None if row is None else row.number


def test_no_more_rows_stay_in_memory_than_allowed(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict", reason="needs the extra `state`")
    table = WindowedPartitionTable(RowCodec(), DAY)
    table.keep_on_disk(tmp_path / "rows", in_memory_max=3)
    for number in range(10):
        table.put(f"bot-{number}", 0, Row(number))
    changes(table)
    assert len(table._rows) == 3
    assert len(table) == 10
    found = [table.get(f"bot-{number}", 0) for number in range(10)]
    assert [row and row.number for row in found] == list(range(10))
    assert table.expire(DAY) == 10
    assert len(table) == 0
    table.close()
    assert not (tmp_path / "rows").exists()
