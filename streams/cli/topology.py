"""`portcullis topology`: what the cluster's topics are, and what they should be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.topics import Drift

app = typer.Typer(help="Compare the cluster's topics with topology/topics.toml, and mend what is safe.")
ServersOption = Annotated[
    str, typer.Option("--bootstrap-servers", help="The cluster; default: $KAFKA_BOOTSTRAP_SERVERS.")
]


@app.command("plan")
def plan_command(*, bootstrap_servers: ServersOption = "", as_json: JsonOption = False) -> None:
    """Show every difference; exit code 1 where there is one."""
    from streams import topics

    settings = _settings(bootstrap_servers)
    drifts = topics.plan(topics.load_topology(prefix=settings.topic_prefix), settings.cluster())
    _finish(drifts, (), ok=not drifts, as_json=as_json)


@app.command("apply")
def apply_command(*, bootstrap_servers: ServersOption = "", as_json: JsonOption = False) -> None:
    """Create and change what loses nothing; exit code 1 where something is left to a person."""
    from streams import topics

    settings = _settings(bootstrap_servers)
    outcome = topics.apply(topics.load_topology(prefix=settings.topic_prefix), settings.cluster())
    _finish(outcome.refused, outcome.mended, ok=not outcome.refused, as_json=as_json)


def _settings(bootstrap_servers: str) -> Settings:
    settings = load_settings()
    return replace(settings, kafka_bootstrap_servers=bootstrap_servers) if bootstrap_servers else settings


def _finish(left: tuple[Drift, ...], mended: tuple[Drift, ...], *, ok: bool, as_json: bool) -> None:
    def show(console: Console) -> None:
        if mended:
            console.print(table("Mended", ("change",), [(drift,) for drift in mended]))
        if left:
            console.print(
                table("Drift", ("difference", "mended by apply"), [(d, "yes" if d.safe else "no") for d in left])
            )
        if not left:
            console.print("The cluster is as the topology says.")

    result = {"drift": [str(drift) for drift in left], "mended": [str(drift) for drift in mended]}
    finish(result, ok=ok, as_json=as_json, show=show)
