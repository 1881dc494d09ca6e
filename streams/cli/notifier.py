"""`portcullis notifier`: alerts to mail, SMS, chat and webhooks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.services import running
from streams.cli.worker import log_to_stderr
from streams.settings import load_settings


def notifier_command(
    routes: Annotated[
        Path | None, typer.Option("--routes", help="The routes, TOML; default: notify.toml in the home folder.")
    ] = None,
) -> None:
    """Tell people of alerts, by the routes of a settings file; an alert that nobody got comes again after a restart.

    Example: portcullis notifier --routes infra/notify/notify.example.toml
    """
    from streams.notify.routes import RoutesError, load_routes
    from streams.notify.run import PARTS, Notifier
    from streams.pulse import Pulse

    log_to_stderr()
    settings = load_settings()
    pulse = Pulse("notifier", *PARTS)
    path = routes or settings.home / "notify.toml"
    try:
        notifier = Notifier(settings, load_routes(path, os.environ), pulse)
    except ValueError as error:
        raise RoutesError(str(error)) from None
    with running(settings, pulse) as stop:
        notifier.run(stop)
