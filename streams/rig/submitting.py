"""Sending one order as a bot does, and waiting for its verdict."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import TopicPartition

from streams.core.errors import PortcullisError
from streams.names import Topic
from streams.rig.producing import Sender
from streams.rig.reading import partitions_of, reader
from streams.wire.avro import body_of
from streams.wire.decisions import Verdict, decode_verdict
from streams.wire.headers import SIGNATURE, THUMBPRINT
from streams.wire.keys import load_credentials
from streams.wire.messages import encode_order
from streams.wire.signatures import ORDER_TYPE, sign

if TYPE_CHECKING:
    from streams.core.orders import Order
    from streams.settings import Settings

_WAIT_S: Final = 30.0


class NoVerdictError(PortcullisError):
    """No verdict came in time; that is never an approval."""


def submit(settings: Settings, order: Order) -> Verdict:
    """Sign an order with the bot's stored key, send it and return its verdict.

    Raises: KeyFileError where the bot's key is not here; NoVerdictError; KafkaException.
    """
    credentials = load_credentials(settings.home / "agents", order.agent_id)
    servers = settings.require_cluster()
    consumer = reader(servers, settings.kafka_security)
    try:
        topics = [settings.topic_prefix + topic for topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
        places = [TopicPartition(topic, number) for topic, number in partitions_of(consumer, topics)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place)[1]
        consumer.assign(places)
        value = encode_order(order)
        signature = sign(credentials.private_key, ORDER_TYPE, body_of(value))
        headers = ((SIGNATURE, signature), (THUMBPRINT, credentials.thumbprint))
        sender = Sender(servers, settings.kafka_security)
        sender.send(settings.topic_prefix + Topic.ORDERS_REQUESTED, order.agent_id.encode(), value, headers)
        sender.flush()
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.05):
                answer = message.value()
                if message.error() is None and answer is not None:
                    verdict = decode_verdict(answer)
                    if verdict.order == body_of(value):
                        return verdict
    finally:
        consumer.close()
    raise NoVerdictError(f"verdict of {order.cl_ord_id}: none within {_WAIT_S:g} s; does a worker run?")
