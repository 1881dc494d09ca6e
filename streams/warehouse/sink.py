"""The sink: records from Kafka into the warehouse, each exactly once, none skipped.

The warehouse's own rows say where to go on, so Kafka keeps no offsets for the sink, and no group decides who reads
what. Records are read when their transaction is committed. While the warehouse is down, the sink waits with what it has
and reads nothing more.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.core.errors import PortcullisError
from streams.pulse import Pulse
from streams.warehouse.rows import Block, Record, cut_blocks
from streams.warehouse.serve import serve_reads
from streams.warehouse.store import DisplacedError, Store, UnreadableBlockError
from streams.warehouse.tables import STORED_TOPICS, UNREADABLE_RECORDS
from streams.wire.avro import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from confluent_kafka import Message

_log = structlog.get_logger(__name__)

PARTS: Final = ("positioned", "warehouse")
_POLL_RECORDS: Final = 10_000
# A broker is away or a leader moves: the client asks again by itself, from where it stands. Anything else could mean
# that records were passed over, so it stops the sink.
_TRANSIENT: Final = frozenset(
    {
        *(KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT),  # noqa: SLF001
        *(KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REPLICA_NOT_AVAILABLE),
        *(KafkaError.BROKER_NOT_AVAILABLE, KafkaError.REQUEST_TIMED_OUT, KafkaError.NETWORK_EXCEPTION),
        *(KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.KAFKA_STORAGE_ERROR),
        *(KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.OFFSET_NOT_AVAILABLE),
    }
)


class SinkError(PortcullisError):
    """The sink cannot go on without losing records, or Kafka refuses it."""


class SinkStoppedError(PortcullisError):
    """The sink was asked to stop while it waited for the warehouse; what it held is read again next time."""


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Where the sink reads, and how much it gathers for a block.

    A block is stored when its records are `flush_ms` old, or when all that is gathered passes a limit. Rows of a block
    stay below the store's limit because no more than `rows_max` and one poll are gathered.
    """

    bootstrap_servers: str
    topic_prefix: str = ""
    group_id: str = "portcullis-warehouse"
    flush_ms: int = 1000
    rows_max: int = 30_000
    bytes_max: int = 32_000_000
    timeout_s: float = 20.0
    security: Mapping[str, str] = field(default_factory=dict)

    def consumer(self) -> Consumer:
        """Return a consumer of committed records that never moves its offsets by itself."""
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": self.topic_prefix + self.group_id,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Records deleted before they were stored are an error, never a jump.
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 32_768,
                **self.security,
            }
        )


class Source(Protocol):
    """What the sink asks of a consumer."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these partitions from their offsets on."""

    def consume(self, num_messages: int = ..., timeout: float = ...) -> Sequence[Message]:
        """Return the next messages, none if none came in time (seconds)."""


class Sink:
    """Read the stored topics' partitions and append them to a store."""

    def __init__(
        self,
        source: Source,
        store: Store,
        options: SinkOptions,
        partitions: Mapping[str, int],
        pulse: Pulse | None = None,
    ) -> None:
        self._source, self._pulse = source, pulse or Pulse("warehouse", *PARTS)
        self._store = store
        self._options = options
        self._held: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self._read_to: dict[tuple[str, int], int] = {}
        self._held_rows = self._held_bytes = 0
        self._oldest_s = 0.0
        starts = [self._start(topic, p) for topic, count in partitions.items() for p in range(count)]
        source.assign(starts)
        self._pulse.set("positioned", holds=True)

    def run(self, stop: Event) -> None:
        """Store records until asked to stop; what is held then is stored first."""
        try:
            while not stop.is_set():
                self._pulse.turn(self.step())
            self.flush()
        except SinkStoppedError:
            _log.warning("stopped while the warehouse was down", held=self._held_rows)

    def step(self) -> int:
        """Read once, store what is due; return how many records were read."""
        wait_s = self._options.flush_ms / 1000 - (time.monotonic() - self._oldest_s) if self._held_rows else 0.5
        messages = self._source.consume(_POLL_RECORDS, max(wait_s, 0.0))
        for message in messages:
            self._take(message)
        if self._is_due():
            self.flush()
        self._pulse.set("warehouse", holds=True)
        return len(messages)

    def flush(self) -> None:
        """Store all that is held."""
        self._store_held()
        self._held.clear()
        self._held_rows = self._held_bytes = 0

    def drain(self, ends: Mapping[tuple[str, int], int], *, timeout_s: float = 60.0) -> None:
        """Read and store all before these ends (topic, partition → offset).

        Raises:
            SinkError: it takes too long.
        """
        deadline_s = time.monotonic() + timeout_s
        while behind := {place: end for place, end in ends.items() if self._read_to.get(place, 0) < end}:
            if time.monotonic() > deadline_s:
                raise SinkError(f"not at the ends after {timeout_s:g} s: {behind}")
            self.step()
        self.flush()

    def _start(self, topic: str, partition: int) -> TopicPartition:
        last = self._store.last(topic, partition)
        return TopicPartition(
            self._options.topic_prefix + topic, partition, last + 1 if last >= 0 else OFFSET_BEGINNING
        )

    def _take(self, message: Message) -> None:
        topic, partition = (message.topic() or "").removeprefix(self._options.topic_prefix), message.partition() or 0
        offset, error = message.offset() or 0, message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are named so
                self._read_to[topic, partition] = offset
                return
            if error.code() not in _TRANSIENT:
                raise SinkError(f"{message.topic()}/{partition}, offset {offset}: {error.str()}")
            _log.warning("Kafka does not answer", topic=topic, partition=partition, error=error.str())
            return
        if offset < self._read_to.get((topic, partition), 0):
            raise SinkError(
                f"{message.topic()}/{partition}: offset {offset} after {self._read_to[topic, partition] - 1}"
            )
        value = message.value()
        if not self._held_rows:
            self._oldest_s = time.monotonic()
        self._held[topic, partition].append(
            Record(topic, partition, offset, message.timestamp()[1], message.key(), value)
        )
        self._read_to[topic, partition] = offset + 1
        self._held_rows += 1
        self._held_bytes += len(value or b"")

    def _is_due(self) -> bool:
        limits = self._options
        too_old = time.monotonic() - self._oldest_s >= limits.flush_ms / 1000
        return bool(self._held_rows) and (
            too_old or self._held_rows >= limits.rows_max or self._held_bytes >= limits.bytes_max
        )

    def _store_held(self) -> None:
        """Store what is held, but for what another sink has stored meanwhile."""
        while True:
            ends = {place: self._store.last(*place) for place in self._held}
            lanes = [[r for r in records if r.offset > ends[place]] for place, records in self._held.items()]
            try:
                for block in cut_blocks(lanes):
                    self._append(block)
            except DisplacedError as error:
                _log.warning("another sink writes to this warehouse", error=str(error))
            else:
                return

    def _append(self, block: Block) -> None:
        """Append a block; where the warehouse cannot read it, find the records at fault."""
        try:
            self._store.append(block)
        except UnreadableBlockError as error:
            if len(block.records) > 1:
                middle = len(block.records) // 2
                for half in (block.records[:middle], block.records[middle:]):
                    self._append(Block(block.table, half, block.error, block.rewritten))
            elif block.rewritten:
                self._append(Block(UNREADABLE_RECORDS, block.records, str(error)))
            else:
                self._append(Block(block.table, block.records, rewritten=True))
        except DecodeError as error:
            self._append(Block(UNREADABLE_RECORDS, block.records, str(error)))


def run_sink(dsn: str, options: SinkOptions, stop: Event, pulse: Pulse | None = None) -> None:
    """Run the sink until asked to stop: the process that owns an embedded warehouse.

    Raises:
        SinkError: Kafka has not the topics, or has deleted records that were never stored.
        StoreError: what is stored is not what was sent.
    """
    with open_sink(dsn, options, stop, pulse) as sink, serve_reads(dsn):
        sink.run(stop)


@contextmanager
def open_sink(dsn: str, options: SinkOptions, stop: Event, pulse: Pulse | None = None) -> Iterator[Sink]:
    """Yield a sink that goes on where the warehouse's rows end."""
    pulse = pulse or Pulse("warehouse", *PARTS)

    def pause(seconds: float) -> None:
        pulse.fail()
        pulse.set("warehouse", holds=False)
        pulse.turn()
        if stop.wait(seconds):
            raise SinkStoppedError("stopped while the warehouse was down")

    store = Store.open(dsn, pause=pause)
    consumer = options.consumer()
    pulse.watch(consumer)
    try:
        yield Sink(consumer, store, options, count_partitions(consumer, options), pulse)
    finally:
        consumer.close()
        store.close()


def count_partitions(consumer: Consumer, options: SinkOptions) -> dict[str, int]:
    """Return the stored topics and their numbers of partitions.

    Raises:
        SinkError: Kafka does not answer, or a topic is missing.
    """
    try:
        known = consumer.list_topics(timeout=options.timeout_s).topics
    except KafkaException as error:
        raise SinkError(f"Kafka does not answer: {error}") from error
    names = {str(topic): options.topic_prefix + topic for topic in STORED_TOPICS}
    counts = {topic: len(known[name].partitions) for topic, name in names.items() if name in known}
    missing = [name for topic, name in names.items() if not counts.get(topic)]
    if missing:
        raise SinkError(f"topics missing: {', '.join(missing)}")
    return counts


def read_ends(consumer: Consumer, options: SinkOptions) -> dict[tuple[str, int], int]:
    """Return each partition's end: the offset after its last committed record or marker."""
    ends: dict[tuple[str, int], int] = {}
    for topic, count in count_partitions(consumer, options).items():
        for partition in range(count):
            place = TopicPartition(options.topic_prefix + topic, partition)
            ends[topic, partition] = consumer.get_watermark_offsets(place, timeout=options.timeout_s)[1]
    return ends
