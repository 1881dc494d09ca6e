"""A message whose head or trailers do not end is hung up on; a body is left to the application's own limit."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from streams.https import OVERHEAD_BYTES_MAX, SCOPE_KEY, CertificateProtocol

CHUNK = b"x" * 16_384


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def send(head: bytes, more: bytes, times: int, end: bytes = b"") -> tuple[Wire, list[object]]:
    """Return what a connection wrote and the certificates that the application was told, one a request."""
    told: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        assert isinstance(scope, dict)
        told.append(scope[SCOPE_KEY])
        assert callable(receive)
        assert callable(send)
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    wire = Wire()
    config = uvicorn.Config(app, http=CertificateProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    protocol = CertificateProtocol(config, state, {})
    protocol.connection_made(wire)
    protocol.data_received(head)
    for _ in range(times):
        if wire.closed:
            break
        protocol.data_received(more)
        await asyncio.sleep(0)
    if not wire.closed:
        protocol.data_received(end)
        await asyncio.gather(*state.tasks)
        if protocol.timeout_keep_alive_task is not None:
            protocol.timeout_keep_alive_task.cancel()
    return wire, told


TOO_MANY = OVERHEAD_BYTES_MAX // len(CHUNK) + 1
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nendless: ", b"GET /", CHUNKED + b"0\r\nendless: "],
    ids=["header", "path", "trailer"],
)
def test_what_does_not_end_is_refused(head: bytes) -> None:
    wire, _ = asyncio.run(send(head, CHUNK, TOO_MANY))
    assert wire.closed
    assert wire.written.startswith(b"HTTP/1.1 400 ")


def test_a_large_body_is_the_applications_business() -> None:
    chunk = b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK)
    wire, told = asyncio.run(send(CHUNKED, chunk, 2 * TOO_MANY, b"0\r\n\r\n"))
    assert wire.written.startswith(b"HTTP/1.1 204 ")
    assert not wire.closed
    assert told == [None]


def test_each_message_counts_for_itself() -> None:
    request = b"GET / HTTP/1.1\r\nhost: a\r\nlong: " + CHUNK[:8_000] + b"\r\n\r\n"
    wire, told = asyncio.run(send(request, request, 2 * TOO_MANY, request))
    assert not wire.closed
    assert len(told) > TOO_MANY // 2
