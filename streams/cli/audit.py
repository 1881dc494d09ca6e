"""`portcullis audit`: the log."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.rig.auditing import AuditReport

app = typer.Typer(help="The audit log and its proofs.", no_args_is_help=True)
_SHOWN = 50


@app.callback()
def _group() -> None:
    """Keep `verify` a subcommand while it is the only one."""


@app.command("verify")
def verify_command(
    *,
    topic_only: Annotated[bool, typer.Option("--topic-only", help="Leave the warehouse out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild every log from the topic and from the warehouse, and hold both against the signed checkpoints."""
    from streams.rig.auditing import verify_audit
    from streams.rig.batching import log_key
    from streams.warehouse.connection import connect

    settings = load_settings()
    with ExitStack() as opened:
        warehouse = None if topic_only else opened.enter_context(closing(connect(settings.warehouse)))
        report = verify_audit(settings, lambda origin: log_key(settings, origin), warehouse)
    finish(report.as_dict(), ok=report.verified, as_json=as_json, show=lambda console: _show(console, report))


def _show(console: Console, report: AuditReport) -> None:
    figures = (
        f"{report.logs} logs, {report.leaves:,} leaves, {report.checkpoints:,} checkpoints,"
        f" {report.warehouse_rows:,} warehouse rows"
    )
    if report.verified:
        console.print(f"[bold green]verified[/]: {figures}")
        return
    console.print(table("Problems", ("problem",), [(problem,) for problem in report.problems[:_SHOWN]]))
    console.print(f"[bold red]not verified[/]: {len(report.problems)} problems in {figures}")
