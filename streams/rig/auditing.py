"""`audit verify`: the logs rebuilt from the topic and from the warehouse, held against what the logs have signed."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from streams.audit.epochs import Epoch, beginning_problem, closing_problem, load_epochs
from streams.audit.verify import verify_timed_log
from streams.kafka.reading import ends_of, partitions_of, read_all, reader
from streams.names import Topic
from streams.rig.cosigned import check_cosigned
from streams.warehouse.columns import differences, expected_row, read_rows
from streams.warehouse.logs import WarehouseLogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clickhouse_connect.driver.client import Client

    from streams.audit.policy import TlogPolicy
    from streams.audit.verify import LogReport
    from streams.kafka.reading import Stored
    from streams.settings import Settings
    from streams.warehouse.columns import Row
    from streams.wire.log_keys import LogKey

_PROBLEMS_MAX: Final = 1_000
# The markers of one transaction are written to its partitions one after the other.
_MARKERS_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was rebuilt, and everything that does not hold."""

    verified: bool
    logs: int
    leaves: int
    checkpoints: int
    cosigned: int
    """Leaves under a checkpoint that satisfies the policy, where one was given."""
    warehouse_rows: int
    problems: tuple[str, ...]
    gaps: tuple[str, ...] = ()
    """What could not be checked."""
    keys: tuple[str, ...] = ()
    """The public keys of the logs that were checked."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class _Sums:
    logs: int = 0
    leaves: int = 0
    checkpoints: int = 0
    cosigned: int = 0
    rows: int = 0
    keys: set[str] = field(default_factory=set)


def verify_audit(
    settings: Settings,
    keys: Callable[[str], Sequence[LogKey]],
    warehouse: Client | None,
    policy: TlogPolicy | None = None,
) -> AuditReport:
    """Rebuild every log of the cluster, and hold the warehouse's rows against it where there is one.

    `keys` gives the public keys of a log by its origin; with a policy every log needs a cosigned checkpoint as well.

    Raises: KafkaException where the cluster does not answer, EpochError where the list of logs does not hold.
    """
    epochs = load_epochs(settings.pki, current_epoch(settings))
    problems: list[str] = []
    sums = _Sums()
    for before, epoch, following in zip((None, *epochs), epochs, (*epochs[1:], None), strict=False):
        events, notes = ends(settings, epoch)
        for lane in range(epoch.lanes):
            place = _Lane(before, epoch, following, lane, (events[lane], notes[lane]))
            _verify_lane(settings, place, keys, policy, sums, problems)
    if warehouse is not None:
        sums.rows = _compare_rows(settings, epochs[-1], warehouse, problems)
    return AuditReport(
        verified=not problems,
        logs=sums.logs,
        leaves=sums.leaves,
        checkpoints=sums.checkpoints,
        cosigned=sums.cosigned,
        warehouse_rows=sums.rows,
        problems=tuple(problems[:_PROBLEMS_MAX]),
        keys=tuple(sorted(sums.keys)),
    )


def current_epoch(settings: Settings) -> Epoch:
    """Return the open logs of the cluster. Raises: KafkaException where it does not answer."""
    with closing(reader(settings.require_cluster(), settings.kafka_security)) as consumer:
        lanes = len(partitions_of(consumer, [settings.topic_prefix + Topic.AUDIT_EVENTS]))
    return Epoch(settings.log_origin, lanes, settings.topic_prefix)


def read_topic(settings: Settings, epoch: Epoch, topic: Topic, lane: int, end: int | None = None) -> Iterator[Stored]:
    """Yield the records of a log's topic in order, before `end` where one is given."""
    servers, security = settings.require_cluster(), settings.kafka_security
    return read_all(servers, [epoch.prefix + topic], security, partition=lane, end=end)


@dataclass(frozen=True, slots=True)
class _Lane:
    before: Epoch | None
    epoch: Epoch
    following: Epoch | None
    number: int
    ends: tuple[int, int]
    """Of events and checkpoints, in this order in time."""


def ends(settings: Settings, epoch: Epoch) -> tuple[dict[int, int], dict[int, int]]:
    """Return the ends of events and of checkpoints, so that a log in use can be verified.

    Events that could be read before have their checkpoint among those; and each of these checkpoints covers events that
    can be read now: one that does not has signed what nobody can see.
    """
    with closing(reader(settings.require_cluster(), settings.kafka_security)) as consumer:
        events = ends_of(consumer, epoch.prefix + Topic.AUDIT_EVENTS)
        time.sleep(_MARKERS_S)
        return events, ends_of(consumer, epoch.prefix + Topic.AUDIT_CHECKPOINTS)


class _Leaves:
    """A log's leaves as they are read; once closed, only those before an offset."""

    def __init__(self, records: Iterator[Stored]) -> None:
        self._records = records
        self._end: int | None = None
        self.first = self.last = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        record = next(self._records)
        if self._end is not None and record.offset >= self._end:
            raise StopIteration
        self.last = record.value
        self.first = self.first or record.value
        return record.value

    def close_after(self, notes: Iterator[Stored], end: int) -> Iterator[bytes]:
        """Yield the notes' values; from then on leaves end there."""
        yield from (note.value for note in notes)
        self._end = end


def _verify_lane(
    settings: Settings,
    lane: _Lane,
    keys: Callable[[str], Sequence[LogKey]],
    policy: TlogPolicy | None,
    sums: _Sums,
    problems: list[str],
) -> None:
    epoch, number = lane.epoch, lane.number
    origin = epoch.log(number)
    leaves = _Leaves(read_topic(settings, epoch, Topic.AUDIT_EVENTS, number))
    notes = read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, number, lane.ends[1])
    closed = leaves.close_after(notes, lane.ends[0])
    known = keys(origin)
    sums.keys |= {key.verifier.vkey for key in known}
    report = verify_timed_log(leaves, closed, known, origin=origin)
    found = [f"{problem.kind.value}: {problem.detail}" for problem in report.problems]
    wrong_start = None if lane.before is None else beginning_problem(leaves.first, lane.before)
    found += [] if wrong_start is None else [wrong_start]
    found += [] if lane.following is None else _closing(epoch, number, lane.following, report, leaves.last)
    if policy is not None:
        cosigned = read_topic(settings, epoch, Topic.AUDIT_COSIGNATURES, number)
        again = read_topic(settings, epoch, Topic.AUDIT_EVENTS, number)
        size, wrong = check_cosigned(origin, values(again), values(cosigned), policy)
        sums.cosigned += size
        found += wrong
    problems += [f"log {origin}: {text}" for text in found]
    sums.logs, sums.leaves = sums.logs + 1, sums.leaves + report.leaves
    sums.checkpoints += report.checkpoints


def values(records: Iterator[Stored]) -> Iterator[bytes]:
    """Yield the records' values."""
    return (record.value for record in records)


def _closing(epoch: Epoch, number: int, following: Epoch, report: LogReport, last: bytes) -> list[str]:
    """Return why a closed log is not as it was closed."""
    final = epoch.finals[number]
    found = [closing_problem(last, following)]
    if (report.leaves, report.root) != (final.size, final.root):
        found.append(f"closed with {final.size} leaves and root {final.root.hex()}, has {report.leaves} and others")
    return [text for text in found if text is not None]


def _compare_rows(settings: Settings, epoch: Epoch, warehouse: Client, problems: list[str]) -> int:
    """Hold the warehouse, which has the open epoch's rows, against the topics; return how many rows there are."""
    rows = 0
    for number in range(epoch.lanes):
        leaves = values(read_topic(settings, epoch, Topic.AUDIT_EVENTS, number))
        rows += compare_rows(number, leaves, read_rows(warehouse, number), problems)
        notes = values(read_topic(settings, epoch, Topic.AUDIT_CHECKPOINTS, number))
        stored = (note for _, note in WarehouseLogs(warehouse, epoch.lanes).checkpoints(number))
        problems += compare_notes(number, notes, stored)
    return rows


def compare_rows(number: int, leaves: Iterator[bytes], rows: Iterator[tuple[bytes, Row]], problems: list[str]) -> int:
    """Hold a log's rows against its leaves, column by column; return how many rows there are."""
    count = 0
    for index, (leaf, row) in enumerate(zip_longest(leaves, rows)):
        if row is None or leaf is None:
            where = "the warehouse" if row is None else "the topic"
            problems.append(f"log {number} leaf {index}: missing in {where}")
            count += row is not None
            continue
        count += 1
        if leaf != row[0]:
            problems.append(f"log {number} leaf {index}: the warehouse has another leaf")
            continue
        wrong = differences(expected_row(leaf), row[1])
        if wrong:
            problems.append(f"log {number} leaf {index}: the row's {', '.join(wrong)} are not the leaf's")
    return count


def compare_notes(number: int, notes: Iterator[bytes], stored: Iterator[bytes]) -> list[str]:
    """Hold the warehouse's checkpoints of a log against the topic's."""
    pairs = enumerate(zip_longest(notes, stored))
    return [
        f"log {number} checkpoint {place}: not the same in topic and warehouse" for place, (a, b) in pairs if a != b
    ]
