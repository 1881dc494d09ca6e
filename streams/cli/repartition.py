"""`portcullis topology repartition`: another number of lanes for an installation that runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.repartition.moving import Moved

PrefixOption = Annotated[str, typer.Option("--to-prefix", help="Before the names of the new topics; ends in a dot.")]
LanesOption = Annotated[int, typer.Option("--lanes", min=1, max=1024, help="How many lanes there will be.")]
ByOption = Annotated[str, typer.Option("--by", help="Who decided it; the logs say so.")]
OriginOption = Annotated[
    str, typer.Option("--to-origin", help="Under which the new logs begin; default: the old one and the prefix.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be moved; change nothing.")]


def repartition_command(
    *,
    to_prefix: PrefixOption,
    lanes: LanesOption,
    by: ByOption,
    to_origin: OriginOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move everything that limits and stops know to new topics with another number of lanes.

    First KILL ALL, and stop the workers once they have read everything: else it is refused. It closes the old logs, so
    the old workers cannot go on. Exit code 1: refused, or something came to the old topics meanwhile.
    Example: portcullis topology repartition --to-prefix v2. --lanes 6 --by cto@acme --dry-run
    """
    from streams.audit.epochs import Epoch
    from streams.repartition.moving import repartition

    settings = load_settings()
    origin = to_origin or f"{settings.log_origin}/{to_prefix.rstrip('.')}"
    with progress.status("reading the old lanes") as status:
        moved = repartition(
            settings,
            Epoch(origin, lanes, to_prefix),
            by=by,
            now_us=time.time_ns() // 1000,
            dry_run=dry_run,
            tell=status.update,
        )
    ok = not moved.problems and not moved.late
    finish(
        {"dry_run": dry_run, **moved.as_dict()},
        ok=ok,
        as_json=as_json,
        show=lambda console: _show(console, moved),
    )


def _show(console: Console, moved: Moved) -> None:
    rows = [(name, read, written, rule) for name, (read, written, rule) in moved.tables.items()]
    console.print(table("Tables", ("table", "old rows", "new rows", "rule"), rows))
    records = [(name, written, rule) for name, (written, rule) in moved.topics.items()]
    console.print(table("Topics", ("topic", "new records", "rule"), records))
    if moved.left:
        console.print(table("Left behind", ("row",), [(row,) for row in moved.left]))
    if moved.problems:
        console.print(table("Refused", ("problem",), [(problem,) for problem in moved.problems]))
    if moved.late:
        console.print(table("Too late: nobody reads it, give it again", ("topic", "records"), moved.late.items()))
    if moved.moved:
        console.print(f"{moved.old.lanes} lanes became {moved.new.lanes} in {moved.seconds:g} s. Now set everywhere")
        console.print(f"  PORTCULLIS_TOPIC_PREFIX={moved.new.prefix}")
        console.print(f"  PORTCULLIS_LANES={moved.new.lanes}")
        console.print(f"  PORTCULLIS_LOG_ORIGIN={moved.new.origin}", soft_wrap=True)
        console.print("start the workers, and let somebody else than who killed give `agent release --all`.")
    elif not moved.problems:
        console.print(f"{moved.old.lanes} lanes would become {moved.new.lanes}; nothing was changed.")
