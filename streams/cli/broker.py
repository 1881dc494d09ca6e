"""`portcullis broker`: the local Kafka broker."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Install and run real Apache Kafka on this machine.", no_args_is_help=True)


@app.command("install")
def install_command() -> None:
    """Fetch the broker's jars once; does nothing where they are complete.

    Example: portcullis broker install
    """
    from streams.local.installation import ensure_installed

    ensure_installed(progress=progress.print)


@app.command("run")
def run_command(
    *,
    data: Annotated[Path | None, typer.Option(help="Its data; default: `kafka-data` in the home folder.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Its port; default: a free one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a broker on this machine until Ctrl-C and print its address.

    Example: portcullis broker run --data .portcullis/demo/kafka --port 9092
    """
    from streams.local.broker import LocalKafka

    folder = data or load_settings().home / "kafka-data"
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with LocalKafka(folder, port=port) as broker:
        address = broker.bootstrap_servers
        progress.print(f"Kafka answers at [bold]{address}[/]; Ctrl-C ends it.")
        stop.wait()

    def show(console: Console) -> None:
        console.print(f"Stopped; the data is in {folder}.")

    finish({"bootstrap_servers": address}, ok=True, as_json=as_json, show=show)
