"""`/metrics`, `/livez` and `/readyz` of a process, from a thread of its own: they answer though the rest hangs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.registry import Collector

    from streams.settings import Settings

_OK: Final = 200
_NOT_FOUND: Final = 404
_UNAVAILABLE: Final = 503


@contextmanager
def serve_telemetry(
    settings: Settings,
    collector: Collector,
    *,
    live: Callable[[], Mapping[str, bool]],
    ready: Callable[[], Mapping[str, bool]],
) -> Iterator[int]:
    """Serve a process's metrics and health on the settings' port, and yield it; nothing where none is set.

    `live` and `ready` name their parts; all must hold.
    """
    if not settings.metrics_port:
        yield 0
        return
    registry = CollectorRegistry()
    registry.register(collector)
    for made in (ProcessCollector, PlatformCollector, GCCollector):
        made(registry=registry)
    pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/metrics": lambda: (_OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)),
        "/livez": lambda: _judged(live()),
        "/healthz": lambda: _judged(live()),
        "/readyz": lambda: _judged(ready()),
    }
    handler = type("Handler", (_Handler,), {"pages": pages})
    with ThreadingHTTPServer((settings.metrics_host, settings.metrics_port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="telemetry", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _judged(parts: Mapping[str, bool]) -> tuple[int, str, bytes]:
    holds = all(parts.values())
    body = orjson.dumps({"ok": holds, "parts": dict(parts)})
    return (_OK if holds else _UNAVAILABLE), "application/json", body


class _Handler(BaseHTTPRequestHandler):
    pages: dict[str, Callable[[], tuple[int, str, bytes]]]
    timeout = 10

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        status, kind, body = page() if page is not None else (_NOT_FOUND, "text/plain", b"")
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:  # noqa: ANN401
        """Say nothing: probes come every few seconds."""
