"""Where past orders are read: each lane's audit events, first to last."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.core.errors import PortcullisError
from streams.kafka.reading import partitions_of, read_all, reader
from streams.names import Topic
from streams.warehouse.connection import connect, embedded_folder
from streams.warehouse.tables import AUDIT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings

_SIZE_BYTES: Final = 4
_CONSUME_MAX: Final = 5_000
_POLL_S: Final = 0.2


class HistoryError(PortcullisError):
    """There is no past to read, or not of the form that was written."""


class History(Protocol):
    """The logs of all lanes."""

    @property
    def parallel(self) -> bool:
        """Tell whether several processes may read at once, a lane each."""
        ...

    def lanes(self) -> list[int]:
        """Return the lanes' numbers."""
        ...

    def leaves(self, lane: int) -> Iterator[bytes]:
        """Yield a lane's audit events as they were appended."""
        ...


@dataclass(frozen=True, slots=True)
class TopicHistory:
    """The topic `audit.events` of a cluster."""

    settings: Settings
    parallel: bool = True

    def lanes(self) -> list[int]:
        """Return the topic's partitions."""
        with closing(reader(self.settings.require_cluster(), self.settings.kafka_security)) as consumer:
            return sorted(number for _, number in partitions_of(consumer, [self._topic]))

    def leaves(self, lane: int) -> Iterator[bytes]:
        """Yield the committed records, up to the end seen on the way."""
        servers, security = self.settings.require_cluster(), self.settings.kafka_security
        for record in read_all(servers, [self._topic], security, partition=lane):
            yield record.value

    def follow(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """Yield lane and leaf of all that was committed, and of what is committed meanwhile, until time is over."""
        servers, security = self.settings.require_cluster(), self.settings.kafka_security
        deadline_s = time.monotonic() + seconds
        with closing(reader(servers, security)) as consumer:
            consumer.assign([TopicPartition(self._topic, lane, OFFSET_BEGINNING) for lane in self.lanes()])
            while time.monotonic() < deadline_s:
                for message in consumer.consume(_CONSUME_MAX, _POLL_S):
                    if message.error() is None:
                        yield message.partition() or 0, message.value() or b""

    @property
    def _topic(self) -> str:
        return self.settings.topic_prefix + Topic.AUDIT_EVENTS


class WarehouseHistory:
    """The table of audit events; a warehouse in a folder is read by one process at a time."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.parallel = embedded_folder(dsn) is None

    def lanes(self) -> list[int]:
        """Return the partitions that have rows."""
        with closing(connect(self._dsn)) as client:
            found = client.query(f"SELECT DISTINCT kafka_partition FROM {AUDIT_EVENTS.name} ORDER BY 1")  # noqa: S608
            return [int(row[0]) for row in found.result_rows]

    def leaves(self, lane: int) -> Iterator[bytes]:
        """Yield the rows' leaves in the order of the log."""
        sql = (
            f"SELECT leaf FROM {AUDIT_EVENTS.name}"  # noqa: S608 - our own name
            " WHERE kafka_partition = {lane:Int32} ORDER BY kafka_partition, kafka_offset"
        )
        with (
            closing(connect(self._dsn)) as client,
            client.query_row_block_stream(sql, {"lane": lane}, query_formats={"String": "bytes"}) as blocks,
        ):
            for block in blocks:
                for (leaf,) in block:
                    yield leaf


@dataclass(frozen=True, slots=True)
class FileHistory:
    """A folder with a file per lane: each leaf after its length (4 bytes, big-endian)."""

    folder: Path
    parallel: bool = True

    def lanes(self) -> list[int]:
        """Return the numbers of the files."""
        return sorted(int(path.stem.removeprefix("lane-")) for path in self.folder.glob("lane-*.leaves"))

    def path(self, lane: int) -> Path:
        """Return a lane's file."""
        return self.folder / f"lane-{lane}.leaves"

    def leaves(self, lane: int) -> Iterator[bytes]:
        """Yield a file's leaves. Raises: HistoryError where it ends within one."""
        with self.path(lane).open("rb") as file:
            while size := file.read(_SIZE_BYTES):
                leaf = file.read(int.from_bytes(size, "big"))
                if len(leaf) != int.from_bytes(size, "big"):
                    raise HistoryError(f"{self.path(lane)} ends within a leaf")
                yield leaf


def write_leaf(leaf: bytes) -> bytes:
    """Return a leaf as a file of `FileHistory` holds it."""
    return len(leaf).to_bytes(_SIZE_BYTES, "big") + leaf
