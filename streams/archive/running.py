"""Running the archive: the store by its address, the follower over all lanes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from streams.archive.archiver import PARALLEL, Archiver
from streams.archive.store import FolderStore
from streams.audit.alerting import AlertSender, KafkaPublisher
from streams.audit.follower import Follower, count_lanes, open_consumer
from streams.audit.segments import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event

    from streams.archive.store import ObjectStore
    from streams.pulse import Pulse
    from streams.wire.log_keys import LogKey

_log = structlog.get_logger(__name__)


def open_store(address: str, years: int) -> ObjectStore:
    """Return the store of an address: `s3://bucket/prefix?endpoint=…`, or a folder.

    Raises: StoreError, WrongStoreError.
    """
    if address.startswith("s3://"):
        from streams.archive.s3 import S3Store  # noqa: PLC0415 - an extra: only who uses it needs it

        return S3Store.open(address, years, connections=PARALLEL)
    return FolderStore(Path(address))


def run_archive(
    cluster: Mapping[str, str],
    prefix: str,
    log_origin: str,
    keys: Callable[[str], Sequence[LogKey]],
    store: ObjectStore,
    stop: Event,
    *,
    pulse: Pulse | None = None,
) -> None:
    """Archive every log until asked to stop; `keys` gives a log's public keys by its origin.

    Raises: FollowError where Kafka has not the topics.
    """
    consumer = open_consumer(cluster, f"{prefix}portcullis-archive")
    archiver = None
    try:
        origins = {lane: f"{log_origin}/{lane}" for lane in range(count_lanes(consumer, prefix))}
        alerts = AlertSender(KafkaPublisher(cluster, prefix), "archive")
        archiver = Archiver(consumer, store, origins, alerts, prefix=prefix)
        begin = {lane: follow(origin, keys(origin)) for lane, origin in origins.items()}
        _log.info("archiving", logs=len(origins))
        Follower(consumer, begin, archiver, prefix=prefix, pulse=pulse).run(stop)
    finally:
        if archiver is not None:
            archiver.close()
        consumer.close()
