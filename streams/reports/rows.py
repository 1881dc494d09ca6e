"""Leaves of one kind, thousands at once: which of them are as usual, and what every line says of its leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.reports.arrays import decimals_of, hex_texts, is_plain, is_time, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.reports.fields import Found
    from streams.reports.leaves import Selection

EVENT_FIELDS = ("log_index", "partition", "event_time")


class Places(NamedTuple):
    """Where leaves of one kind are: their log, their indexes, their hashes, and which are in the batch's range."""

    partition: int
    indexes: Any
    hashes: Any
    in_range: Any


class Lines(NamedTuple):
    """Lines of one record file, the same as a table, and the index of each line's leaf."""

    file: int
    owners: Any
    texts: Any
    table: Any


class Read(NamedTuple):
    """Which leaves were read, when they happened (microseconds UTC), and their lines."""

    good: Any
    times_us: Any
    lines: tuple[Lines, ...]


class Rows:
    """Leaves of one kind as columns; those that are not as usual are given up."""

    def __init__(self, found: Found, places: Places) -> None:
        self.found = found
        self.places = places
        self.good = found.good
        self.texts: dict[str, Any] = {}
        self.decimals: dict[str, Any] = {}
        self.require(found["partition"].numbers == places.partition)
        self.require(found["log_index"].numbers == places.indexes)
        self.take_times(("event_time",))

    def require(self, holds: Any) -> None:  # noqa: ANN401 - NumPy's arrays
        """Give up the leaves for which something does not hold."""
        self.good = self.good & holds

    def take_texts(self, paths: Mapping[str, str]) -> None:
        """Take texts that JSON has as they are, by name."""
        for name, path in paths.items():
            self.texts[name] = texts_of(self.found, path)
            self.require(is_plain(self.texts[name]))

    def take_decimals(self, paths: Mapping[str, tuple[str, int]]) -> None:
        """Take decimals by name, each with its scale."""
        for name, (path, scale) in paths.items():
            self.decimals[name], fits = decimals_of(self.found, path, scale)
            self.require(fits)

    def take_times(self, paths: Iterable[str]) -> None:
        """Require moments that a calendar has."""
        for path in paths:
            self.require(is_time(self.found, path))

    def selected(self, selection: Selection) -> Any:  # noqa: ANN401 - NumPy's arrays
        """Say which leaves are of the bot and market that are wanted."""
        chosen = self.good
        for wanted, name in ((selection.bot, "agent_id"), (selection.market, "symbol")):
            if wanted:
                chosen = chosen & np.asarray(
                    pc.fill_null(pc.equal(self.texts[name], wanted.encode()), fill_value=False)
                )
        return chosen

    def only(self, chosen: Any) -> Rows:  # noqa: ANN401 - NumPy's arrays
        """Return some of the leaves."""
        if chosen.all():
            return self
        where, mask = np.flatnonzero(chosen), pa.array(chosen)
        rows = object.__new__(Rows)
        rows.found, rows.good = self.found.rows(where), self.good[where]
        partition, *each = self.places
        rows.places = Places(partition, *(part[where] for part in each))
        rows.texts = {name: column.filter(mask) for name, column in self.texts.items()}
        rows.decimals = {name: column.filter(mask) for name, column in self.decimals.items()}
        return rows

    def evidence(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what every line says of its leaf: parts of the line, and columns."""
        leaf = pa.array(self.places.indexes)
        hashes = hex_texts(self.places.hashes)
        parts = {
            "log": str(self.places.partition),
            "leaf": leaf.cast(pa.string()),
            "seq": pc.add(leaf, 1).cast(pa.string()),
            "leaf_sha256": hashes,
        }
        log = pa.array(np.full(len(leaf), self.places.partition, np.int64))
        evidence = "SplmtryData"
        return parts, {f"{evidence}.log": log, f"{evidence}.leaf": leaf, f"{evidence}.leaf_sha256": hashes}
