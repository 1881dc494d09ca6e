"""Giving a person's command, and waiting until each partition's gate has written that it is in force."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TopicPartition

from streams.kafka.producing import Sender
from streams.kafka.reading import partitions_of, reader, stored
from streams.names import WIDE_LANE, Topic
from streams.wire.commands import Command, Scope, sign_command
from streams.wire.decisions import decode_audit_event
from streams.wire.devpki import person_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer

    from streams.settings import Settings
    from streams.wire.headers import Header

_WAIT_S: Final = 30.0
_ANSWERS: Final = ("COMMAND_APPLIED", "COMMAND_REFUSED")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What each partition's log says of the command: offset and effect, or why it was refused."""

    partitions: dict[int, tuple[int, str]]
    applied: bool
    effect_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        answers = {str(p): {"offset": offset, "text": text} for p, (offset, text) in self.partitions.items()}
        return {"applied": self.applied, "effect_ms": round(self.effect_ms, 1), "partitions": answers}


def give(settings: Settings, command: Command) -> Acknowledgement:
    """Sign and send a command and wait for the answers: of its bot's partition, of its incident's, or of all.

    Raises: PortcullisError where the person has no key here; KafkaException where the cluster does not answer.
    """
    value, headers = sign_command(command, person_key(settings.pki, command.issued_by))
    servers = settings.require_cluster()
    consumer = reader(servers, settings.kafka_security)
    sender = Sender(servers, settings.kafka_security)
    topic = settings.topic_prefix + Topic.AGENTS_COMMANDS
    try:
        logs = partitions_of(consumer, [settings.topic_prefix + Topic.AUDIT_EVENTS])
        ends = [TopicPartition(t, p, consumer.get_watermark_offsets(TopicPartition(t, p))[1]) for t, p in logs]
        consumer.assign(ends)
        expected = send_command(sender, topic, command, value, headers, len(logs))
        return _wait(consumer, command, value, expected)
    finally:
        consumer.close()


def send_command(
    sender: Sender, topic: str, command: Command, value: bytes, headers: Sequence[Header], lanes: int
) -> int:
    """Send a signed command to its bot's partition, or to all; return how many must answer.

    An incident about more than one bot is kept by one partition.

    Raises: KafkaException where the cluster does not take it.
    """
    places: list[int | None] = [None]  # the key says
    if command.scope is not Scope.BOT:
        places = [WIDE_LANE] if command.incident_id is not None else list(range(lanes))
    for number in places:
        sender.send(
            topic, command.target.encode() if command.scope is Scope.BOT else b"", value, headers, partition=number
        )
    sender.flush()
    return len(places)


def _wait(consumer: Consumer, command: Command, value: bytes, expected: int) -> Acknowledgement:
    deadline = time.monotonic() + _WAIT_S
    found: dict[int, tuple[int, str]] = {}
    applied, effect_us = 0, command.issued_at_us
    while len(found) < expected and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.05):
            if message.error() is not None:
                continue
            record = stored(message)
            event, _ = decode_audit_event(record.value)
            if event.event_type not in _ANSWERS or event.subject != value:
                continue
            if event.event_type == "COMMAND_APPLIED":
                applied += 1
                text = event.details.get("effect", "")
            else:
                text = "refused: " + event.details.get("problem", "")
            found[record.partition] = (record.offset, text)
            effect_us = max(effect_us, event.event_time_us)
    return Acknowledgement(found, applied == expected, (effect_us - command.issued_at_us) / 1000)
