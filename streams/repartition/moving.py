"""The move: look, close the old logs, place the rows, write the new lanes, read them back, note the epoch.

Each step may be repeated: logs that are closed for the same that follow stay as they are, a lane that has its rows is
passed over. So a move that broke off is run again with the same arguments.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from streams.agents.journal import FRONTIER, GENERATION, decided_us_of
from streams.audit.epochs import save_closed
from streams.engine.changelog import changelog_topic
from streams.kafka.reading import read_all
from streams.names import TableName, Topic
from streams.repartition.carried import carry
from streams.repartition.looking import begun_lanes, read_tables, survey, unread, writers
from streams.repartition.placing import Change, place
from streams.repartition.rules import CARRIED_TOPICS, TABLE_RULES, TOPIC_RULES
from streams.repartition.writing import (
    Begin,
    RepartitionError,
    check_rows,
    make_topics,
    moved_settings,
    new_topology,
    rows_sha256,
    write_lane,
)
from streams.rig.closing import close_logs
from streams.topics.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams.audit.epochs import Epoch
    from streams.repartition.carried import Carried
    from streams.repartition.looking import Tables
    from streams.repartition.placing import Placed
    from streams.settings import Settings

_MARKERS_S: Final = 5.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved, or would be: by table rows read and written, by topic records written, and why it is not done."""

    old: Epoch
    new: Epoch
    moved: bool
    problems: tuple[str, ...]
    tables: dict[str, tuple[int, int, str]]
    topics: dict[str, tuple[int, str]]
    left: tuple[str, ...]
    late: dict[str, int] = field(default_factory=dict)
    """Records that came to the old topics while they were moved: nobody reads them."""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "moved": self.moved,
            "from": {"origin": self.old.origin, "prefix": self.old.prefix, "lanes": self.old.lanes},
            "to": {"origin": self.new.origin, "prefix": self.new.prefix, "lanes": self.new.lanes},
            "tables": {name: {"read": read, "written": written} for name, (read, written, _) in self.tables.items()},
            "topics": {name: written for name, (written, _) in self.topics.items()},
            "left": list(self.left),
            "late": self.late,
            "problems": list(self.problems),
            "seconds": self.seconds,
        }


def repartition(
    settings: Settings, following: Epoch, *, by: str, now_us: int, dry_run: bool, tell: Callable[[str], object]
) -> Moved:
    """Move the installation of the settings to the lanes that follow; `tell` is told of each step.

    Nothing is changed where a problem is found, or in a dry run.

    Raises: RepartitionError, ClosingError, EpochError, PlacingError, ClusterUnavailableError, KafkaException.
    """
    began = time.monotonic()
    topology = new_topology(following)
    tell("reading the old lanes")
    found = survey(settings, following)
    plan = _plan(settings, found.epoch, following, found.tables, now_us)
    there = sorted(
        Admin(settings.cluster()).look((*topology.families, moved_settings(settings, following).group)).topics
    )
    _, not_empty = begun_lanes(settings, following, there, plan.digests())
    problems = (*found.problems, *not_empty)
    if problems or dry_run:
        return plan.report(moved=False, problems=problems, seconds=time.monotonic() - began)
    tell("closing the old logs")
    finals = close_logs(settings, following, by=by, now_us=now_us)
    closed = replace(found.epoch, finals=finals)
    # Only now no worker can begin on the old lanes any more.
    _require_nobody(settings)
    plan = _plan(settings, closed, following, read_tables(settings), now_us)
    tell(f"writing {following.lanes} new lanes")
    _write(settings, plan, Begin(closed, following, plan.change, by, plan.at_us))
    tell("reading them back")
    check_rows(settings, following, plan.placed)
    late = unread(settings)
    save_closed(settings.pki, found.epoch, finals, following)
    return replace(plan.report(moved=True, problems=(), seconds=time.monotonic() - began), late=late)


@dataclass(frozen=True, slots=True)
class _Plan:
    old: Epoch
    new: Epoch
    change: Change
    tables: Tables
    placed: Placed
    carried: tuple[Carried, ...]
    at_us: int
    """No log begins before the last decision of those before it."""

    def digests(self) -> dict[int, str]:
        return {lane: rows_sha256(self.placed, lane) for lane in self.change.every()}

    def report(self, *, moved: bool, problems: tuple[str, ...], seconds: float) -> Moved:
        rows = {table: (len(self.tables[table]), self.placed.count(table)) for table in TableName}
        rows[TableName.LOG] = (len(self.tables[TableName.LOG]), 2 * self.new.lanes)
        records = {topic: sum(record.topic is topic for record in self.carried) for topic in CARRIED_TOPICS}
        records |= dict.fromkeys((Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS), self.new.lanes)
        return Moved(
            old=self.old,
            new=self.new,
            moved=moved,
            problems=problems,
            tables={str(table): (*rows[table], rule.value) for table, rule in TABLE_RULES.items()},
            topics={str(topic): (records.get(topic, 0), rule.value) for topic, rule in TOPIC_RULES.items()},
            left=tuple(map(str, self.placed.left)),
            seconds=round(seconds, 2),
        )


def _plan(settings: Settings, old: Epoch, new: Epoch, tables: Tables, now_us: int) -> _Plan:
    logs = tables[TableName.LOG]
    generations = [int(row.value) for row in logs if row.key == GENERATION.encode()]
    decided_us = [decided_us_of(row.value) for row in logs if row.key == FRONTIER.encode()]
    change = Change(old.lanes, new.lanes, max(generations, default=1))
    placed = place(tables, change)
    at_us = max(now_us, *decided_us, 0)
    carried = carry(placed, _breakers(settings), change, at_us)
    return _Plan(old, new, change, tables, placed, carried, at_us)


def _require_nobody(settings: Settings) -> None:
    """Raise RepartitionError where a worker writes that came while the logs were closed; markers take a moment."""
    deadline = time.monotonic() + _MARKERS_S
    while found := list(writers(settings)):
        if time.monotonic() > deadline:
            raise RepartitionError(f"while the logs were closed: {'; '.join(found)}; stop them and go on")
        time.sleep(_POLL_S)


def _breakers(settings: Settings) -> Iterator[tuple[bytes, bytes]]:
    topic = settings.topic_prefix + Topic.RISK_CIRCUIT_BREAKERS
    for record in read_all(settings.require_cluster(), [topic], settings.kafka_security):
        yield record.key, record.value


def _write(settings: Settings, plan: _Plan, begin: Begin) -> None:
    """Write every lane that has not its rows yet."""
    make_topics(settings, plan.new)
    moved = moved_settings(settings, plan.new)
    topology = new_topology(plan.new)
    names = [*map(topology.name_of, topology.topics), changelog_topic(moved.group)]
    done, _ = begun_lanes(settings, plan.new, names, plan.digests())
    for lane in plan.change.every():
        if lane not in done:
            write_lane(settings, begin, plan.placed, plan.carried, lane)
