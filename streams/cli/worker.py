"""`portcullis worker`, which loads nothing but what a worker needs."""

from __future__ import annotations

import logging
import sys

from streams.settings import load_settings


def worker_command() -> None:
    """Run a worker: gate, anomaly, registry, controls and post-trade on its share of the partitions."""
    from streams import topics
    from streams.app import build_app
    from streams.engine.worker import run_worker

    log_to_stderr()
    settings = load_settings()
    settings.require_cluster()
    topology = topics.load_topology(prefix=settings.topic_prefix)
    sys.exit(run_worker(build_app(settings, topology)))


def log_to_stderr() -> None:
    """Log as text, one line each."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
