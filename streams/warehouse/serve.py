"""Reading a warehouse in a folder from other processes: ClickHouse's HTTP interface on the loopback address.

One process owns the folder, so it answers for it: SELECTs only, for whoever can read the password. That lies beside the
folder, readable by the folder's user alone, and `connect` finds it, so that readers need not know who owns the folder.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import threading
from base64 import b64encode
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from streams.warehouse.connection import embedded_folder, reader_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOST: Final = "127.0.0.1"
_USER: Final = "reader"
_QUERY_BYTES_MAX: Final = 1 << 20
# Nothing that changes a query's meaning: these are about the transport, which is as plain as can be here.
_IGNORED: Final = frozenset(
    {
        *("query", "query_id", "database", "client_protocol_version", "compress", "enable_http_compression"),
        *("wait_end_of_query", "buffer_size", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    }
)
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE: Final = re.compile(r"Code: (\d+)")
# The one way in which the engine writes though it may only read.
_WRITES: Final = "outfile"


@contextmanager
def serve_reads(dsn: str) -> Iterator[None]:
    """Answer other processes' reads of a warehouse in a folder; a server's warehouse needs no such thing."""
    folder = embedded_folder(dsn)
    if folder is None:
        yield
        return
    password = secrets.token_urlsafe(32)
    handler = type("Handler", (_Handler,), {"folder": folder, "credentials": _basic(password)})
    with ThreadingHTTPServer((_HOST, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="warehouse-reads")
        thread.start()
        note = reader_file(folder)
        try:
            _write_private(note, f"clickhouse://{_USER}:{password}@{_HOST}:{server.server_port}")
            yield
        finally:
            note.unlink(missing_ok=True)
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a ClickHouse client."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]
    credentials: ClassVar[str]

    def do_GET(self) -> None:
        """Answer the client's look whether somebody is there."""
        self._answer(HTTPStatus.OK, b"Ok.\n")

    def do_POST(self) -> None:
        """Answer a query."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > _QUERY_BYTES_MAX:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"the query is too long\n")
            return
        body = self.rfile.read(length).decode(errors="replace")
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.credentials.encode()):
            self._answer(HTTPStatus.UNAUTHORIZED, b"Code: 516. wrong user or password\n", code="516")
            return
        settings = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        sql = "\n".join(filter(None, (settings.get("query"), body)))
        refused = [name for name in settings if name not in _IGNORED and not name.startswith("param_")]
        if refused or _WRITES in sql.casefold():
            reason = f"settings not taken here: {', '.join(refused)}" if refused else "nothing is written here"
            self._answer(HTTPStatus.FORBIDDEN, f"Code: 164. {reason}\n".encode(), code="164")
            return
        self._query(sql, settings)

    def _query(self, sql: str, settings: dict[str, str]) -> None:
        import chdb  # noqa: PLC0415 - an extra, and large: only who owns a folder needs it

        connection = chdb.connect(str(self.folder))
        found = _FORMAT.search(sql)
        form = found[1] if found else "TabSeparated"
        parameters = {name[len("param_") :]: text for name, text in settings.items() if name.startswith("param_")}
        try:
            connection.query("SET readonly = 1", "TabSeparated")
            if settings.get("database"):
                connection.query("USE `{}`".format(settings["database"].replace("`", "")), "TabSeparated")
            if form == "Native":
                self._stream(connection.send_query(sql, form, params=parameters), form)
            else:
                self._answer(HTTPStatus.OK, connection.query(sql, form, params=parameters).bytes() or b"", form)
        except (RuntimeError, OSError) as error:
            text = str(error)
            code = _CODE.search(text)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, text.encode(), code=code[1] if code else "1002")
        finally:
            connection.close()

    def _stream(self, blocks: Iterator[Any], form: str) -> None:
        """Send a result block by block; an error after the first one ends the connection within the answer."""
        first = next(blocks, None)
        self._head(HTTPStatus.OK, form)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._chunk(first)
            for block in blocks:
                self._chunk(block)
        except (RuntimeError, OSError):
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, block: Any) -> None:  # noqa: ANN401 - the engine's own type
        data = block.bytes() if block is not None else b""
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _answer(self, status: HTTPStatus, body: bytes, form: str = "TabSeparated", *, code: str = "") -> None:
        self._head(status, form)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, form: str) -> None:
        self.send_response(status)
        self.send_header("X-ClickHouse-Format", form)
        self.send_header("X-ClickHouse-Timezone", "UTC")

    def log_message(self, *_: object) -> None:
        """Say nothing: queries are nobody's business."""


def _basic(password: str) -> str:
    return f"Basic {b64encode(f'{_USER}:{password}'.encode()).decode()}"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
