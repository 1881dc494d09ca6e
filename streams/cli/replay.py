"""`portcullis replay`: a policy tried on past orders before anybody signs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.replay.trying import Trial

_MADE_ORDERS = 100_000


def replay_command(
    *,
    policy: Annotated[Path, typer.Option("--policy", help="The policy document to try.", exists=True, dir_okay=False)],
    orders: Annotated[int | None, typer.Option(min=1, max=100_000_000, help="Orders at most; default: all.")] = None,
    every: Annotated[bool, typer.Option("--every-bot", help="Try it on all bots, not only on its own.")] = False,
    follow: Annotated[float, typer.Option(min=0, help="Then follow live orders for so many seconds.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Decide past orders again under another policy, and show the verdicts that would differ.

    The past is the cluster's audit log (KAFKA_BOOTSTRAP_SERVERS), else the warehouse's (PORTCULLIS_WAREHOUSE_DSN), else
    one made by simulated bots, of 100,000 orders unless --orders says otherwise, on all of whom the policy is tried.

    With --follow it is a shadow: verdicts of the cluster that the policy would change are shown as they come.

    Example: portcullis replay --policy new.json --orders 1000000 --json
    """
    from streams.core.policy import parse_policy
    from streams.replay.history import TopicHistory
    from streams.replay.trying import open_history, shadow, try_on, try_on_made

    settings = load_settings()
    tried = parse_policy(policy.read_bytes())
    found = open_history(settings)
    if follow:
        settings.require_cluster()
        trial = shadow(TopicHistory(settings), tried, every=every, seconds=follow, tell=progress.print)
    elif found is None:
        trial = try_on_made(settings.home / "replay", tried, orders=orders or _MADE_ORDERS, tell=progress.print)
    else:
        trial = try_on(found[1], found[0], tried, every=every, orders=orders)
    finish(trial.as_dict(), ok=True, as_json=as_json, show=lambda console: _show(console, trial))


def _show(console: Console, trial: Trial) -> None:
    tally = trial.tally
    rows = [(before, after, f"{count:,}") for (before, after), count in tally.changes.most_common()]
    console.print(table("Verdicts that would differ", ("reason then", "reason under the new policy", "orders"), rows))
    console.print(
        table("By bot", ("bot", "orders"), [(bot, f"{count:,}") for bot, count in tally.bots.most_common(20)])
    )
    result = trial.as_dict()
    console.print(f"{tally.orders:,} orders decided again in {trial.seconds:.1f} s; {tally.changed:,} would differ.")
    more, less = result["newly_approved_eur"], result["newly_refused_eur"]
    then, now = tally.approved_before, tally.approved_after
    console.print(f"Approved then {then:,}, now {now:,}: EUR {more} more, EUR {less} less.")
