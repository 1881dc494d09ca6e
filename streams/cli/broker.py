"""`portcullis broker`: the local Kafka broker."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import typer

from streams.cli.output import JsonOption, finish, progress
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Install and run real Apache Kafka on this machine.", no_args_is_help=True)


@app.command("install")
def install_command() -> None:
    """Fetch the broker's jars once; does nothing where they are complete."""
    from streams.local.installation import ensure_installed

    ensure_installed(progress=progress.print)


@app.command("run")
def run_command(*, as_json: JsonOption = False) -> None:
    """Run a broker on `.portcullis/kafka-data` until Ctrl-C and print its address."""
    from streams.local.broker import LocalKafka

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with LocalKafka(load_settings().home / "kafka-data") as broker:
        address = broker.bootstrap_servers
        progress.print(f"Kafka answers at [bold]{address}[/]; Ctrl-C ends it.")
        stop.wait()

    def show(console: Console) -> None:
        console.print(f"Stopped; the data is in {load_settings().home / 'kafka-data'}.")

    finish({"bootstrap_servers": address}, ok=True, as_json=as_json, show=show)
