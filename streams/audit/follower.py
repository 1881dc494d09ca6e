"""Following the logs of a cluster: each lane by itself, from where it was left, and none ahead of its proof.

A lane that fails is told to a person, goes back to its last good position and is tried again later; the others go on.
Records are read when their transaction is committed, so that what follows sees exactly what others can see.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.audit.segments import Leaf, LogFaultError
from streams.core.errors import PortcullisError
from streams.names import Topic
from streams.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event

    from confluent_kafka import Message

    from streams.audit.segments import LogFollower, Position, Segment

_log = structlog.get_logger(__name__)

_POLL_RECORDS: Final = 2_000
_POLL_S: Final = 0.2
# Records that wait for their other half; a topic that runs ahead is held back there.
_AHEAD_MAX: Final = {Topic.AUDIT_EVENTS: 50_000, Topic.AUDIT_CHECKPOINTS: 5_000}
_RETRY_FIRST_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0
_TIMEOUT_S: Final = 20.0
# A transaction's leaves and its checkpoint become visible within moments of each other; then one is missing.
OVERDUE_S: Final = 60.0
# Where records that were not read yet are gone, Kafka says this: a lane cannot go on, and a person must know.
FOLLOWING: Final = "following"
"""The part of being ready that no lane is held."""
_GONE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001


class FollowError(PortcullisError):
    """Kafka has not the topics, or does not answer."""


class Handler(Protocol):
    """What is done with a lane's new segments; all of them or, by raising, none."""

    def start(self, lane: int) -> Position:
        """Return where to go on with a lane. Raises: PortcullisError, and is asked again later."""

    def handle(self, lane: int, segments: Sequence[Segment]) -> None:
        """Act on segments in order. Raises: PortcullisError, and then gets them again later."""

    def tell(self, lane: int, error: PortcullisError) -> None:
        """Tell a person that a lane is held."""


@dataclass(slots=True)
class _Lane:
    follower: LogFollower
    heard_s: float = field(default_factory=time.monotonic)
    """When its last record came."""
    held_until_s: float = 0.0
    wait_s: float = _RETRY_FIRST_S
    paused: set[Topic] = field(default_factory=set)


class Follower:
    """Reads every lane's leaves and checkpoints and hands their segments to a handler."""

    def __init__(
        self,
        consumer: Consumer,
        followers: Mapping[int, Callable[[Position], LogFollower]],
        handler: Handler,
        *,
        prefix: str,
        overdue_s: float = OVERDUE_S,
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse or Pulse("follower", FOLLOWING)
        self._pulse.watch(consumer)
        self._overdue_s = overdue_s
        self._consumer = consumer
        self._begin = followers
        self._handler = handler
        self._prefix = prefix
        self._lanes = {number: _Lane(begin(self._started(number))) for number, begin in followers.items()}
        consumer.assign([place for number in self._lanes for place in self._places(number)])

    def run(self, stop: Event) -> None:
        """Follow until asked to stop."""
        while not stop.is_set():
            self.step()

    def step(self) -> int:
        """Read once and hand over what is complete; return how many records were read."""
        messages = self._consumer.consume(_POLL_RECORDS, _POLL_S)
        for message in messages:
            self._take(message)
        for number, lane in self._lanes.items():
            if lane.held_until_s:
                self._retry(number, lane)
            else:
                self._hand_over(number, lane)
        self._pulse.turn(len(messages))
        self._pulse.set(FOLLOWING, holds=not any(lane.held_until_s for lane in self._lanes.values()))
        return len(messages)

    def _started(self, number: int) -> Position:
        """Return where a lane begins; a broker that has only just started may need some tries."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                return self._handler.start(number)
            except PortcullisError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_POLL_S)

    def _take(self, message: Message) -> None:
        number, error = message.partition() or 0, message.error()
        lane = self._lanes.get(number)
        if lane is None or lane.held_until_s:
            return
        if error is not None:
            if error.code() in _GONE:
                self._hold(number, lane, FollowError(f"{message.topic()}/{number}: records are gone: {error.str()}"))
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                _log.warning("Kafka does not answer", topic=message.topic(), partition=number, error=error.str())
            return
        lane.heard_s = time.monotonic()
        offset, value = message.offset() or 0, message.value() or b""
        try:
            if message.topic() == self._prefix + Topic.AUDIT_EVENTS:
                lane.follower.take_leaf(Leaf(offset, value))
            else:
                lane.follower.take_note(offset, value)
        except LogFaultError as fault:
            # What came before it holds.
            self._hand_over(number, lane)
            if not lane.held_until_s:
                self._hold(number, lane, fault)

    def _hand_over(self, number: int, lane: _Lane) -> None:
        segments: list[Segment] = []
        fault: PortcullisError | None = None
        try:
            segments.extend(lane.follower.segments())
            if time.monotonic() - lane.heard_s > self._overdue_s:
                lane.follower.check_waiting()
        except LogFaultError as error:
            fault = error
        try:
            if segments:
                self._handler.handle(number, segments)
                lane.wait_s = _RETRY_FIRST_S
        except PortcullisError as error:
            fault = error
        if fault is not None:
            self._hold(number, lane, fault)
        else:
            self._balance(number, lane)

    def _hold(self, number: int, lane: _Lane, error: PortcullisError) -> None:
        self._pulse.fail()
        _log.error("lane held", lane=number, error=str(error), retry_in_s=lane.wait_s)
        self._handler.tell(number, error)
        self._consumer.pause(self._places(number))
        lane.held_until_s = time.monotonic() + lane.wait_s
        lane.wait_s = min(2 * lane.wait_s, _RETRY_MAX_S)

    def _retry(self, number: int, lane: _Lane) -> None:
        """Begin a held lane again where the handler has left it."""
        if time.monotonic() < lane.held_until_s:
            return
        try:
            lane.follower = self._begin[number](self._handler.start(number))
            lane.paused.clear()
            places = self._places(number)
            for place in places:
                self._consumer.seek(place)
            self._consumer.resume(places)
            lane.held_until_s, lane.heard_s = 0.0, time.monotonic()
        except PortcullisError as error:
            self._hold(number, lane, error)
        except KafkaException as error:
            self._hold(number, lane, FollowError(str(error)))

    def _balance(self, number: int, lane: _Lane) -> None:
        """Hold a topic back that has run far ahead of the other."""
        for topic, count in zip(_AHEAD_MAX, lane.follower.waiting, strict=True):
            place = [TopicPartition(self._prefix + topic, number)]
            if count > _AHEAD_MAX[topic] and topic not in lane.paused:
                lane.paused.add(topic)
                self._consumer.pause(place)
            elif count < _AHEAD_MAX[topic] // 2 and topic in lane.paused:
                lane.paused.remove(topic)
                self._consumer.resume(place)

    def _places(self, number: int) -> list[TopicPartition]:
        """Return the offsets from which a lane goes on."""
        position = self._lanes[number].follower.position
        offsets = zip(_AHEAD_MAX, (position.next_leaf, position.next_note), strict=True)
        return [
            TopicPartition(self._prefix + topic, number, OFFSET_BEGINNING if offset < 0 else offset)
            for topic, offset in offsets
        ]


def open_consumer(cluster: Mapping[str, str], group_id: str) -> Consumer:
    """Return a consumer of committed records that moves no offsets by itself and never jumps."""
    return Consumer(
        {
            **cluster,
            "group.id": group_id,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 32_768,
            "fetch.wait.max.ms": 100,
        }
    )


def count_lanes(consumer: Consumer, prefix: str) -> int:
    """Return how many logs there are. Raises: FollowError where Kafka does not answer or has no such topic."""
    name = prefix + Topic.AUDIT_EVENTS
    try:
        topic = consumer.list_topics(name, timeout=_TIMEOUT_S).topics[name]
    except KafkaException as error:
        raise FollowError(f"Kafka does not answer: {error}") from error
    if topic.error is not None or not topic.partitions:
        raise FollowError(f"topic missing: {name}")
    return len(topic.partitions)
