"""Where in the topics the desk begins to read, and finding single records by time or offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, TopicPartition

from streams.core.orders import TradingState
from streams.desk.facts import Commanded, read_event
from streams.wire.avro import DecodeError
from streams.wire.commands import Action, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Consumer, Message

    from streams.desk.model import Desk
    from streams.desk.stops import Followed

_TIMEOUT_S: Final = 10.0
_WINDOW_US: Final = 3_600_000_000
_EVENTS_MAX: Final = 20_000
_SCANNED_MAX: Final = 5_000
_SCAN_WAIT_S: Final = 3.0
_CONSUME_S: Final = 0.2
_BEFORE_MS: Final = 1_000
_STANDING_MAX: Final = 200


def last_records(consumer: Consumer, places: list[TopicPartition], count: int) -> list[TopicPartition]:
    """Return the places from which on at most so many records follow."""
    found = []
    for place in places:
        low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        found.append(TopicPartition(place.topic, place.partition, max(low, high - count)))
    return found


def since(consumer: Consumer, places: list[TopicPartition], now_us: int) -> list[TopicPartition]:
    """Return where the last hour begins, or the last 20,000 records where it has more."""
    from_ms = (now_us - _WINDOW_US) // 1000
    begins = consumer.offsets_for_times(
        [TopicPartition(place.topic, place.partition, from_ms) for place in places], timeout=_TIMEOUT_S
    )
    ends = last_records(consumer, places, _EVENTS_MAX)
    return [
        TopicPartition(end.topic, end.partition, max(begin.offset, end.offset) if begin.offset >= 0 else end.offset)
        for begin, end in zip(begins, ends, strict=True)
    ]


def scan(consumer: Consumer, topic: str, partition: int, from_ms: int) -> Iterator[Message]:
    """Yield the records of a partition from a moment on (milliseconds UTC), a few thousand at most."""
    (begin,) = consumer.offsets_for_times([TopicPartition(topic, partition, from_ms)], timeout=_TIMEOUT_S)
    if begin.offset >= 0:
        yield from scan_from(consumer, topic, partition, begin.offset)


def scan_from(consumer: Consumer, topic: str, partition: int, offset: int) -> Iterator[Message]:
    """Yield the records of a partition from an offset on, a few thousand at most."""
    consumer.assign([TopicPartition(topic, partition, offset)])
    waited_s, seen = 0.0, 0
    while waited_s < _SCAN_WAIT_S and seen < _SCANNED_MAX:
        messages = consumer.consume(500, _CONSUME_S)
        waited_s += 0.0 if messages else _CONSUME_S
        for message in messages:
            error = message.error()
            if error is None:
                seen += 1
                yield message
            elif error.name() == "_PARTITION_EOF":
                return
            else:
                raise KafkaException(error)


def answers_of(consumer: Consumer, desk: Desk, log: str) -> Iterator[Commanded]:
    """Yield the lanes' answers to the kills and releases that may matter still, however old.

    The log is read from an hour ago only, and a kill stays in force for ever.
    """
    for followed in _standing(desk):
        lanes = range(len(desk.lanes)) if followed.lane < 0 else (followed.lane,)
        for lane in lanes:
            for message in scan(consumer, log, lane, followed.requested_us // 1000 - _BEFORE_MS):
                fact = _answer(message, followed)
                if fact is not None:
                    yield fact
                    break


def _standing(desk: Desk) -> list[Followed]:
    """Return the kills and releases of what is not known to trade, in the order in which they were given."""
    found = [
        followed
        for followed in desk.stops.followed.values()
        if followed.command.action in (Action.KILL, Action.RELEASE) and not _trades(desk, followed)
    ]
    return sorted(found, key=lambda followed: followed.requested_us)[-_STANDING_MAX:]


def _trades(desk: Desk, followed: Followed) -> bool:
    bot = desk.bots.get(followed.command.target) if followed.command.scope is Scope.BOT else None
    return bot is not None and bot.state == TradingState.ACTIVE


def _answer(message: Message, followed: Followed) -> Commanded | None:
    value = message.value() or b""
    if followed.command.command_id.encode() not in value:
        return None
    try:
        fact, _, _ = read_event(message.offset() or 0, value)
    except DecodeError:
        return None
    if not isinstance(fact, Commanded) or fact.command is None:
        return None
    return fact if fact.command.command_id == followed.command.command_id else None
