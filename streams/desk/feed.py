"""The desk's ears: one thread reads what is committed, one asks how far the topics go; both fill the read model.

Nothing is joined and nothing committed: each start reads anew, the small topics whole and the log from an hour ago.
While the cluster is away the picture stays and gets old; who looks is told so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.core.policy import PolicyError, parse_policy
from streams.desk.facts import read_event
from streams.desk.history import answers_of, last_records, since
from streams.desk.signatures import Checkpoints
from streams.kafka.reading import FOLLOWING, partitions_of, reader
from streams.names import Topic
from streams.pulse import Pulse
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.commands import CommandRefusedError, read_command
from streams.wire.incidents import decode_incident

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Consumer, Message

    from streams.audit.policy import TlogPolicy
    from streams.desk.model import Desk
    from streams.settings import Settings

_log = structlog.get_logger()
PARTS: Final = ("caught up", "cluster")
"""What must hold before the desk is ready."""
_CONSUME_MAX: Final = 500
_CONSUME_S: Final = 0.05
_RETRY_S: Final = 1.0
_ASK_EVERY_S: Final = 1.0
_ASK_S: Final = 1.5
# Read before the log: what gives its events their meaning.
_SMALL: Final = (
    Topic.AGENTS_REGISTRY,
    Topic.RISK_CIRCUIT_BREAKERS,
    Topic.AGENTS_COMMANDS,
    Topic.RISK_ALERTS,
    Topic.RISK_INCIDENTS,
)
# Of these the last records of each partition are enough.
_KEPT: Final = {
    Topic.AGENTS_COMMANDS: 2_000,
    Topic.RISK_ALERTS: 500,
    Topic.AUDIT_CHECKPOINTS: 20,
    Topic.AUDIT_COSIGNATURES: 20,
}

# A change of the model that a record asks for; bytes are read before, without the lock.
Step = Callable[["Desk"], None]


class Feed:
    """Fills the read model until it is stopped; hold `lock` while you use the model."""

    def __init__(
        self, settings: Settings, desk: Desk, policy: TlogPolicy | None = None, pulse: Pulse | None = None
    ) -> None:
        self.desk = desk
        self._pulse = pulse or Pulse("desk", *PARTS)
        self.lock = threading.Lock()
        self._settings = settings
        self._topics = {settings.topic_prefix + topic: topic for topic in Topic}
        self._checkpoints = Checkpoints(settings.pki, settings.log_origin, policy)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._kept_up, args=(run,), name=name, daemon=True)
            for name, run in (("desk-reader", self._read), ("desk-watch", self._watch))
        ]
        self._readers: dict[Topic, Callable[[Message], Step | None]] = {
            Topic.AUDIT_EVENTS: self._event,
            Topic.AUDIT_CHECKPOINTS: self._checkpoint,
            Topic.AUDIT_COSIGNATURES: self._cosigned,
            Topic.AGENTS_REGISTRY: self._registration,
            Topic.RISK_CIRCUIT_BREAKERS: self._breaker,
            Topic.RISK_ALERTS: self._alert,
            Topic.AGENTS_COMMANDS: self._command,
            Topic.RISK_INCIDENTS: self._incident,
        }

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(5.0)

    def _kept_up(self, run: Callable[[Consumer], None]) -> None:
        """Run until stopped; begin anew where the cluster does not answer or forgets where we were."""
        while not self._stopping.is_set():
            consumer = reader(self._settings.require_cluster(), self._settings.kafka_security, **FOLLOWING)
            try:
                run(consumer)
            except (KafkaException, OSError) as error:
                self._pulse.fail()
                self._pulse.set("cluster", holds=False)
                self._pulse.turn()
                _log.warning("the cluster does not answer", thread=threading.current_thread().name, error=str(error))
                self._stopping.wait(_RETRY_S)
            finally:
                consumer.close()

    def _read(self, consumer: Consumer) -> None:
        small = self._places(consumer, _SMALL)
        consumer.assign(small)
        self._until_ends(consumer, small)
        followed = consumer.position(small)
        for fact in answers_of(consumer, self.desk, self._name(Topic.AUDIT_EVENTS)):
            with self.lock:
                self.desk.on_commanded(fact)
        log = self._places(consumer, (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS, Topic.AUDIT_COSIGNATURES))
        places = [*(p if p.offset >= 0 else q for p, q in zip(followed, small, strict=True)), *log]
        consumer.assign(places)
        self._until_ends(consumer, places)
        with self.lock:
            self.desk.pulse.caught_up = True
        self._pulse.set("caught up", holds=True)
        while not self._stopping.is_set():
            self._take(consumer)
            positions = consumer.position([p for p in log if p.topic == self._name(Topic.AUDIT_EVENTS)])
            with self.lock:
                for place in positions:
                    if place.offset >= 0:
                        self.desk.lanes[place.partition].read_end = place.offset

    def _name(self, topic: Topic) -> str:
        return self._settings.topic_prefix + topic

    def _places(self, consumer: Consumer, topics: Iterable[Topic]) -> list[TopicPartition]:
        """Return where to begin in each partition."""
        found = []
        for topic in topics:
            places = [TopicPartition(name, number) for name, number in partitions_of(consumer, [self._name(topic)])]
            if topic in _KEPT:
                found += last_records(consumer, places, _KEPT[topic])
            elif topic is Topic.AUDIT_EVENTS:
                found += since(consumer, places, now_us())
            else:
                found += [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in places]
        return found

    def _until_ends(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        waiting = {(place.topic, place.partition) for place in places}
        while waiting and not self._stopping.is_set():
            waiting -= self._take(consumer)

    def _take(self, consumer: Consumer) -> set[tuple[str, int]]:
        """Read what is there into the model; return the partitions that ended."""
        applied, ended = [], set()
        messages = consumer.consume(_CONSUME_MAX, _CONSUME_S)
        for message in messages:
            error = message.error()
            if error is None:
                step = self._decoded(message)
                if step is not None:
                    applied.append(step)
            elif error.name() == "_PARTITION_EOF":
                ended.add((message.topic() or "", message.partition() or 0))
            elif error.fatal() or error.name() == "UNKNOWN_TOPIC_OR_PART":
                raise KafkaException(error)
        self._apply(applied)
        self._pulse.turn(len(messages))
        return ended

    def _apply(self, steps: Iterable[Step | None]) -> None:
        with self.lock:
            for step in steps:
                if step is not None:
                    step(self.desk)

    def _decoded(self, message: Message) -> Step | None:
        """Read a record's bytes; what is none of ours is left out, as the gate's own log is what counts."""
        try:
            return self._readers[self._topics[message.topic() or ""]](message)
        except (DecodeError, PolicyError, CommandRefusedError) as error:
            _log.warning("a record could not be read", topic=message.topic(), offset=message.offset(), error=str(error))
            return None

    def _event(self, message: Message) -> Step:
        return self._said(message.partition() or 0, message.offset() or 0, message.value() or b"")

    def _said(self, partition: int, offset: int, value: bytes) -> Step:
        fact, topic, source_offset = read_event(offset, value)
        is_request = self._topics.get(topic) is Topic.ORDERS_REQUESTED
        seen_us = now_us()

        def step(desk: Desk) -> None:
            if is_request:
                desk.lanes[partition].on_request_answered(source_offset, seen_us)
            desk.on_event(fact, seen_us)

        return step

    def _checkpoint(self, message: Message) -> Step:
        lane, note, at_us = message.partition() or 0, message.value() or b"", message.timestamp()[1] * 1000
        return lambda _: self._checkpoints.on_note(lane, note, at_us)

    def _cosigned(self, message: Message) -> Step:
        lane, note = message.partition() or 0, message.value() or b""
        return lambda _: self._checkpoints.on_cosigned(lane, note)

    def _registration(self, message: Message) -> Step | None:
        value = message.value()
        if not value:
            return None
        policy = parse_policy(decode(Schema.AGENT_RECORD, value)["policy"])
        return lambda desk: desk.on_policy(policy.agent_id, policy)

    def _breaker(self, message: Message) -> Step:
        event = decode(Schema.BREAKER_EVENT, message.value() or b"")
        return lambda desk: desk.on_breaker(event)

    def _alert(self, message: Message) -> Step:
        alert: dict[str, Any] = decode(Schema.ALERT, message.value() or b"")
        return lambda desk: desk.on_alert(alert)

    def _incident(self, message: Message) -> Step:
        incident = decode_incident(message.value() or b"")
        return lambda desk: desk.on_incident(incident)

    def _command(self, message: Message) -> Step:
        command, at_us = read_command(message.value() or b""), message.timestamp()[1] * 1000
        return lambda desk: desk.on_command(command, at_us, message.partition() or 0)

    def _watch(self, consumer: Consumer) -> None:
        """Ask each second how far requests and log go: the answer says that the cluster lives, and what waits."""
        requested, log = self._name(Topic.ORDERS_REQUESTED), self._name(Topic.AUDIT_EVENTS)
        while not self._stopping.wait(_ASK_EVERY_S):
            ends = []
            for lane in self.desk.lanes:
                places = (TopicPartition(requested, lane.number), TopicPartition(log, lane.number))
                ends.append([consumer.get_watermark_offsets(place, timeout=_ASK_S)[1] for place in places])
            with self.lock:
                at_us = now_us()
                self.desk.pulse.answered_us = at_us
                self._pulse.set("cluster", holds=True)
                self._pulse.behind = sum(
                    max(0, end[1] - lane.read_end) for end, lane in zip(ends, self.desk.lanes, strict=True)
                )
                self._checkpoints.tell(self.desk.lanes)
                for lane, (requested_end, log_end) in zip(self.desk.lanes, ends, strict=True):
                    lane.on_ends(requested_end, log_end, at_us)


def lanes_of(settings: Settings) -> int:
    """Return the number of lanes. Raises: PortcullisError where the topics are not there."""
    consumer = reader(settings.require_cluster(), settings.kafka_security)
    try:
        return len(partitions_of(consumer, [settings.topic_prefix + Topic.AUDIT_EVENTS]))
    except KafkaException as error:
        raise PortcullisError(f"the topics cannot be read: {error}; is the cluster up and its topics made?") from None
    finally:
        consumer.close()
