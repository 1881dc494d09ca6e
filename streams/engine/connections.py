"""aiokafka's connections, mended for uvloop."""

# ruff: noqa: SLF001 - one of the modules where the insides of aiokafka are touched.

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def mend_connections() -> None:
    """Let a write to a connection that was reset a moment ago fail as a broken connection.

    asyncio warns and goes on. uvloop raises RuntimeError, which aiokafka does not expect: killing brokers showed that
    its task for metadata ended of it, unseen, and whatever waited for metadata waited for ever, heartbeats among it.
    """
    AIOKafkaConnection.send = send


def send(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002
    """Send a request as aiokafka does.

    Raises: KafkaConnectionError where the connection is broken.
    """
    try:
        return _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection._host}:{connection._port} broken: {error}") from error
