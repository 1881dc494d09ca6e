"""`portcullis chaos`: real processes die under load, and the counts of what that did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.rig.faults import Fault
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.rig.chaos_figures import ChaosResult


def chaos_command(  # noqa: PLR0913 - each is an option of the command
    *,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="How often something dies.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed plans the same faults.")] = 1,
    rate: Annotated[int, typer.Option(min=1, max=5_000, help="Orders per second meanwhile.")] = 250,
    brokers: Annotated[int, typer.Option(min=1, max=7, help="Brokers of the cluster; three survive one's loss.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Workers that share the lanes.")] = 2,
    only: Annotated[Fault | None, typer.Option("--only", help="This fault alone, on one after the other.")] = None,
    pause_max: Annotated[
        float | None, typer.Option(min=0.1, help="Fail where a lane pauses longer than so many seconds.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Kill workers, broker and warehouse at random moments under load; nothing may be lost, doubled or wrong.

    Example, of a rolling upgrade: portcullis chaos --only "replace a worker" --rounds 4 --pause-max 2
    """
    from streams.rig.chaos import ChaosOptions, run_chaos

    options = ChaosOptions(
        rounds=rounds, seed=seed, rate=rate, brokers=brokers, only=only, workers=workers, pause_max_s=pause_max
    )
    result = run_chaos(load_settings(), options, progress.print)
    finish(result.as_dict(), ok=result.ok, as_json=as_json, show=lambda console: _show(console, result))


def _show(console: Console, result: ChaosResult) -> None:
    rows = [(what, value) for what, value in result.as_dict().items() if what not in ("problems", "failed_at")]
    console.print(table("Chaos", ("what", "count"), rows))
    if result.failed_at:
        console.print(f"[red]failed at[/] {result.failed_at}")
    for problem in result.problems:
        console.print(f"[red]problem:[/] {problem}")
    held = "[bold green]Everything held.[/]" if result.ok else "[bold red]Something did not hold.[/]"
    console.print(held)
