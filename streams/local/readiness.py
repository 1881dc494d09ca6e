"""Free ports, and the moment from which a broker can be used."""

from __future__ import annotations

import random
import socket
import time
from itertools import islice
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local.runtime import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.local.process import GuardedProcess

HOST = "127.0.0.1"

# Below the kernel's ephemeral range: no outgoing connection takes the port while the broker is down, and no client
# that retries can connect to itself.
_PORTS = range(20_000, 32_000)
_POLL_S = 0.02
_METADATA_TIMEOUT_S = 2.0


def free_ports(count: int) -> list[int]:
    """Return different ports of the loopback interface that nobody listens on now.

    Raises:
        BrokerUnavailableError: there are not so many.
    """
    found = list(islice(filter(is_free, random.sample(_PORTS, len(_PORTS))), count))
    if len(found) < count:
        raise BrokerUnavailableError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop} on {HOST}")
    return found


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def wait_until_ready(
    process: GuardedProcess, port: int, timeout_s: float, client: Mapping[str, str] | None = None
) -> bool:
    """Wait until the broker answers metadata with itself in it; False where it ended or time is over."""
    deadline = time.monotonic() + timeout_s
    while process.running and time.monotonic() < deadline:
        if _listens(port) and _is_registered(port, client or {}):
            return True
        time.sleep(_POLL_S)
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _is_registered(port: int, security: Mapping[str, str]) -> bool:
    client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0, **security})
    try:
        brokers = client.list_topics(timeout=_METADATA_TIMEOUT_S).brokers
    except KafkaException:
        return False
    return any(broker.port == port for broker in brokers.values())
