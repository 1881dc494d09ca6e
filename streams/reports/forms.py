"""The schemas of a batch's records, and checking lines against them.

Lines differ mostly in digits and hexadecimal letters. Those taken away, a million lines are some hundred forms, and a
schema is applied to the first line of each form: within a form only numbers, times, digests and the like differ, and
how those are spelled is the writer's doing alone (`streams.reports.records`), whoever's data they are.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import orjson

from streams.reports.layout import RECORD_FILES, lines_file
from streams.resources import resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCHEMA_FILES: Final = (*(f"{name}.schema.json" for name in (*RECORD_FILES, "manifest", "types")),)
_MANIFEST_SCHEMA: Final = "manifest"
_FORMS_MAX: Final = 200_000
_TAKEN_AWAY: Final = b"0123456789abcdef"


class Forms:
    """Knows the forms that hold; one for each process."""

    def __init__(self) -> None:
        self._known: tuple[set[bytes], ...] = tuple(set() for _ in RECORD_FILES)

    def check(self, blobs: Sequence[bytes]) -> Iterator[str]:
        """Yield what is wrong with the lines of each record file, one sentence for each form that does not hold."""
        for name, blob, known in zip(RECORD_FILES, blobs, self._known, strict=True):
            forms = blob.translate(None, _TAKEN_AWAY).split(b"\n")
            new = set(forms) - known - {b""}
            if not new:
                continue
            if len(known) > _FORMS_MAX:
                known.clear()
            lines = blob.split(b"\n")
            first = {form: lines[place] for place, form in reversed(list(enumerate(forms))) if form in new}
            for form, line in first.items():
                found = problem(name, line)
                if found:
                    yield found
                else:
                    known.add(form)


def problem(name: str, line: bytes) -> str:
    """Return why a line is no record of its file's schema; empty where it is."""
    try:
        error = next(validator(name).iter_errors(orjson.loads(line)), None)
    except orjson.JSONDecodeError:
        return f"{lines_file(name)}: {line[:80]!r} is not JSON"
    if error is None:
        return ""
    where = "/".join(map(str, error.instance_path))
    return (
        f"{lines_file(name)}: {line[:60].decode(errors='replace')}… breaks its schema at {where}: {error.message[:200]}"
    )


def manifest_problem(document: object) -> str:
    """Return why a manifest's document breaks its schema; empty where it does not."""
    error = next(validator(_MANIFEST_SCHEMA).iter_errors(document), None)
    return "" if error is None else f"{'/'.join(map(str, error.instance_path))}: {error.message[:200]}"


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the schema of a kind of record, or of the manifest."""
    document: dict[str, Any] = orjson.loads(resource(f"schemas/reports/{name}.schema.json").read_bytes())
    return document


@cache
def validator(name: str) -> Any:  # noqa: ANN401 - the validator's class depends on the schema's draft
    """Return the validator of a kind of record, or of the manifest."""
    types = schema("types")
    registry = jsonschema_rs.Registry([(types["$id"], types)])
    return jsonschema_rs.validator_for(schema(name), registry=registry)
