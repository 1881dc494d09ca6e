"""The archive's work: each checked segment's events become objects, all of them, before the next offset is committed.

How far a lane was archived is the consumer group's committed offset; its metadata is the tree up to there, so a new
start needs no state of its own. Where the group was forgotten the archive begins again and finds its objects there.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.archive.holds import Holds
from streams.archive.objects import archived
from streams.archive.store import StoreError
from streams.audit.segments import Position
from streams.core.alert_kinds import AlertKind
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier
from streams.names import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.archive.store import ObjectStore
    from streams.audit.alerting import AlertSender
    from streams.audit.segments import Segment

_log = structlog.get_logger(__name__)

# Objects in flight: small ones cost a round trip each. More than the store's connections wait for nothing.
PARALLEL: Final = 16
_TIMEOUT_S: Final = 20.0
_SLOW_S: Final = 60.0


class Archiver:
    """Writes the logs of a cluster to a store; a `Handler` of the follower."""

    def __init__(
        self, consumer: Consumer, store: ObjectStore, origins: Mapping[int, str], alerts: AlertSender, *, prefix: str
    ) -> None:
        self.objects = 0
        """Objects written or found since the start."""
        self._consumer = consumer
        self._store = store
        self._origins = origins
        self._alerts = alerts
        self._prefix = prefix
        self._holds = Holds(store)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="archive")

    def close(self) -> None:
        """Wait for what is being written."""
        self._pool.shutdown()

    def start(self, lane: int) -> Position:
        """Return where to go on: the committed offsets and the tree in their metadata."""
        places = [TopicPartition(self._prefix + topic, lane) for topic in (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS)]
        try:
            leaf, note = self._consumer.committed(places, timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise StoreError(f"committed offsets of lane {lane}: {error}") from error
        if note.offset < 0:
            return Position()
        try:
            tree = Frontier.from_bytes(b64decode(note.metadata or "", validate=True))
        except (ValueError, PortcullisError):
            _log.warning("no tree with the committed offset: from the first event again", lane=lane)
            return Position()
        return Position(tree, leaf.offset, note.offset)

    def handle(self, lane: int, segments: Sequence[Segment]) -> None:
        """Write all events of these segments, then commit. Raises: PortcullisError; what was written stays."""
        began_s = time.monotonic()
        held = self._holds.agents()
        futures = [
            self._pool.submit(self._store.put_once, name, data, held=agent_id in held)
            for segment in segments
            for agent_id, name, data in archived(lane, segment)
        ]
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in done:
            future.result()
        self._commit(lane, segments[-1].after)
        self.objects += len(futures)
        if time.monotonic() - began_s > _SLOW_S:
            message = (
                f"archive of {self._origins[lane]}: {len(futures)} objects took {time.monotonic() - began_s:.0f} s"
            )
            self._alerts.critical(AlertKind.ARCHIVE_SLOW, self._origins[lane], message)

    def tell(self, lane: int, error: PortcullisError) -> None:
        """Alert: this log is not archived any further."""
        origin = self._origins[lane]
        self._alerts.critical(AlertKind.ARCHIVE_HELD, origin, f"archive of {origin} waits, nothing is skipped: {error}")

    def _commit(self, lane: int, after: Position) -> None:
        tree = b64encode(after.tree.to_bytes()).decode()
        offsets = [
            TopicPartition(self._prefix + Topic.AUDIT_EVENTS, lane, max(after.next_leaf, 0)),
            TopicPartition(self._prefix + Topic.AUDIT_CHECKPOINTS, lane, after.next_note, tree),
        ]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise StoreError(f"committed offsets of lane {lane}: {error}") from error
