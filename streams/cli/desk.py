"""`portcullis desk`: the risk desk's page, and who may sign in there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.cli.services import log_as_json, running
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.desk.accounts import Accounts

app = typer.Typer(
    help="The risk desk: a live page, the kill switch, and who may use them. Example: portcullis desk --port 8088"
)
users_app = typer.Typer(help="Who may sign in at the desk.", no_args_is_help=True)
app.add_typer(users_app, name="users")

NameArgument = Annotated[str, typer.Argument(help="The person's name, as in their certificate.")]


@app.callback(invoke_without_command=True)
def desk_command(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; default PORTCULLIS_DESK_HOST or 127.0.0.1.")] = "",
    port: Annotated[int, typer.Option(help="Port; default PORTCULLIS_DESK_PORT or 8088.")] = 0,
) -> None:
    """Serve the risk desk's page until stopped. Example: portcullis desk --port 8088.

    At the first start without users, the people whom the PKI trusts get one-time passwords, shown this once.
    """
    if context.invoked_subcommand is not None:
        return
    from streams.desk.accounts import Accounts
    from streams.desk.feed import PARTS
    from streams.desk.server import first_users, run_desk, users_file
    from streams.desk.settings import load_desk_settings
    from streams.pulse import Pulse

    log_as_json()
    settings, desk_settings = load_settings(), load_desk_settings()
    changes = {name: value for name, value in (("host", host), ("port", port)) if value}
    desk_settings = replace(desk_settings, **changes)  # type: ignore[arg-type]
    given = first_users(settings, Accounts(users_file(settings, desk_settings)))
    if given:
        progress.print(table("First users: to be changed at the first sign-in", ("name", "password"), given.items()))
    progress.print(f"risk desk: {desk_settings.origin}")
    pulse = Pulse("desk", *PARTS)
    with running(settings, pulse):
        run_desk(settings, desk_settings, pulse)


@users_app.command("add")
def add_command(
    name: NameArgument,
    *,
    role: Annotated[str, typer.Option(help="viewer, risk, operator, compliance or regulator.")],
    operator: Annotated[str, typer.Option(help="Role operator: whose bots.")] = "",
    password: Annotated[
        bool, typer.Option(help="Print a one-time password; without it by certificate or OpenID only.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Let somebody sign in. Example: portcullis desk users add jane@acme --role viewer."""
    from streams.desk.people import DeskRole

    if role not in set(DeskRole):
        raise typer.BadParameter(f"one of {', '.join(DeskRole)}", param_hint="--role")
    given = _accounts().add(name, DeskRole(role), operator, with_password=password)
    _show_password(name, given, as_json=as_json)


@users_app.command("reset")
def reset_command(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Give somebody a new one-time password. Example: portcullis desk users reset jane@acme."""
    _show_password(name, _accounts().reset(name), as_json=as_json)


@users_app.command("remove")
def remove_command(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Let somebody sign in no longer; their open pages end within seconds.

    Example: portcullis desk users remove jane@acme
    """
    _accounts().remove(name)
    finish({"removed": name}, ok=True, as_json=as_json, show=lambda console: console.print(f"{name} removed"))


@users_app.command("list")
def list_command(*, as_json: JsonOption = False) -> None:
    """Show who may sign in. Example: portcullis desk users list --json."""
    users = [
        {"name": u.name, "role": str(u.role), "operator": u.operator, "password": bool(u.password_hash)}
        for _, u in sorted(_accounts().users().items())
    ]

    def show(console: Console) -> None:
        columns = ("name", "role", "operator", "password")
        console.print(table("Users of the desk", columns, [[user[column] for column in columns] for user in users]))

    finish({"users": users}, ok=True, as_json=as_json, show=show)


def _accounts() -> Accounts:
    from streams.desk.accounts import Accounts
    from streams.desk.server import users_file
    from streams.desk.settings import load_desk_settings

    return Accounts(users_file(load_settings(), load_desk_settings()))


def _show_password(name: str, password: str, *, as_json: bool) -> None:
    sentence = f"one-time password of {name}: {password}" if password else f"{name} signs in without a password"
    finish(
        {"name": name, "password": password or None},
        ok=True,
        as_json=as_json,
        show=lambda console: console.print(sentence),
    )
