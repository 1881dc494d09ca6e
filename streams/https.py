"""Uvicorn's HTTP with the client's certificate in each request's scope, and a bound on what is not body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

SCOPE_KEY: Final = "portcullis.certificate"
# Head, trailers and the framing of chunks of one message: the parser has no limit of its own.
OVERHEAD_BYTES_MAX: Final = 128 * 1024


class CertificateProtocol(HttpToolsProtocol):
    """Tells the application the certificate (DER, or None) that the handshake has proven the client to hold."""

    _overhead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the client's certificate."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        certificate = None if connection is None else connection.getpeercert(binary_form=True)
        app: Any = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
            await app({**scope, SCOPE_KEY: certificate}, receive, send)

        self.app = with_certificate

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on a message whose head or trailers do not end."""
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > OVERHEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("Request header fields too large.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._overhead = 0

    def on_body(self, body: bytes) -> None:
        """Leave the body to the application's own limit."""
        self._overhead -= len(body)
        super().on_body(body)
