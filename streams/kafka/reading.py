"""Reading topics as a read-committed stranger would: whole, from the first record to the last committed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

FOLLOWING: Final = {"fetch.wait.max.ms": 100}
"""For readers that stay: what comes is told at once either way, and where nothing does the broker is asked less."""
_POLL_S: Final = 0.05  # a call returns no sooner, however soon the last record comes
_CONSUME_MAX: Final = 5_000
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as a topic holds it; `timestamp_us` is the broker's append time where the topic has LogAppendTime."""

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def stored(message: Message) -> Stored:
    """Return a client's message as a record."""
    headers = tuple(
        (str(name), _bytes(value)) for name, value in cast("list[tuple[str, bytes | None]]", message.headers() or [])
    )
    return Stored(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1] * 1000,
        message.key() or b"",
        message.value() or b"",
        headers,
    )


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def reader(bootstrap_servers: str, security: Mapping[str, str], **extra: Any) -> Consumer:  # noqa: ANN401
    """Return a read-committed consumer outside every group."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "portcullis-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "log_level": 0,  # a broker that is away shows as silence, and who waits has a time-out
            **security,
            **extra,
        }
    )


def partitions_of(consumer: Consumer, topics: Iterable[str]) -> list[tuple[str, int]]:
    """Return every partition of the topics.

    Raises: KafkaException where a topic does not exist.
    """
    found = []
    for topic in topics:
        metadata = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        found += [(topic, number) for number in sorted(metadata.partitions)]
    return found


def ends_of(consumer: Consumer, topic: str) -> dict[int, int]:
    """Return the offset after the last record that is committed and not behind an open transaction, by partition."""
    return {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT_S)[1]
        for _, number in partitions_of(consumer, [topic])
    }


def read_all(
    bootstrap_servers: str,
    topics: Iterable[str],
    security: Mapping[str, str],
    *,
    partition: int | None = None,
    end: int | None = None,
    starts: Mapping[tuple[str, int], int] | None = None,
) -> Iterator[Stored]:
    """Yield every committed record of the topics, in offset order per partition, up to the ends seen on the way.

    `partition`: of this number alone; `end`: only what stands before this offset; `starts`: where to begin, by topic
    and partition, elsewhere with the first record.
    """
    begin = starts or {}
    consumer = reader(bootstrap_servers, security)
    try:
        waiting = {place for place in partitions_of(consumer, topics) if partition in (None, place[1])}
        consumer.assign([TopicPartition(*place, begin.get(place, OFFSET_BEGINNING)) for place in sorted(waiting)])
        while waiting:
            for message in consumer.consume(_CONSUME_MAX, _POLL_S):
                error = message.error()
                if error is None:
                    if end is None or (message.offset() or 0) < end:
                        yield stored(message)
                    else:
                        waiting.discard((message.topic() or "", message.partition() or 0))
                elif error.name() == "_PARTITION_EOF":
                    waiting.discard((message.topic() or "", message.partition() or 0))
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
