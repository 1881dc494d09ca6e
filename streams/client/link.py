"""One connection for any number of bots: signed orders out, their answers in, each answer to whom it belongs.

A thread reads the verdicts, read-committed, from the moment it starts. An answer belongs to the order whose bytes it
holds, so nobody's answer passes for another's; an approval counts only with the proof that it was logged.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer, TopicPartition

from streams.core.errors import PortcullisError
from streams.kafka.producing import STORING
from streams.kafka.reading import FOLLOWING, partitions_of, reader, stored
from streams.names import Topic
from streams.venue.approval import ApprovalVerifier
from streams.wire.avro import DecodeError, body_of
from streams.wire.decisions import decode_verdict
from streams.wire.headers import DEAD_LETTER_TEXT, find_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from confluent_kafka import Consumer, KafkaError, Message

    from streams.audit.proof import Inclusion
    from streams.kafka.reading import Stored
    from streams.wire.decisions import Verdict
    from streams.wire.note import Verifier
    from streams.wire.signed_orders import WireMessage

_ANSWERS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.ORDERS_DEAD_LETTER)
_POLL_S: Final = 0.1
_RETRY_S: Final = 0.5
_FLUSH_S: Final = 5.0


class OrderLinkError(PortcullisError):
    """The cluster does not answer."""


class NotSentError(OrderLinkError):
    """The broker did not acknowledge an order in time: it may or may not be decided, and that is never an approval."""


class VerdictTimeoutError(PortcullisError):
    """No verdict came in time: the order may still be decided, and that is never an approval."""


class DeadLetteredError(PortcullisError):
    """The gate could not read the message as an order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided; an approval with its proven place in the audit log."""

    verdict: Verdict
    inclusion: Inclusion | None

    @property
    def approved(self) -> bool:
        """Tell whether the order may reach a venue."""
        return self.verdict.approved


class OrderLink:
    """Sends orders and hands each its answer."""

    def __init__(
        self,
        bootstrap_servers: str,
        log_verifiers: Callable[[int], Iterable[Verifier]],
        *,
        prefix: str = "",
        security: Mapping[str, str] | None = None,
        delivery_timeout_s: float = 10.0,
    ) -> None:
        """Prepare a link.

        `log_verifiers` returns the keys of a partition's audit log; it is asked again where a proof does not hold, as
        the key may be new. `delivery_timeout_s`: after it an order that the broker did not take is dropped.
        """
        self._servers, self._log_verifiers, self._prefix = bootstrap_servers, log_verifiers, prefix
        self._security = dict(security or {})
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                **STORING,
                # At 0 librdkafka 2.16 spins on a whole core while as many requests as may be are in flight.
                "linger.ms": 1,
                "message.timeout.ms": max(1, round(delivery_timeout_s * 1000)),
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,  # what is not delivered comes back as an error
                **self._security,
            }
        )
        self._topic = prefix + Topic.ORDERS_REQUESTED
        self._waiting: dict[bytes, Future[Answer]] = {}
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._partitions: list[int] = []
        self._proofs = ApprovalVerifier(())
        self._thread = threading.Thread(target=self._run, name="order-link", daemon=True)

    @property
    def ready(self) -> bool:
        """Tell whether answers are being read; until then nothing may be sent."""
        return self._ready.is_set()

    def start(self, timeout_s: float = 10.0) -> None:
        """Begin to read answers, and wait until that is so.

        Raises: OrderLinkError where the cluster does not answer in time; it is tried on, in the background.
        """
        self._thread.start()
        if not self._ready.wait(timeout_s) and timeout_s > 0:
            raise OrderLinkError(f"{self._servers}: no answer within {timeout_s:g} s")

    def stop(self) -> None:
        """Deliver what was sent, and end; who still waits is told that nobody knows."""
        self._producer.flush(_FLUSH_S)
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        for future in list(self._waiting.values()):
            _fail(future, VerdictTimeoutError("the link was closed before the verdict came"))

    def send(self, message: WireMessage) -> Future[Answer]:
        """Send a signed order and return what will be its answer; a cancelled future waits no longer.

        Raises: NotSentError where answers are not being read yet, the same bytes still wait for their answer, or too
        much waits to be sent.
        """
        body = body_of(message.value)
        if not self.ready:
            raise NotSentError(f"{self._servers}: not connected")
        if body in self._waiting:
            raise NotSentError("the same order is waiting for its verdict")
        future: Future[Answer] = Future()
        self._waiting[body] = future
        future.add_done_callback(lambda _: self._waiting.pop(body, None))

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                _fail(future, NotSentError(f"not acknowledged: {error.str()}"))

        try:
            self._producer.produce(
                self._topic, message.value, message.key, headers=list(message.headers), on_delivery=delivered
            )
        except (BufferError, KafkaException) as error:
            _fail(future, NotSentError(f"not sent: {error}"))
        self._producer.poll(0)
        return future

    def probe(self, timeout_s: float) -> bool:
        """Tell whether the cluster answers a question about its topics."""
        try:
            self._producer.list_topics(self._topic, timeout=timeout_s)
        except KafkaException:
            return False
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self.probe(_RETRY_S):
                continue
            consumer = reader(self._servers, self._security, **{"enable.partition.eof": False, **FOLLOWING})
            try:
                self._position(consumer)
                self._ready.set()
                self._read(consumer)
            except (KafkaException, KeyError):  # the broker is away, or topics are not there yet
                self._stopping.wait(_RETRY_S)
            finally:
                consumer.close()

    def _position(self, consumer: Consumer) -> None:
        """Go to the ends of the answers; the log's partitions are those of the approvals."""
        found = partitions_of(consumer, [self._prefix + topic for topic in _ANSWERS])
        places = [TopicPartition(topic, number) for topic, number in found]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=_FLUSH_S)[1]
        self._partitions = sorted({number for _, number in found})
        self._load_keys()
        consumer.assign(places)

    def _load_keys(self) -> None:
        keys = (key for number in self._partitions for key in self._log_verifiers(number))
        self._proofs = ApprovalVerifier(keys)

    def _prove(self, record: Stored) -> Inclusion:
        try:
            return self._proofs.prove(record.value, record.headers).inclusion
        except PortcullisError:
            self._load_keys()
            return self._proofs.prove(record.value, record.headers).inclusion

    def _read(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_S)
            self._producer.poll(0)
            if message is not None and message.error() is None and self._waiting:
                self._take(stored(message))

    def _take(self, record: Stored) -> None:
        if record.topic.endswith(Topic.ORDERS_DEAD_LETTER):
            future = self._waiting.get(body_of(record.value))
            if future is not None:
                text = find_header(record.headers, DEAD_LETTER_TEXT).decode(errors="replace")
                _fail(future, DeadLetteredError(text))
            return
        try:
            verdict = decode_verdict(record.value)
        except DecodeError:
            return
        future = self._waiting.get(verdict.order)
        if future is None:
            return
        try:
            inclusion = None
            if verdict.approved or record.topic.endswith(Topic.ORDERS_APPROVED):
                inclusion = self._prove(record)
        except PortcullisError as error:
            _fail(future, error)
            return
        _settle(future, Answer(verdict, inclusion))


def _settle(future: Future[Answer], answer: Answer) -> None:
    try:
        future.set_result(answer)
    except InvalidStateError:
        return  # cancelled meanwhile: nobody waits


def _fail(future: Future[Any], error: PortcullisError) -> None:
    try:
        future.set_exception(error)
    except InvalidStateError:
        return
