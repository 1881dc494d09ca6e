"""The command line: `portcullis`."""

from __future__ import annotations

import sys

import typer

from streams.cli import agents, audit, broker, orders, reports, run, topology
from streams.cli.output import say
from streams.core.errors import PortcullisError

app = typer.Typer(
    name="portcullis",
    help="The gate between trading bots and venues: every order checked, logged and provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(broker.app, name="broker")
app.add_typer(topology.app, name="topology")
app.add_typer(agents.app, name="agent")
app.add_typer(orders.app, name="order")
app.add_typer(reports.app, name="report")
app.add_typer(audit.app, name="audit")
for command in run.COMMANDS:
    app.command(command.__name__.removesuffix("_command").replace("_", "-"))(command)


def main() -> None:
    """Run a command; errors of ours are a sentence and exit code 2."""
    try:
        app()
    except PortcullisError as error:
        say(error)
        sys.exit(2)
