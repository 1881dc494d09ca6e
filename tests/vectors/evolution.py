"""Whether a reader of one Avro schema can read what was written under another, as a list of problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def cannot_read(writer: Any, reader: Any) -> list[str]:
    """Return why data of `writer` cannot be read with `reader`, each with its place; empty where they can."""
    return list(_Pair({}, {}).problems(writer, reader, ""))


class _Pair:
    """Two schemas side by side, with the types that each has named so far."""

    def __init__(self, writers: dict[str, Any], readers: dict[str, Any]) -> None:
        self._writers, self._readers = writers, readers

    def problems(self, writer: Any, reader: Any, place: str) -> Iterator[str]:
        writer, reader = _named(writer, self._writers), _named(reader, self._readers)
        if isinstance(writer, list):
            for branch in writer:
                yield from self._branch(branch, reader, place)
        elif isinstance(reader, list):
            yield from self._branch(writer, reader, place)
        else:
            yield from self._one(_kind(writer), _kind(reader), writer, reader, place)

    def _branch(self, writer: Any, reader: Any, place: str) -> Iterator[str]:
        """A branch of a union is read by any branch that can."""
        branches = reader if isinstance(reader, list) else [reader]
        found = [list(self.problems(writer, branch, place)) for branch in branches]
        if all(found):
            yield f"{place}: nothing reads {_kind(_named(writer, self._writers))}"

    def _one(self, kind: str, wanted: str, writer: Any, reader: Any, place: str) -> Iterator[str]:
        if kind != wanted:
            if wanted not in _PROMOTIONS.get(kind, ()):
                yield f"{place}: {kind} is read as {wanted}"
            return
        if kind == "record":
            yield from self._fields(writer, reader, place)
        elif kind == "enum":
            lost = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if lost and "default" not in reader:
                yield f"{place}: symbols {', '.join(lost)} are not known, and there is no default"
        elif kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            yield from self.problems(writer[inner], reader[inner], f"{place}[]")
        if isinstance(writer, dict) and isinstance(reader, dict):
            for attribute in ("logicalType", "scale", "size"):
                if writer.get(attribute) != reader.get(attribute):
                    yield f"{place}: {attribute} {writer.get(attribute)} is read as {reader.get(attribute)}"

    def _fields(self, writer: Any, reader: Any, place: str) -> Iterator[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            name = next((n for n in (field["name"], *field.get("aliases", ())) if n in written), None)
            where = f"{place}.{field['name']}"
            if name is not None:
                yield from self.problems(written[name]["type"], field["type"], where)
            elif "default" not in field:
                yield f"{where}: is new and has no default"


def _named(schema: Any, known: dict[str, Any]) -> Any:
    """Return a type that was named before, or remember one that is named here."""
    if isinstance(schema, str):
        return known.get(schema, schema)
    if isinstance(schema, dict) and "name" in schema:
        known[schema["name"]] = schema
    return schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)
