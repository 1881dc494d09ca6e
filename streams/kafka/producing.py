"""Plain producers, as bots, markets, people and the rig use them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

    from streams.wire.headers import Header

STORING: Final = {
    "enable.idempotence": True,
    # With more requests in flight librdkafka 2.16 may store a record twice when the broker dies: what comes after a
    # failed request is refused as out of order, and then all that waits is sent again under a new epoch (issue 4953).
    "max.in.flight": 1,
    # Java's choice of partition: a bot's records must meet in one partition whatever client writes them.
    "partitioner": "murmur2_random",
}
"""What a producer of ours sets, so that each record is stored once and where its key belongs."""
_POLL_S: Final = 0.05
_FLUSH_S: Final = 60.0


class Sender:
    """A producer that counts what the broker acknowledged and keeps the first error."""

    def __init__(self, bootstrap_servers: str, security: Mapping[str, str], **extra: Any) -> None:  # noqa: ANN401
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                **STORING,
                "linger.ms": 2,
                "queue.buffering.max.messages": 200_000,
                "log_level": 0,  # what is not acknowledged is raised
                **security,
                **extra,
            }
        )
        self.acknowledged = 0
        self._error: KafkaError | None = None

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        *,
        partition: int | None = None,
    ) -> None:
        """Queue a record; waits while the queue is full.

        Raises: KafkaException where an earlier record was not acknowledged.
        """
        where = -1 if partition is None else partition  # -1: by key
        while True:
            try:
                self._producer.produce(
                    topic, value, key, headers=list(headers), partition=where, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(_POLL_S)
            else:
                break
        self._producer.poll(0)
        self._raise()

    def flush(self) -> None:
        """Wait until everything is acknowledged.

        Raises: KafkaException where something was not.
        """
        left = self._producer.flush(_FLUSH_S)
        self._raise()
        if left:
            raise KafkaException(f"{left} records not acknowledged within {_FLUSH_S:g} s")

    @contextmanager
    def transaction(self, timeout_s: float = _FLUSH_S) -> Iterator[None]:
        """Make one transaction of what is sent inside; needs a `transactional.id`, whose earlier holder is fenced.

        Raises: KafkaException where it was not committed.
        """
        self._producer.init_transactions(timeout_s)
        self._producer.begin_transaction()
        try:
            yield
            self.flush()
        except BaseException:
            self._producer.abort_transaction(timeout_s)
            raise
        self._producer.commit_transaction(timeout_s)

    def send_offsets(self, offsets: Mapping[tuple[str, int], int], group: Mapping[str, str]) -> None:
        """Commit offsets by topic and partition within the transaction; `group`: a consumer's configuration.

        Raises: KafkaException where the cluster does not take them.
        """
        consumer = Consumer(dict(group))
        try:
            places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
            self._producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), _FLUSH_S)
        finally:
            consumer.close()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self._error = self._error or error

    def _raise(self) -> None:
        if self._error is not None:
            raise KafkaException(self._error)
