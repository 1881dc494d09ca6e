"""From the rows of the old lanes to those of the new: each goes where its rule says. Pure.

Rows are bytes as the changelogs have them; only those are read that must be merged or say something of their log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.agents.deadlines import Kind
from streams.core.breaker import Breaker, breaker_fields, strictest
from streams.core.errors import PortcullisError
from streams.core.executions import Approval
from streams.core.incident import Incident
from streams.names import WIDE_LANE, TableName
from streams.repartition.rules import CONTROL_RULES, DEADLINE_RULES, TABLE_RULES, ControlRule, TableRule, lane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# After the key of a row per window, see `streams/engine/tables.py`: a zero byte and the window's start.
_WINDOW_BYTES: Final = 9
_BOT_SCOPE: Final = "BOT"
_NO_LEAF: Final = -1
_SHOWN_MAX: Final = 80


class PlacingError(PortcullisError):
    """A row for which no rule says where it goes."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an old lane."""

    lane: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """From how many lanes to how many; `generation` is that of the old logs, from 1."""

    before: int
    after: int
    generation: int

    def lane_of(self, subject: bytes) -> int:
        """Return the new lane of a bot or market."""
        return lane_of(subject, self.after)

    def every(self) -> range:
        """Return all new lanes."""
        return range(self.after)


@dataclass(frozen=True, slots=True)
class Left:
    """A row that is not carried, and why."""

    table: TableName
    row: Row
    why: str

    def __str__(self) -> str:
        return f"{self.table} lane {self.row.lane} {self.row.key[:_SHOWN_MAX]!a}: {self.why}"


@dataclass(slots=True)
class Placed:
    """The rows of the new lanes by table and lane, and what was left behind."""

    lanes: int
    rows: dict[TableName, list[dict[bytes, bytes]]] = field(init=False)
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = {table: [{} for _ in range(self.lanes)] for table in TableName}

    def put(self, table: TableName, lanes: Iterable[int], key: bytes, value: bytes) -> None:
        """Put a row into lanes."""
        for lane in lanes:
            self.rows[table][lane][key] = value

    def count(self, table: TableName) -> int:
        """Return how many rows a table gets."""
        return sum(map(len, self.rows[table]))


def place(tables: Mapping[TableName, Sequence[Row]], change: Change) -> Placed:
    """Return where every row goes.

    Raises: PlacingError where a row is of no kind that has a rule.
    """
    placed = Placed(change.after)
    incidents = _place_incidents(tables[TableName.INCIDENTS], change, placed)
    for table, rule in TABLE_RULES.items():
        rows = tables[table]
        if rule in _KEYED:
            _place_keyed(table, rows, change, placed)
        elif rule is TableRule.CONTROL:
            _place_controls(rows, change, placed)
        elif rule is TableRule.DEADLINE:
            _place_deadlines(rows, incidents, change, placed)
    return placed


_KEYED: Final = (TableRule.BOT, TableRule.MARKET)
# What is in a key beside the bot or market.
_SUBJECTS: Final[dict[TableName, Callable[[bytes], bytes]]] = {
    TableName.AGENTS: lambda key: key,
    TableName.BOTS: lambda key: key,
    TableName.SCORES: lambda key: key,
    TableName.MARKETS: lambda key: key,
    TableName.DAILY_VALUE: lambda key: key[:-_WINDOW_BYTES],
    TableName.RECENT_IDS: lambda key: key[:-_WINDOW_BYTES].partition(b" ")[2],
    TableName.OPEN_ORDERS: lambda key: key.partition(b" ")[0],
    TableName.POSITIONS: lambda key: key.partition(b" ")[0],
}


def _place_keyed(table: TableName, rows: Sequence[Row], change: Change, placed: Placed) -> None:
    """Place rows by what their key begins with; one in another lane than its key's was never used there."""
    for row in rows:
        subject = _SUBJECTS[table](row.key)
        if _at_home(table, row, subject, change, placed):
            key, value = _rewritten(table, row, change)
            placed.put(table, (change.lane_of(subject),), key, value)


def _at_home(table: TableName, row: Row, subject: bytes, change: Change, placed: Placed) -> bool:
    """Say whether a row is where its subject's records went; note it where it is not."""
    home = lane_of(subject, change.before)
    if home != row.lane:
        placed.left.append(Left(table, row, f"of lane {home}, where nothing was decided by it"))
    return home == row.lane


def _rewritten(table: TableName, row: Row, change: Change) -> tuple[bytes, bytes]:
    """Return key and value as the new lane must have them, where they speak of the old lane's log."""
    if table is TableName.RECENT_IDS:  # keys begin with a place in the log, and the new one begins again at 0
        return b"g%d.%d.%b" % (change.generation, row.lane, row.key), row.value
    if table is TableName.OPEN_ORDERS:
        approval = Approval.from_row(orjson.loads(row.value))
        approval.log_index = _NO_LEAF
        return row.key, orjson.dumps(approval.to_row())
    return row.key, row.value


def _place_incidents(rows: Sequence[Row], change: Change, placed: Placed) -> dict[str, int]:
    """Place the open incidents; return the lane of each."""
    lanes = {}
    for row in rows:
        incident = Incident.from_row(orjson.loads(row.value))
        lane = change.lane_of(incident.target.encode()) if incident.scope == _BOT_SCOPE else WIDE_LANE
        lanes[incident.incident_id] = lane
        placed.put(TableName.INCIDENTS, (lane,), row.key, row.value)
    return lanes


def _place_deadlines(rows: Sequence[Row], incidents: Mapping[str, int], change: Change, placed: Placed) -> None:
    """Place what is due: a bot's with the bot, an incident's with the incident."""
    for row in rows:
        kind, _, about = row.key.decode().partition(" ")
        subject = about.partition(" ")[0]
        if kind not in tuple(Kind):
            raise PlacingError(f"deadlines: no rule for {row.key[:_SHOWN_MAX]!a}")
        if DEADLINE_RULES[Kind(kind)] is TableRule.INCIDENT:
            if subject in incidents:
                placed.put(TableName.DEADLINES, (incidents[subject],), row.key, row.value)
            else:
                placed.left.append(Left(TableName.DEADLINES, row, "its incident is closed"))
        elif _at_home(TableName.DEADLINES, row, subject.encode(), change, placed):
            placed.put(TableName.DEADLINES, (change.lane_of(subject.encode()),), row.key, row.value)


def _place_controls(rows: Sequence[Row], change: Change, placed: Placed) -> None:
    """Place kills, used commands, overrides and breakers; what several lanes have of one key is merged first."""
    by_key: dict[bytes, list[Any]] = {}
    for row in rows:
        rule, subject = _control(row.key)
        if rule is not ControlRule.BOT or _at_home(TableName.CONTROLS, row, subject, change, placed):
            by_key.setdefault(row.key, []).append(orjson.loads(row.value))
    for key, values in by_key.items():
        rule, subject = _control(key)
        merged = _MERGED[rule](values)
        one_lane = rule is ControlRule.BOT or (
            rule is ControlRule.BREAKER and not Breaker(**breaker_fields(merged)).stoppers()
        )
        lanes = (change.lane_of(subject),) if one_lane else change.every()
        placed.put(TableName.CONTROLS, lanes, key, orjson.dumps(merged))


def _control(key: bytes) -> tuple[ControlRule, bytes]:
    """Return the rule of a row of controls, and the bot or market that it is about."""
    word, _, about = key.partition(b" ")
    rule = CONTROL_RULES.get(word.decode())
    if rule is None:
        raise PlacingError(f"controls: no rule for {key[:_SHOWN_MAX]!a}")
    return rule, about.partition(b" ")[0]


def _merge_kills(rows: list[Any]) -> list[Any]:
    """Return a kill since the first lane had it, by everybody who ordered it anywhere."""
    command_id, _, since_ms = min(rows, key=lambda row: row[2])
    return [command_id, list(dict.fromkeys(name for row in rows for name in row[1])), since_ms]


def _merge_breakers(rows: list[Any]) -> list[Any]:
    """Return the strictest breaker of several: the longest open, by everybody who stopped it."""
    merged, *others = (Breaker(**breaker_fields(row)) for row in rows)
    for other in others:
        merged.trading_state = strictest(merged.trading_state, other.trading_state)
        merged.breaker_open_until_us = max(merged.breaker_open_until_us, other.breaker_open_until_us)
        scores = [score for score in (merged.breaker_score, other.breaker_score) if score is not None]
        merged.breaker_score = max(scores, default=None)
        merged.breaker_trips = max(merged.breaker_trips, other.breaker_trips)
        merged.breaker_probes = min(merged.breaker_probes, other.breaker_probes)
        stoppers = tuple(dict.fromkeys((*merged.stoppers(), *other.stoppers())))
        merged.stopped_by = " ".join(stoppers) or None
    return merged.breaker_row()


_MERGED: Final[dict[ControlRule, Callable[[list[Any]], list[Any]]]] = {
    ControlRule.EVERY_LANE: _merge_kills,
    ControlRule.ONCE: max,
    ControlRule.BOT: lambda rows: rows[0],
    ControlRule.BREAKER: _merge_breakers,
    ControlRule.LATEST: lambda rows: rows[-1],
}
