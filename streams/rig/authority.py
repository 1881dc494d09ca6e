"""The development CA's part in a revocation: what the gate asks for is put on the revocation list.

At a firm this is the third party's own process: it reads `agents.revocations` and publishes its list as it always does.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer

from streams.names import Topic
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.devpki import revoke

if TYPE_CHECKING:
    import threading

    from streams.settings import Settings

_LOG = logging.getLogger(__name__)
_POLL_S: Final = 0.2
GROUP: Final = "portcullis-ca"


def publish_revocations(settings: Settings, stop: threading.Event) -> None:
    """Publish a new list for each request until `stop` is set; a request is done when the list is on disk."""
    consumer = Consumer(
        {
            **settings.cluster(),
            "group.id": settings.topic_prefix + GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    with closing(consumer):
        consumer.subscribe([settings.topic_prefix + Topic.AGENTS_REVOCATIONS])
        while not stop.is_set():
            message = consumer.poll(_POLL_S)
            if message is None or message.error() is not None:
                continue
            try:
                request = decode(Schema.REVOCATION_REQUEST, message.value() or b"")
            except DecodeError as error:
                _LOG.warning("revocation request at offset %s refused: %s", message.offset(), error)
            else:
                revoke(settings.pki, int(request["serial"], 16))
                _LOG.info("certificate %s of %s is on the list", request["serial"], request["agent_id"])
            consumer.commit(message=message, asynchronous=False)
