"""Read `topology/topics.toml`; every mistake in it is named at once."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, TypeVar

from streams.resources import resource
from streams.topics.model import Cleanup, TopicSpec, Topology, TopologyError
from streams.topics.rules import CHANGE_RULES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_Value = TypeVar("_Value")

_NAME = re.compile(r"[a-z]+\.[a-z]+(-[a-z]+)*")
_PREFIX = re.compile(r"([A-Za-z0-9_-]+\.)*")
# Kafka allows 249 characters; Faust's changelog names of an isolated run add to the prefix.
_PREFIX_LENGTH_MAX = 100
_LANES_MAX = 1024
_DAY_MS = 86_400_000
# A year counts 366 days: what must be kept for years is never kept a day too short.
_UNITS_MS = {"h": 3_600_000, "d": _DAY_MS, "y": 366 * _DAY_MS}
_FOR_EVER = "for ever"
_DURATION = re.compile(r"([1-9]\d{0,3}) ([hdy])")

_WORDS = ("purpose", "key", "cleanup")
_LISTS = ("producers", "consumers")
_OPTIONAL = ("value", "schemas", "retention", "history", "config")


def load_topology(path: Path | None = None, *, lanes: int | None = None, prefix: str = "") -> Topology:
    """Read and check the topology.

    Args:
        path: of the TOML file; the one of this release if not given.
        lanes: partitions of every topic, instead of the file's.
        prefix: before every name, for an isolated run; ends in a dot.

    Raises:
        TopologyError: naming everything that does not hold.
    """
    path = path or resource("topology/topics.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TopologyError(f"{path}: {error}") from error
    reader = _Reader()
    topology = reader.topology(document, lanes=lanes, prefix=prefix)
    if reader.problems:
        raise TopologyError(f"{path} does not hold: " + "; ".join(reader.problems))
    return topology


class _Reader:
    """Turns the parsed document into a topology and collects what does not hold."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def topology(self, document: Mapping[str, object], *, lanes: int | None, prefix: str) -> Topology:
        self._refuse_unknown("the file", document, ("lanes", "replicas", "min_insync_replicas", "config", "topics"))
        if lanes is None:
            lanes = self._number(document, "lanes", _LANES_MAX)
        elif not 1 <= lanes <= _LANES_MAX:
            self.problems.append(f"lanes must be 1 to {_LANES_MAX}, is {lanes}")
        if len(prefix) > _PREFIX_LENGTH_MAX or not _PREFIX.fullmatch(prefix):
            self.problems.append(f"prefix must be at most {_PREFIX_LENGTH_MAX} of A-Z a-z 0-9 _ -, ending in a dot, "
                                 f"is {prefix[:120]!r}")  # fmt: skip
        replicas = self._number(document, "replicas", 9)
        in_sync = self._number(document, "min_insync_replicas", replicas)
        common = self._config("the file", document)
        tables = self._field("the file", document, "topics", dict, {})
        topics = tuple(self._topic(name, table, common, lanes) for name, table in tables.items())
        if not topics:
            self.problems.append("topics: there is none")
        return Topology(topics=topics, lanes=lanes, replicas=replicas, min_insync_replicas=in_sync, prefix=prefix)

    def _topic(self, name: str, table: object, common: Mapping[str, str], lanes: int) -> TopicSpec:
        if not _NAME.fullmatch(name):
            self.problems.append(f"{name}: a name is two words, as orders.requested")
        if not isinstance(table, dict):
            self.problems.append(f"{name}: must be a table")
            table = {}
        self._refuse_unknown(name, table, (*_WORDS, *_LISTS, *_OPTIONAL))
        words = {word: self._field(name, table, word, str) for word in _WORDS}
        self.problems += [f"{name}.{word} is empty" for word, text in words.items() if not text and word in table]
        schemas = self._schemas(name, table)
        cleanup, kept, times = self._kept(name, table, words["cleanup"])
        return TopicSpec(
            name=name,
            purpose=words["purpose"],
            key=words["key"],
            value=self._value(name, table, schemas),
            schemas=schemas,
            producers=self._names(name, table, "producers"),
            consumers=self._names(name, table, "consumers"),
            partitions=lanes,
            cleanup=cleanup,
            kept=kept,
            config={**common, "cleanup.policy": cleanup.value, **times, **self._config(name, table)},
        )

    def _kept(self, name: str, table: Mapping[str, object], cleanup: str) -> tuple[Cleanup, str, dict[str, str]]:
        """Return the clean-up policy, how long in words, and the broker settings that say so."""
        if cleanup not in tuple(Cleanup):
            self.problems.append(f"{name}.cleanup must be one of {', '.join(Cleanup)}, is {cleanup!r}")
            return Cleanup.DELETE, "", {}
        if cleanup == Cleanup.DELETE:
            self._refuse(name, table, "history", "is for compacted topics")
            retention = self._field(name, table, "retention", str)
            return Cleanup.DELETE, retention, {"retention.ms": self._duration_ms(name, "retention", retention)}
        self._refuse(name, table, "retention", "would drop the last state of a key: use history")
        history = self._field(name, table, "history", str, "")
        times = {"retention.ms": "-1"}
        if not history:
            return Cleanup.COMPACT, "last of each key", times
        times["min.compaction.lag.ms"] = self._duration_ms(name, "history", history)
        return Cleanup.COMPACT, f"{history}, then last of each key", times

    def _duration_ms(self, name: str, what: str, text: str) -> str:
        if not text or (text == _FOR_EVER and what == "retention"):
            return "-1"  # a missing one has been named already
        match = _DURATION.fullmatch(text)
        if match is None:
            self.problems.append(f"{name}.{what} must read as '7 d' (h, d, y) or '{_FOR_EVER}', is {text!r}")
            return "-1"
        return str(int(match[1]) * _UNITS_MS[match[2]])

    def _schemas(self, name: str, table: Mapping[str, object]) -> tuple[str, ...]:
        schemas = self._names(name, table, "schemas", optional=True)
        folder = resource("schemas/avro")
        for schema in schemas:
            if not (folder / f"{schema}.avsc").is_file():
                self.problems.append(f"{name}.schemas: there is no schemas/avro/{schema}.avsc")
        return schemas

    def _value(self, name: str, table: Mapping[str, object], schemas: tuple[str, ...]) -> str:
        value = self._field(name, table, "value", str, "")
        if bool(value) == bool(schemas):
            self.problems.append(f"{name}: either schemas or value says what the value is")
        return value or "Avro"

    def _names(self, where: str, table: Mapping[str, object], what: str, *, optional: bool = False) -> tuple[str, ...]:
        names = self._field(where, table, what, list, [] if optional else None)
        if not all(isinstance(name, str) and name for name in names) or len(set(map(str, names))) != len(names):
            self.problems.append(f"{where}.{what} must be different words, is {names!r}")
            return ()
        if not names and not optional:
            self.problems.append(f"{where}.{what} must name at least one")
        return tuple(names)

    def _config(self, where: str, table: Mapping[str, object]) -> dict[str, str]:
        config = self._field(where, table, "config", dict, {})
        for key, value in config.items():
            if key not in CHANGE_RULES:
                self.problems.append(f"{where}.config: {key} is not a setting that streams/topics/rules.py judges")
            if not isinstance(value, str):
                self.problems.append(f"{where}.config.{key} must be text, is {value!r}")
        return {key: str(value) for key, value in config.items()}

    def _number(self, table: Mapping[str, object], what: str, maximum: int) -> int:
        number = self._field("the file", table, what, int)
        if not 1 <= number <= maximum:
            self.problems.append(f"{what} must be 1 to {maximum}, is {number}")
        return number

    def _field(
        self, where: str, table: Mapping[str, object], what: str, kind: type[_Value], default: _Value | None = None
    ) -> _Value:
        """Return the field if it has the type; else its default, or a problem and an empty value."""
        found = table.get(what, default)
        if isinstance(found, kind) and not isinstance(found, bool):
            return found
        self.problems.append(f"{where}.{what} is missing" if found is None
                             else f"{where}.{what} must be {kind.__name__}, is {found!r}")  # fmt: skip
        return kind()

    def _refuse(self, where: str, table: Mapping[str, object], what: str, why: str) -> None:
        if what in table:
            self.problems.append(f"{where}.{what} {why}")

    def _refuse_unknown(self, where: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
        self.problems.extend(f"{where}.{key} is not a field" for key in table if key not in known)
