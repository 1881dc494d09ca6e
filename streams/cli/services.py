"""What commands that run until they are stopped have in common."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.pulse import Pulse
    from streams.settings import Settings


def log_as_json() -> None:
    """Write log lines as JSON to standard error, under the command's name."""
    from streams.telemetry.logs import log_json

    log_json(sys.argv[1] if len(sys.argv) > 1 else "portcullis")


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def running(settings: Settings, pulse: Pulse) -> Iterator[threading.Event]:
    """Serve the pulse where a port is set, and yield the event that asks to stop."""
    stop = stop_on_signals()
    if not settings.metrics_port:
        yield stop
        return
    from streams.telemetry.service import serve_pulse

    with serve_pulse(settings, pulse):
        yield stop
