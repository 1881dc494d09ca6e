"""Heartbeats of a bot, as its own process would send them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streams.clock import now_us
from streams.kafka.producing import Sender
from streams.names import Topic
from streams.wire.heartbeats import Heartbeat, sign_heartbeat
from streams.wire.keys import load_credentials

if TYPE_CHECKING:
    import threading

    from streams.settings import Settings


def beat(settings: Settings, agent_id: str, every_s: float, stop: threading.Event) -> int:
    """Send a heartbeat at once and then at every interval until `stop` is set; return how many.

    Raises: KeyFileError where the bot has no credentials here.
    """
    credentials = load_credentials(settings.home / "agents", agent_id)
    sender = Sender(settings.require_cluster(), settings.kafka_security)
    topic, sent, began_s = settings.topic_prefix + Topic.AGENTS_HEARTBEATS, 0, time.monotonic()
    while True:
        heartbeat = Heartbeat(agent_id, now_us())
        value, headers = sign_heartbeat(heartbeat, credentials.private_key, credentials.thumbprint)
        sender.send(topic, agent_id.encode(), value, headers)
        sender.flush()
        sent += 1
        if stop.wait(max(0.0, began_s + sent * every_s - time.monotonic())):
            return sent
