"""All commands."""

from __future__ import annotations

import typer

from streams.cli import (
    agents,
    archive,
    audit,
    broker,
    desk,
    drill,
    duties,
    fitness,
    incidents,
    orders,
    person,
    pki,
    repartition,
    reports,
    run,
    tamper,
    topology,
)

app = typer.Typer(
    name="portcullis",
    help="The gate between trading bots and venues: every order checked, logged and provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(broker.app, name="broker")
app.add_typer(topology.app, name="topology")
topology.app.command("repartition")(repartition.repartition_command)
app.add_typer(agents.app, name="agent")
app.add_typer(incidents.app, name="incident")
app.add_typer(orders.app, name="order")
app.add_typer(pki.app, name="pki")
app.add_typer(reports.app, name="report")
app.add_typer(audit.app, name="audit")
app.add_typer(archive.app, name="archive")
app.add_typer(drill.app, name="drill")
app.add_typer(desk.app, name="desk")
app.add_typer(duties.app, name="duties")
app.add_typer(person.app, name="person")
for command in (*run.COMMANDS, fitness.fitness_command, tamper.tamper_command):
    app.command(command.__name__.removesuffix("_command").replace("_", "-"))(command)
