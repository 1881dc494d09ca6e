"""Writing the new lanes: one transaction each, so that a lane has all of its state or none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from streams import topics
from streams.agents.journal import FRONTIER, GENERATION, frontier_row
from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf
from streams.engine.changelog import changelog_key, changelog_topic
from streams.kafka.producing import Sender
from streams.names import LANE_SOURCES, TableName, Topic
from streams.repartition.looking import ROWS_SHA256, read_tables
from streams.rig.closing import beginning_leaf
from streams.wire.log_keys import log_signers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from streams.audit.epochs import Epoch
    from streams.repartition.carried import Carried
    from streams.repartition.placing import Change, Placed
    from streams.settings import Settings

_TRANSACTION_MS: Final = 600_000


class RepartitionError(PortcullisError):
    """The new lanes are not as they must be."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What all new lanes begin with: the closed epoch, the one that follows, who decided it, when (us UTC)."""

    before: Epoch
    following: Epoch
    change: Change
    by: str
    at_us: int


def moved_settings(settings: Settings, following: Epoch) -> Settings:
    """Return the settings with which the new lanes are run."""
    return replace(
        settings, topic_prefix=following.prefix, log_origin=following.origin, lanes=following.lanes, instance_id=""
    )


def new_topology(following: Epoch) -> topics.Topology:
    """Return the new topics. Raises: TopologyError where prefix or number do not hold."""
    return topics.load_topology(lanes=following.lanes, prefix=following.prefix)


def make_topics(settings: Settings, following: Epoch) -> None:
    """Create the new topics where they are missing, those of the tables too.

    Raises: RepartitionError where one is there and differs, ClusterUnavailableError.
    """
    topology = new_topology(following)
    refused = topics.apply(topology, settings.cluster()).refused
    if refused:
        raise RepartitionError("; ".join(map(str, refused)))
    group = moved_settings(settings, following).group
    topics.make_changelog(topology, settings.cluster(), changelog_topic(group))


def rows_sha256(placed: Placed, lane: int) -> str:
    """Return the digest of the rows that a lane gets: table, key and value of each, each after its length."""
    digest = hashlib.sha256()
    for table in sorted(TableName):
        for key, value in sorted(placed.rows[table][lane].items()):
            for part in (table.encode(), key, value):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def write_lane(settings: Settings, begin: Begin, placed: Placed, carried: Iterable[Carried], lane: int) -> None:
    """Write a lane's rows, records, first leaf and first checkpoint in one transaction.

    Raises: KafkaException where it was not committed.
    """
    moved = moved_settings(settings, begin.following)
    transactional = {"transactional.id": f"{moved.group}-repartition-{lane}", "transaction.timeout.ms": _TRANSACTION_MS}
    sender = Sender(moved.require_cluster(), moved.kafka_security, **transactional)
    with sender.transaction():
        changelog = changelog_topic(moved.group)
        for table in TableName:
            for key, value in placed.rows[table][lane].items():
                sender.send(changelog, changelog_key(table, key), value, partition=lane)
        for record in carried:
            if record.lane == lane:
                topic = moved.topic_prefix + record.topic
                sender.send(topic, record.key, record.value, record.headers, partition=lane)
        leaf, note, log_rows = begun_log(moved.pki, begin, placed, lane)
        sender.send(moved.topic_prefix + Topic.AUDIT_EVENTS, b"", leaf, partition=lane)
        sender.send(
            moved.topic_prefix + Topic.AUDIT_CHECKPOINTS, begin.following.log(lane).encode(), note, partition=lane
        )
        for name, row in log_rows.items():
            sender.send(changelog, changelog_key(TableName.LOG, name.encode()), row, partition=lane)
        # A worker that finds rows but no offsets does not guess where they end.
        offsets = dict.fromkeys(((moved.topic_prefix + topic, lane) for topic in LANE_SOURCES), 0)
        sender.send_offsets(offsets, {**moved.cluster(), "group.id": moved.group})


def begun_log(pki: Path, begin: Begin, placed: Placed, lane: int) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Return how a lane's log begins: its first leaf, the checkpoint over it, and the rows of the log's table."""
    origin = begin.following.log(lane)
    details = {ROWS_SHA256: rows_sha256(placed, lane)}
    leaf = beginning_leaf(lane, begin.at_us, begin.by, begin.before, details)
    tree = Frontier().append(hash_leaf(leaf))
    note = sign_checkpoint(Checkpoint(origin, tree.size, tree.root()), *log_signers(pki, origin).at(begin.at_us))
    generation = str(begin.change.generation + 1).encode()
    return leaf, note, {FRONTIER: frontier_row(begin.at_us, tree), GENERATION: generation}


def check_rows(settings: Settings, following: Epoch, placed: Placed) -> None:
    """Read the new tables back. Raises: RepartitionError where they are not what was to be written."""
    found = read_tables(moved_settings(settings, following))
    for table in TableName:
        if table is TableName.LOG:
            continue
        wanted = {(lane, key): value for lane, rows in enumerate(placed.rows[table]) for key, value in rows.items()}
        if wanted != {(row.lane, row.key): row.value for row in found[table]}:
            raise RepartitionError(f"{table}: {len(wanted)} rows written, others are read back")
