"""Records as Parquet: the same lines, a column for each member; which type, the schema says. Owner of pyarrow.

Texts are parsed and columns compared by Arrow, 8 MB of lines at a time.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
from pyarrow import json, parquet

from streams.reports.forms import schema
from streams.reports.layout import EVENTS, INCIDENTS, columns_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_BYTES: Final = 8 << 20
_COMPRESSION: Final = "zstd"
# Kinds that have members of any name, which no column can be; there are few of them, and such a member is JSON text.
_OPEN: Final = (INCIDENTS, EVENTS)


def write_columns(name: str, lines: Path, columns: Path) -> None:
    """Write a file of lines as Parquet."""
    with parquet.ParquetWriter(columns, _typed_schema(name), compression=_COMPRESSION) as writer:
        for table in _tables(name, lines):
            writer.write_table(table)


def columns_problem(name: str, lines: Path, columns: Path) -> str:
    """Return how a Parquet file differs from its lines; empty where it has the same records in the same order."""
    file, row = columns_file(name), 0
    try:
        with parquet.ParquetFile(columns) as stored:
            if not stored.schema_arrow.equals(_typed_schema(name)):
                return f"{file}: has other columns than its schema says"
            groups = (stored.read_row_group(number) for number in range(stored.num_row_groups))
            for ours, theirs in zip_longest(_tables(name, lines), groups):
                if ours is None or theirs is None or not ours.equals(theirs):
                    return f"{file}: record {row + _first_difference(ours, theirs)} is not that of the lines"
                row += ours.num_rows
    except (OSError, pa.ArrowException) as error:
        return f"{file}: cannot be read ({str(error)[:200]})"
    return ""


def _first_difference(ours: Any, theirs: Any) -> int:  # noqa: ANN401 - Arrow's tables, or none
    """Return the row at which two tables part."""
    if ours is None or theirs is None:
        return 0
    rows = min(ours.num_rows, theirs.num_rows)
    low, high = 0, rows
    while low < high:
        middle = (low + high + 1) // 2
        if ours.slice(0, middle).equals(theirs.slice(0, middle)):
            low = middle
        else:
            high = middle - 1
    return low


def _tables(name: str, lines: Path) -> Iterator[Any]:
    """Yield a file's lines as tables with typed columns, a block at a time."""
    with lines.open("rb") as file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            whole, cut, rest = (rest + block).rpartition(b"\n")
            if cut:
                yield _table(name, whole + cut)
        if rest:
            yield _table(name, rest)


def _table(name: str, lines: bytes) -> Any:  # noqa: ANN401 - an Arrow table

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


def _typed_schema(name: str) -> Any:  # noqa: ANN401 - Arrow's schema
    """Return the columns of a kind of record: members joined by dots."""
    return pa.schema(list(_columns("", schema(name), typed=True)))


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
        "date_time": pa.timestamp("us", tz="UTC"),
    }
    named = kind.get("$ref", "").rpartition("/")[2]
    if named in ("count", "place"):
        return pa.int64()
    if named == "words":
        return pa.list_(pa.string())
    return types.get(named, pa.string()) if typed else pa.string()
