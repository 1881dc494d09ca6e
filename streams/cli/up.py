"""`portcullis up`: everything on this machine, live, until it is stopped."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from streams.cli.output import progress, table
from streams.settings import load_settings


def up_command(
    *,
    bots: Annotated[int, typer.Option(min=1, max=100_000, help="Bots; 20 show every habit.")] = 20,
    rate: Annotated[int, typer.Option(min=1, max=5_000, help="Messages per second.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed plans the same messages.")] = 1,
) -> None:
    """Run broker, worker, warehouse, risk desk and trading bots until Ctrl-C. Example: portcullis up --rate 100."""
    from streams.desk.settings import load_desk_settings
    from streams.rig.live import LiveOptions, Running, run_live

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def ready(running: Running) -> None:
        if running.passwords:
            title = "Users of the desk: the passwords serve once and are shown this once"
            progress.print(table(title, ("name", "password"), running.passwords.items()))
        progress.print(
            f"Risk desk: [bold]{running.url}[/]    Kafka: {running.stage.settings.kafka_bootstrap_servers}", markup=True
        )
        progress.print(
            f"{bots} bots send {rate} messages a second. Logs: {running.stage.folder / 'logs'}. Ctrl-C stops it all."
        )

    progress.print(f"Starting Kafka, making keys of three parties, registering {bots} bots ...")
    run_live(load_settings(), load_desk_settings(), LiveOptions(bots, rate, seed), ready=ready, stop=stop)
