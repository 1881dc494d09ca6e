"""What a cluster says before the move: the rows, and everything that forbids it."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, TopicPartition

from streams.audit.epochs import LOG_BEGUN, details_of, load_epochs, reuse_problem
from streams.engine.changelog import changelog_topic, table_and_key
from streams.kafka.reading import ends_of, partitions_of, read_all, reader
from streams.names import LANE_SOURCES, TableName, Topic
from streams.repartition.placing import Row
from streams.rig.auditing import current_epoch
from streams.topics.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streams.audit.epochs import Epoch
    from streams.settings import Settings

KILL_ALL: Final = b"ALL"
ROWS_SHA256: Final = "rows_sha256"
"""What LOG_BEGUN says of the rows that its lane began with."""
_TIMEOUT_S: Final = 20.0
_SHOWN_MAX: Final = 5

Tables = dict[TableName, list[Row]]


@dataclass(frozen=True, slots=True)
class Survey:
    """The installation as it is: its open logs, its rows, and why it may not be moved now."""

    epoch: Epoch
    tables: Tables
    problems: tuple[str, ...]


def survey(settings: Settings, following: Epoch) -> Survey:
    """Look at everything and name all problems at once; changes nothing.

    Raises: KafkaException where the cluster does not answer, EpochError where the list of logs does not hold.
    """
    epoch = current_epoch(settings)
    tables = read_tables(settings)
    found = [reuse_problem(load_epochs(settings.pki, epoch), following), *_not_at_rest(settings, epoch, tables)]
    if epoch.lanes == following.lanes:
        found.append(f"lanes: another number than {epoch.lanes} required")
    return Survey(epoch, tables, tuple(problem for problem in found if problem is not None))


def read_tables(settings: Settings) -> Tables:
    """Return the last row of every key, by table; of each lane its own.

    Raises: ValueError where a record is of no table.
    """
    last: dict[TableName, dict[tuple[int, bytes], bytes]] = {table: {} for table in TableName}
    for record in read_all(settings.require_cluster(), [changelog_topic(settings.group)], settings.kafka_security):
        table, key = table_and_key(record.key)
        rows, place = last[TableName(table)], (record.partition, key)
        rows.pop(place, None)
        if record.value:
            rows[place] = record.value
    return {
        table: [Row(lane, key, value) for (lane, key), value in sorted(rows.items())] for table, rows in last.items()
    }


def unread(settings: Settings) -> dict[str, int]:
    """Return how many committed records of each lane's sources no lane has taken, by topic and partition.

    Records, not offsets: a topic that is written in transactions ends with a marker that nobody commits.
    """
    servers, topics = settings.require_cluster(), [settings.topic_prefix + topic for topic in LANE_SOURCES]
    consumer = Consumer({**settings.cluster(), "group.id": settings.group, "enable.auto.commit": False})
    try:
        places = [TopicPartition(*place) for place in partitions_of(consumer, topics)]
        committed = consumer.committed(places, timeout=_TIMEOUT_S)
    finally:
        consumer.close()
    starts = {(place.topic, place.partition): place.offset for place in committed if place.offset >= 0}
    left = Counter(
        f"{record.topic}-{record.partition}"
        for record in read_all(servers, topics, settings.kafka_security, starts=starts)
    )
    return dict(sorted(left.items()))


def _not_at_rest(settings: Settings, epoch: Epoch, tables: Tables) -> Iterator[str]:
    """Yield why the old lanes are not stopped, drained and killed."""
    yield from writers(settings)
    left = unread(settings)
    if left:
        first = ", ".join(f"{place}: {count}" for place, count in list(left.items())[:_SHOWN_MAX])
        yield f"unread records: 0 required, has {sum(left.values())} ({first}): let the workers read them first"
    killed = {row.lane for row in tables[TableName.CONTROLS] if row.key == KILL_ALL}
    alive = sorted(set(range(epoch.lanes)) - killed)
    if alive:
        yield f"KILL ALL: in force in every lane required, is not in {alive}"


def writers(settings: Settings) -> Iterator[str]:
    """Yield who writes the old lanes, or still could."""
    members = Admin(settings.cluster()).members(settings.group)
    if members:
        yield f"workers: none in group {settings.group} required, has {', '.join(members)}"
    unfinished = _open_transactions(settings)
    if unfinished:
        yield f"open transactions: none required, in {', '.join(unfinished[:_SHOWN_MAX])}; they end within a minute"


def _open_transactions(settings: Settings) -> list[str]:
    """Return where a transaction is open: a worker that was killed in one, or will go on, could still commit it."""
    names = [settings.topic_prefix + Topic.AUDIT_EVENTS, changelog_topic(settings.group)]
    servers, ends = settings.require_cluster(), list[dict[tuple[str, int], int]]()
    for level in ("read_committed", "read_uncommitted"):
        with closing(reader(servers, settings.kafka_security, **{"isolation.level": level})) as consumer:
            ends.append({(name, lane): end for name in names for lane, end in ends_of(consumer, name).items()})
    stable, written = ends
    return [f"{name}-{lane}" for (name, lane), end in written.items() if stable[name, lane] < end]


def begun_lanes(
    settings: Settings, following: Epoch, topics: Sequence[str], digests: Mapping[int, str]
) -> tuple[set[int], list[str]]:
    """Return which new lanes have exactly the rows that they are to get, and every other that is not empty.

    `topics`: all of the new ones that exist; `digests`: of the rows that each lane is to get.
    """
    events, servers = following.prefix + Topic.AUDIT_EVENTS, settings.require_cluster()
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    said: dict[int, str | None] = {}
    for record in read_all(servers, topics, settings.kafka_security) if topics else ():
        counts[record.partition][record.topic] += 1
        if record.topic == events:
            said[record.partition] = (details_of(record.value, LOG_BEGUN) or {}).get(ROWS_SHA256)
            if counts[record.partition][events] > 1:
                break  # in use: how much more there is does not matter
    done = {lane for lane, digest in digests.items() if counts[lane][events] == 1 and said[lane] == digest}
    problems = [
        f"new lane {lane}: empty topics required, has "
        + ", ".join(f"{name}: {count}" for name, count in found.most_common(_SHOWN_MAX))
        for lane, found in counts.items()
        if found and lane not in done
    ]
    return done, problems
