"""`portcullis tamper`: what a run leaves behind, changed and looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.rig.tampering import TamperResult


def tamper_command(
    *,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Single changes to make.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed changes the same records.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Change log, batch, warehouse rows and archive one record at a time: each change must be found and named.

    Example: portcullis tamper --count 10000 --json
    """
    from streams.rig.tampering import run_tamper

    result = run_tamper(load_settings(), count, seed, progress.print)
    finish(result.as_dict(), ok=result.ok, as_json=as_json, show=lambda console: _show(console, result))


def _show(console: Console, result: TamperResult) -> None:
    console.print(table("Changes", ("where", "made"), [(name, f"{made:,}") for name, made in result.targets.items()]))
    for problem in result.as_dict()["problems"]:
        console.print(f"[red]{problem}[/]")
    colour = "green" if result.ok else "red"
    console.print(
        f"[bold {colour}]{result.mutations:,} changes, {result.found:,} found, {result.named:,} named by record.[/]"
    )
