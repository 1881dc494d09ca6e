"""`portcullis topology`: what the cluster's topics are, and what they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Compare the cluster with topology/topics.toml and acls.toml, and mend what is safe.")
AclsOption = Annotated[bool, typer.Option("--acls", help="The access rules of topology/acls.toml too.")]
BotsOption = Annotated[list[str] | None, typer.Option("--bot", help="An agent_id to let in; may be repeated.")]
ServersOption = Annotated[
    str, typer.Option("--bootstrap-servers", help="The cluster; default: $KAFKA_BOOTSTRAP_SERVERS.")
]


@app.command("plan")
def plan_command(
    *,
    bootstrap_servers: ServersOption = "",
    acls: AclsOption = False,
    bots: BotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every difference; exit code 1 where there is one.

    Example: portcullis topology plan --acls
    """
    from streams import topics
    from streams.topics.access import plan_access

    settings = _settings(bootstrap_servers)
    topology = topics.load_topology(lanes=settings.lanes or None, prefix=settings.topic_prefix)
    left = [(str(drift), drift.safe) for drift in topics.plan(topology, settings.cluster())]
    if acls:
        access = plan_access(topology, settings.cluster(), bots or ())
        left += [(f"not granted: {grant}", True) for grant in access.missing]
        left += [(f"not in the topology: {rule}", False) for rule in access.stray]
    _finish(left, [], as_json=as_json)


@app.command("apply")
def apply_command(
    *,
    bootstrap_servers: ServersOption = "",
    acls: AclsOption = False,
    bots: BotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create, change and grant what loses nothing; exit code 1 where something is left to a person.

    Example: portcullis topology apply --acls --bot maker-01
    """
    from streams import topics
    from streams.topics.access import apply_access

    settings = _settings(bootstrap_servers)
    topology = topics.load_topology(lanes=settings.lanes or None, prefix=settings.topic_prefix)
    outcome = topics.apply(topology, settings.cluster())
    left = [(str(drift), drift.safe) for drift in outcome.refused]
    mended = [str(drift) for drift in outcome.mended]
    if acls:
        before, after = apply_access(topology, settings.cluster(), bots or ())
        mended += [f"granted: {grant}" for grant in before.missing]
        left += [(f"not in the topology: {rule}", False) for rule in after.stray]
    _finish(left, mended, as_json=as_json)


def _settings(bootstrap_servers: str) -> Settings:
    settings = load_settings()
    return replace(settings, kafka_bootstrap_servers=bootstrap_servers) if bootstrap_servers else settings


def _finish(left: list[tuple[str, bool]], mended: list[str], *, as_json: bool) -> None:
    def show(console: Console) -> None:
        if mended:
            console.print(table("Mended", ("change",), [(change,) for change in mended]))
        if left:
            rows = [(text, "yes" if safe else "no") for text, safe in left]
            console.print(table("Drift", ("difference", "mended by apply"), rows))
        else:
            console.print("The cluster is as the topology says.")

    result = {"drift": [text for text, _ in left], "mended": mended}
    finish(result, ok=not left, as_json=as_json, show=show)


@app.command("asyncapi")
def asyncapi_command(
    *,
    out: Annotated[Path | None, typer.Option(help="Write it to this file; default: standard output.")] = None,
) -> None:
    """Write the AsyncAPI 3 document of all topics, made from topology/topics.toml and the schemas.

    Example: portcullis topology asyncapi --out topology/asyncapi.json
    """
    from streams import topics
    from streams.topics.asyncapi import render_asyncapi

    document = render_asyncapi(topics.load_topology())
    if out is None:
        typer.echo(document, nl=False)
    else:
        out.write_text(document)
