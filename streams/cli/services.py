"""What commands that run until they are stopped have in common."""

from __future__ import annotations

import signal
import sys
import threading

from streams.telemetry.logs import log_json


def log_as_json() -> None:
    """Write log lines as JSON to standard error, under the command's name."""
    log_json(sys.argv[1] if len(sys.argv) > 1 else "portcullis")


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
