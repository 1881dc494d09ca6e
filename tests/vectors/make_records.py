"""Write `records_v1.json`: every schema as it is, and a record under it. Run for a release, and never again for it.

python -m tests.vectors.make_records > tests/vectors/records_v1.json
"""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import Any

import orjson

from streams.wire.avro import Schema, encode, schema_document

_BYTES = bytes(range(1, 33))


def sample(kind: Any, names: dict[str, Any]) -> Any:
    """Return a value of an Avro type, with every optional field given."""
    if isinstance(kind, str) and kind in names:
        return sample(names[kind], names)
    if isinstance(kind, list):
        return sample(next(branch for branch in kind if branch != "null"), names)
    if isinstance(kind, dict):
        return _complex(kind, names)
    return {
        "string": "maker-01",
        "bytes": _BYTES,
        "long": 1_773_000_000_000_001,
        "int": 3,
        "double": 0.25,
        "float": 0.5,
        "boolean": True,
    }[kind]


def _complex(kind: dict[str, Any], names: dict[str, Any]) -> Any:
    if "name" in kind:
        names[kind["name"]] = kind
    match kind["type"]:
        case "record":
            return {field["name"]: sample(field["type"], names) for field in kind["fields"]}
        case "enum":
            return kind["symbols"][-1]
        case "array":
            return [sample(kind["items"], names)]
        case "map":
            return {"name": sample(kind["values"], names)}
        case _:
            return b"\x01\x02" if kind.get("logicalType") == "decimal" else sample(kind["type"], names)


def main() -> None:
    """Print the schemas and records."""
    records = {
        str(schema): {
            "schema": schema_document(schema),
            "record": b64encode(encode(schema, sample(schema_document(schema), {}))).decode(),
        }
        for schema in Schema
    }
    sys.stdout.buffer.write(orjson.dumps(records, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
