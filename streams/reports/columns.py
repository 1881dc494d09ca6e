"""Records as Parquet: the same lines, a column for each member; which type, the schema says. Owner of pyarrow.

A section of a log is a row group, so that sections are written and compared apart.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
from pyarrow import json, parquet

from streams.reports.forms import schema
from streams.reports.layout import EVENTS, INCIDENTS, columns_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_COMPRESSION: Final = "lz4"
_DIFFERENCES: Final = "DELTA_BINARY_PACKED"
_TEXT: Final = pa.string()
_TIME: Final = pa.timestamp("us", tz="UTC")
# Types of values that are near those before them.
_COUNTING: Final = (pa.int64(), _TIME)
# Members whose text is another in each record: a dictionary of them would only be in the way.
_DISTINCT: Final = frozenset(("RptId", "TxId", "OrdrId", "leaf_sha256", "record_id", "cl_ord_id", "venue_order_id"))
# Kinds that have members of any name, which no column can be; there are few of them, and such a member is JSON text.
_OPEN: Final = (INCIDENTS, EVENTS)


class ColumnsWriter:
    """Writes a kind's records as Parquet: a row group for each section that has some."""

    def __init__(self, name: str, path: Path) -> None:
        self._writer = parquet.ParquetWriter(path, _typed_schema(name), compression=_COMPRESSION, **_encodings(name))

    def write(self, table: Any) -> None:  # noqa: ANN401 - an Arrow table, or none
        """Write a section's records."""
        if table is not None:
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        """Write what a Parquet file ends with."""
        self._writer.close()


def _encodings(name: str) -> dict[str, Any]:
    """Return how a kind's columns are written: those that count by differences, texts that repeat by a dictionary."""
    wanted = _typed_schema(name)
    return {
        "use_dictionary": [
            each.name for each in wanted if each.type == _TEXT and each.name.rpartition(".")[2] not in _DISTINCT
        ],
        "column_encoding": {each.name: _DIFFERENCES for each in wanted if each.type in _COUNTING},
    }


class ColumnsFile:
    """A kind's records as Parquet, read a section at a time."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._file: Any = None

    def problem(self, groups: int) -> str:
        """Return what is wrong with the file as a whole, which has so many row groups; empty where nothing is."""
        file = columns_file(self._name)
        try:
            opened = self._opened()
        except (OSError, pa.ArrowException) as error:
            return f"{file}: cannot be read ({str(error)[:200]})"
        if not opened.schema_arrow.equals(_typed_schema(self._name)):
            return f"{file}: has other columns than its schema says"
        if opened.num_row_groups != groups:
            return f"{file}: {groups} row groups required, has {opened.num_row_groups}"
        return ""

    def difference(self, group: int, ours: Any) -> int | None:  # noqa: ANN401 - an Arrow table
        """Return the first row of a row group that is not that of our table, None where they are the same."""
        try:
            theirs = self._opened().read_row_group(group, use_threads=False)
        except (OSError, pa.ArrowException):
            return 0
        return None if ours.equals(theirs) else _first_difference(ours, theirs)

    def _opened(self) -> Any:  # noqa: ANN401 - a Parquet file
        if self._file is None:
            self._file = parquet.ParquetFile(self._path)
        return self._file


def _first_difference(ours: Any, theirs: Any) -> int:  # noqa: ANN401 - Arrow's tables
    """Return the row at which two tables part."""
    low, high = 0, min(ours.num_rows, theirs.num_rows)
    while low < high:
        middle = (low + high + 1) // 2
        if ours.slice(0, middle).equals(theirs.slice(0, middle)):
            low = middle
        else:
            high = middle - 1
    return low


def typed_table(name: str, columns: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an Arrow table
    """Return a kind's records as a table; a column that none of them has is empty."""
    wanted = _typed_schema(name)
    rows = len(next(iter(columns.values())))
    return pa.table(
        [
            pa.nulls(rows, field.type) if (column := columns.get(field.name)) is None else _as(column, field.type)
            for field in wanted
        ],
        schema=wanted,
    )


def _as(column: Any, kind: Any) -> Any:  # noqa: ANN401 - Arrow's arrays and types
    return column if column.type == kind else column.cast(kind)


def table_of(name: str, lines: bytes) -> Any:  # noqa: ANN401 - an Arrow table
    """Return lines as a table with typed columns."""
    wanted = _typed_schema(name)
    if name in _OPEN:
        rows = [{key: _plain(value) for key, value in orjson.loads(line).items()} for line in lines.splitlines()]
        read = pa.Table.from_pylist(rows, schema=pa.schema([(f.name, _text_type(f.type)) for f in wanted]))
    else:
        options = json.ParseOptions(explicit_schema=_nested_schema(name), unexpected_field_behavior="error")
        read = json.read_json(
            pa.BufferReader(lines), json.ReadOptions(block_size=len(lines) + 1), parse_options=options
        )
        while any(pa.types.is_struct(field.type) for field in read.schema):
            read = read.flatten()
    return read.combine_chunks().cast(wanted)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) else value


def _text_type(kind: Any) -> Any:  # noqa: ANN401 - Arrow's types

    return pa.string() if pa.types.is_timestamp(kind) else kind


@cache
def _typed_schema(name: str) -> Any:  # noqa: ANN401 - Arrow's schema
    """Return the columns of a kind of record: members joined by dots."""
    return pa.schema(list(_columns("", schema(name), typed=True)))


@cache
def _nested_schema(name: str) -> Any:  # noqa: ANN401 - Arrow's schema
    """Return the members as lines have them, numbers and times still texts."""
    return pa.schema([(key, _nested(kind)) for key, kind in schema(name)["properties"].items()])


def _nested(kind: dict[str, Any]) -> Any:  # noqa: ANN401 - Arrow's types

    if kind.get("type") == "object":
        return pa.struct([(key, _nested(inner)) for key, inner in kind["properties"].items()])
    return _column_type(kind, typed=False)


def _columns(before: str, kind: dict[str, Any], *, typed: bool) -> Iterator[tuple[str, Any]]:
    for key, inner in kind["properties"].items():
        if inner.get("type") == "object" and "properties" in inner:
            yield from _columns(f"{before}{key}.", inner, typed=typed)
        else:
            yield f"{before}{key}", _column_type(inner, typed=typed)


def _column_type(kind: dict[str, Any], *, typed: bool) -> Any:  # noqa: ANN401 - Arrow's types

    if kind.get("type") == "array":
        items = kind["items"]
        if "properties" in items:
            return pa.list_(pa.struct([(key, pa.string()) for key in items["properties"]]))
        return pa.list_(pa.string())
    types = {
        "quantity": pa.decimal128(38, 17),
        "price": pa.decimal128(38, 13),
        "money": pa.decimal128(38, 5),
        "money_or_none": pa.decimal128(38, 5),
        "date_time": _TIME,
    }
    named = kind.get("$ref", "").rpartition("/")[2]
    if named in ("count", "place"):
        return pa.int64()
    if named == "words":
        return pa.list_(pa.string())
    return types.get(named, pa.string()) if typed else pa.string()
