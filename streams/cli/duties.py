"""`portcullis duties`: who has done what, from certificates and signatures alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.wire.duties import Duties

app = typer.Typer(help="Segregation of duties.", no_args_is_help=True)
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


@app.callback()
def _group() -> None:
    """Keep `verify` a subcommand while it is the only one."""


@app.command("verify")
def verify_command(
    bot: Annotated[str, typer.Argument(help="The bot's agent_id.")],
    *,
    record: Annotated[Path | None, typer.Option(help="A registration's bytes; default: the registry's last.")] = None,
    trust: Annotated[Path | None, typer.Option(help="Folder with the pinned certificates; default: PKI's.")] = None,
    at: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="Moment, UTC; default: now.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the chain board, operator, CA, bot, and say in words where it does not hold.

    Example: `portcullis duties verify maker-01 --json`
    """
    from streams.rig.registering import last_registration
    from streams.wire.duties import Duties, verify_duties
    from streams.wire.trust import load_trust

    settings = load_settings()
    value = record.read_bytes() if record is not None else last_registration(settings, bot)
    at_us = time.time_ns() // 1000 if at is None else int(at.replace(tzinfo=UTC).timestamp() * 1_000_000)
    if value is None:
        duties = Duties(bot, (), (f"registry: a registration of {bot} required, has none",))
    else:
        duties = verify_duties(value, load_trust(trust or settings.pki), at_us)
    if duties.agent_id != bot:
        duties = Duties(duties.agent_id, duties.chain, (*duties.problems, f"record: of {bot} required"))
    finish(duties.as_dict(), ok=duties.verified, as_json=as_json, show=lambda console: _show(console, duties))


def _show(console: Console, duties: Duties) -> None:
    rows = [(link.role, link.name, link.certificate_sha256[:16], link.valid, link.signed) for link in duties.chain]
    console.print(table(duties.agent_id, ("role", "name", "certificate", "valid", "has signed"), rows))
    if duties.verified:
        console.print("[bold green]verified[/]: three parties, three keys, one scope")
    for problem in duties.problems:
        console.print(f"[bold red]does not hold[/]: {problem}")
