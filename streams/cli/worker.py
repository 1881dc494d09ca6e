"""`portcullis worker`, which loads nothing but what a worker needs."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.spared import spared
from streams.settings import Settings, load_settings
from streams.telemetry.redaction import RedactingFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.agents.lane import Trace
    from streams.engine.app import EngineApp

SucceedsOption = Annotated[
    int | None, typer.Option("--succeeds", min=2, help="Process id of a worker of this name, to take over from.")
]


def worker_command(*, succeeds: SucceedsOption = None) -> None:
    """Run a worker: gate, anomaly, registry, controls and post-trade on its share of the partitions.

    A new release takes over from a running one with --succeeds: it loads everything, asks the old one to end, and goes
    on where it ended. Example: PORTCULLIS_INSTANCE_ID=worker-1 portcullis worker --succeeds 4711
    """
    from streams import topics

    with spared("aiohttp", "aiohttp.client"):  # Faust's web server and client: a third of a worker's imports
        from streams.app import build_app
    from streams.engine.succession import Predecessor
    from streams.engine.worker import run_worker

    settings = load_settings()
    set_up_logs(settings, "worker")
    settings.require_cluster()
    with ExitStack() as running:
        predecessor = None if succeeds is None else running.enter_context(Predecessor(succeeds))
        trace = running.enter_context(_traced(settings))
        app = build_app(
            settings, topics.load_topology(lanes=settings.lanes or None, prefix=settings.topic_prefix), trace
        )
        watched = _watched(app, settings)
        if predecessor is None:
            running.enter_context(watched)
        else:  # which has the port as long as it runs
            app.succeed(predecessor, then=lambda: running.enter_context(watched))
        sys.exit(run_worker(app))


def set_up_logs(settings: Settings, service: str) -> None:
    """Log to standard error: a line of text each, or an object of JSON; without secrets."""
    if settings.log_format == "json":
        from streams.telemetry.logs import log_json

        log_json(service)
    else:
        log_to_stderr()


def log_to_stderr() -> None:
    """Log as text, one line each, without secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@contextmanager
def _traced(settings: Settings) -> Iterator[Trace | None]:
    """Yield what makes the verdicts' spans where an endpoint is set; else load nothing of it."""
    if not settings.otlp_endpoint:
        yield None
        return
    from streams.telemetry.tracing import open_tracing

    with open_tracing(settings, "worker") as tracing:
        yield tracing.decision


def _watched(app: EngineApp, settings: Settings) -> AbstractContextManager[object]:
    """Serve the worker's metrics and health where a port is set; else load nothing of it."""
    if not settings.metrics_port:
        return nullcontext()
    from streams.telemetry.server import serve_telemetry
    from streams.telemetry.worker import WorkerCollector, live, ready

    return serve_telemetry(settings, WorkerCollector(app), live=lambda: live(app), ready=lambda: ready(app))
