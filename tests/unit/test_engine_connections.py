"""A connection that the broker has reset is broken, also where uvloop says so in its own way."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from streams.engine.connections import send

TRIES = 400


@pytest.fixture
def resetting() -> Iterator[tuple[str, int]]:
    """Return the address of a server that resets each connection at once."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


async def _write_after_reset(address: tuple[str, int]) -> KafkaConnectionError | None:
    """Write until the connection does not take it any more; None where the reset was seen before."""
    connection = AIOKafkaConnection(*address, request_timeout_ms=1_000)
    try:
        connection._reader, connection._writer = await asyncio.open_connection(*address)
    except OSError:
        return None
    connection._read_task = asyncio.create_task(asyncio.sleep(0))
    connection._versions = {3: (0, 5)}
    while connection.connected():
        try:
            send(connection, MetadataRequest(None)).close()
        except KafkaConnectionError as error:
            return error
        await asyncio.sleep(0)
    return None


def test_a_write_after_a_reset_fails_as_a_broken_connection(resetting: tuple[str, int]) -> None:
    async def broken() -> KafkaConnectionError | None:
        for _ in range(TRIES):
            if (error := await _write_after_reset(resetting)) is not None:
                return error
        return None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        error = runner.run(broken())
    assert error is not None
    assert isinstance(error.__cause__, RuntimeError)
    assert "handler is closed" in str(error)
