"""Waiting until everything that was written has been worked through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.core.errors import PortcullisError
from streams.kafka.reading import partitions_of
from streams.names import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streams.settings import Settings

_POLL_S: Final = 0.05
_UNSETTLED: Final = frozenset(
    (
        *(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR),
        *(KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    )
)
# What outsiders write, record by record; topics written in transactions end in markers that nobody commits.
_WATCHED: Final = (Topic.AGENTS_REGISTRY, Topic.AGENTS_COMMANDS, Topic.TRADES_EXECUTED, Topic.ORDERS_REQUESTED)


class NotSettledError(PortcullisError):
    """Work was left after the time that it may take; the text says where."""


def wait_until_settled(settings: Settings, *, timeout_s: float = 60.0, check: Callable[[], None]) -> None:
    """Wait until the workers have committed the end of every topic that outsiders write; `check` may raise meanwhile.

    Raises: NotSettledError.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": settings.group,
            "enable.auto.commit": False,
            **settings.kafka_security,
        }
    )
    try:
        places = partitions_of(consumer, [settings.topic_prefix + topic for topic in _WATCHED])
        deadline = time.monotonic() + timeout_s
        while left := _lag_or_why(consumer, places):
            check()
            if time.monotonic() > deadline:
                raise NotSettledError(f"after {timeout_s:g} s still to be read: {left}")
            time.sleep(_POLL_S)
    finally:
        consumer.close()


def _lag_or_why(consumer: Consumer, places: list[tuple[str, int]]) -> Mapping[str, object]:
    """Return the lag by partition, or what a cluster says whose leaders have not settled themselves."""
    try:
        return _lag(consumer, places)
    except KafkaException as error:
        if error.args[0].code() not in _UNSETTLED:
            raise
        return {"cluster": error}


def _lag(consumer: Consumer, places: list[tuple[str, int]]) -> dict[str, int]:
    lag = {}
    for committed in consumer.committed([TopicPartition(topic, number) for topic, number in places], timeout=10):
        end = consumer.get_watermark_offsets(TopicPartition(committed.topic, committed.partition), timeout=10)[1]
        behind = end - max(committed.offset, 0)
        if behind > 0:
            lag[f"{committed.topic}-{committed.partition}"] = behind
    return lag
