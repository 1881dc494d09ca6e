"""`portcullis person`: who stands behind the names in the log, kept where it can be forgotten."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

app = typer.Typer(help="The register of the persons whom the log knows by handles.", no_args_is_help=True)

HandleArgument = Annotated[str, typer.Argument(help="The handle, as in certificates, commands and the log.")]


@app.command("enrol")
def enrol_command(
    *,
    name: Annotated[str, typer.Option(help="The person's name.")],
    mail: Annotated[str, typer.Option(help="Where the person is reached.")] = "",
    post: Annotated[str, typer.Option(help="The post, for example CFO.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Register a person and print the handle for the common name of the person's certificate.

    Example: `portcullis person enrol --name 'Ann Example' --post CFO`
    """
    from streams.wire.people import enrol

    identity = {key: text for key, text in (("name", name), ("mail", mail), ("post", post)) if text}
    entry = enrol(load_settings().home / "people", identity)
    finish({"handle": entry.handle}, ok=True, as_json=as_json, show=lambda console: console.print(entry.handle))


@app.command("show")
def show_command(handle: HandleArgument, *, as_json: JsonOption = False) -> None:
    """Show who a handle is, proven by the commitment.

    Example: `portcullis person show p-0123456789abcdef0123456789abcdef`
    """
    from streams.wire.people import look_up

    entry = look_up(load_settings().home / "people", handle)
    result = {"handle": handle, "salt": entry.salt.hex(), **entry.identity}
    rows = list(entry.identity.items())
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(table(handle, ("what", "is"), rows)))


@app.command("shred")
def shred_command(
    handle: HandleArgument,
    *,
    by: Annotated[str, typer.Option(help="Who orders it.")],
    reason: Annotated[str, typer.Option(help="Why, without naming the person.")],
    as_json: JsonOption = False,
) -> None:
    """Forget a person: the log stays valid, and nobody can say any more whose handle it was.

    Example: `portcullis person shred p-0123456789abcdef0123456789abcdef --by dpo --reason 'right to erasure'`
    """
    from streams.wire.people import shred

    shred(load_settings().home / "people", handle, by=by, reason=reason, now_us=time.time_ns() // 1000)
    result = {"handle": handle, "shredded": True}
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(f"{handle} is forgotten"))
