"""A mail server of this machine that keeps what it is sent, and when: what the notifier's mails are measured by."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Final

from streams.clock import now_us

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_BYTES_MAX: Final = 4_096
_MAIL_BYTES_MAX: Final = 256 * 1024
_STOP_POLL_S: Final = 0.05
# Answers to SMTP's commands; DATA is followed by the mail.
_REPLIES: Final = {
    b"EHLO": b"250 portcullis",
    b"HELO": b"250 portcullis",
    b"MAIL": b"250 ok",
    b"RCPT": b"250 ok",
    b"RSET": b"250 ok",
    b"NOOP": b"250 ok",
    b"DATA": b"354 go on",
    b"QUIT": b"221 bye",
}


@dataclass(slots=True)
class Mailbox:
    """Mails as texts (subject, then body), each with the moment when it had come (microseconds UTC)."""

    port: int
    mails: list[tuple[int, str]] = field(default_factory=list)

    def url(self) -> str:
        """Return the address of this mailbox as the notifier's routes name it."""
        return f"mailto://127.0.0.1:{self.port}?from=gate@example.org&to=desk@example.org"


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    """Yield a mail server on a free port of the loopback address; it ends with the context."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
        server.daemon_threads = True
        box = _Session.boxes[server] = Mailbox(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(_STOP_POLL_S,), name="mailbox", daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
            del _Session.boxes[server]


class _Session(socketserver.StreamRequestHandler):
    """One connection: as much of RFC 5321 as a client needs that sends plain mails."""

    boxes: Final[dict[socketserver.BaseServer, Mailbox]] = {}

    def handle(self) -> None:
        """Answer commands until the client leaves."""
        self._say(b"220 portcullis")
        while line := self.rfile.readline(_LINE_BYTES_MAX):
            verb = line[:4].upper()
            self._say(_REPLIES.get(verb, b"502 not known"))
            if verb == b"DATA":
                self._take_mail()
            elif verb == b"QUIT":
                return

    def _take_mail(self) -> None:
        lines: list[bytes] = []
        size = 0
        while (line := self.rfile.readline(_LINE_BYTES_MAX)) not in (b".\r\n", b""):
            size += len(line)
            if size <= _MAIL_BYTES_MAX:
                lines.append(line.removeprefix(b"."))
        came_us = now_us()
        mail = message_from_bytes(b"".join(lines), policy=policy.default)
        body = mail.get_body(("plain", "html"))
        text = "" if body is None else str(body.get_content())
        self.boxes[self.server].mails.append((came_us, f"{mail['subject']}\n{text}"))
        self._say(b"250 ok")

    def _say(self, reply: bytes) -> None:
        self.wfile.write(reply + b"\r\n")
