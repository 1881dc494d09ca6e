"""Old data under new code, and new data under old code: the rules for changing a schema (topology/upgrade.md)."""

from __future__ import annotations

import io
import itertools
from base64 import b64decode
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest

from streams.resources import resource
from streams.wire.avro import PREFIX_BYTES, Schema, decode, prefix, schema_document, schema_ids
from tests.vectors.evolution import cannot_read
from tests.vectors.make_records import sample

RELEASED: dict[str, dict[str, Any]] = orjson.loads((Path(__file__).parent / "records_v1.json").read_bytes())


def read(data: bytes, writer: Any, reader: Any) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(writer), fastavro.parse_schema(reader))


def write(schema: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), sample(schema, {}))
    return buffer.getvalue()


def versions() -> dict[str, list[Any]]:
    """Return every schema file by its name without the version, oldest first."""
    found: defaultdict[str, list[tuple[int, Any]]] = defaultdict(list)
    for path in resource("schemas/avro").glob("*.avsc"):
        name, _, version = path.name.removesuffix(".avsc").rpartition(".v")
        found[name].append((int(version), orjson.loads(path.read_bytes())))
    return {name: [document for _, document in sorted(files, key=lambda v: v[0])] for name, files in found.items()}


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_what_was_written_once_is_read_for_ever(name: str) -> None:
    old, record = RELEASED[name]["schema"], b64decode(RELEASED[name]["record"])
    new = schema_document(Schema(name))
    assert cannot_read(old, new) == []
    found, then = read(record[PREFIX_BYTES:], old, new), read(record[PREFIX_BYTES:], old, old)
    assert {field: found[field] for field in then if field in found} == {f: then[f] for f in then if f in found}
    assert record.startswith(prefix(Schema(name)))
    if old == new:  # our own reader, which takes the schema from the id
        assert decode(Schema(name), record).keys() == then.keys()


def test_every_version_reads_every_other_of_its_name() -> None:
    found = versions()
    assert {f"{name}.v{number + 1}" for name, files in found.items() for number in range(len(files))} == set(
        schema_ids()
    )
    for name, files in found.items():
        for old, new in itertools.combinations(files, 2):
            assert cannot_read(old, new) == [], f"{name}: new code, old data"
            assert cannot_read(new, old) == [], f"{name}: old code, new data"


def test_ids_are_given_once() -> None:
    ids = schema_ids()
    assert len(set(ids.values())) == len(ids)
    for name, entry in RELEASED.items():
        assert int.from_bytes(b64decode(entry["record"])[1:PREFIX_BYTES], "big") == ids[name]


def changed(**field: Any) -> Any:
    document = deepcopy(schema_document(Schema.ALERT))
    document["fields"].append(field)
    return document


def test_an_optional_field_more_is_read_both_ways() -> None:
    old, new = schema_document(Schema.ALERT), changed(name="page", type=["null", "string"], default=None)
    assert cannot_read(old, new) == cannot_read(new, old) == []
    assert read(write(old), old, new)["page"] is None
    assert "page" not in read(write(new), new, old)


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("writer", "reader", "problem"),
    [
        ("int", "long", ""),
        ("long", "int", ": long is read as int"),
        ("string", ["null", "string"], ""),
        (["null", "string"], "string", ": nothing reads null"),
        (ENUM, {**ENUM, "symbols": ["A", "B", "C"]}, ""),
        ({**ENUM, "symbols": ["A", "B", "C"]}, ENUM, "symbols C are not known"),
        ({**ENUM, "symbols": ["A", "B", "C"]}, {**ENUM, "default": "A"}, ""),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "string"}, "[]: long is read as string"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 5},
            {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 6},
            "scale 5 is read as 6",
        ),
        (
            {"type": "record", "name": "R", "fields": []},
            {"type": "record", "name": "R", "fields": [{"name": "f", "type": "long"}]},
            ".f: is new and has no default",
        ),
        (
            {"type": "record", "name": "R", "fields": [{"name": "g", "type": "long"}]},
            {"type": "record", "name": "R", "fields": [{"name": "f", "type": "long", "aliases": ["g"]}]},
            "",
        ),
    ],
)
def test_the_rules_find_what_breaks_and_nothing_else(writer: Any, reader: Any, problem: str) -> None:
    found = cannot_read(writer, reader)
    assert bool(found) is bool(problem), found
    assert not problem or problem in found[0]
