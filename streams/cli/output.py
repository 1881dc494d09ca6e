"""What every command prints: tables for people, one JSON object as the last line for scripts, errors in a sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]

# Progress and explanations go to standard error, so that standard output is the result alone.
progress = Console(stderr=True, highlight=False)
# A file or pipe has no width of its own; tables stay in one piece at this one.
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def finish(result: Mapping[str, Any], *, ok: bool, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print the result and leave with 0 where all holds, else 1."""
    if as_json:
        sys.stdout.write(orjson.dumps(result, default=str).decode() + "\n")
    else:
        show(_out)
    sys.stdout.flush()
    raise typer.Exit(0 if ok else 1)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table for people; numbers stand to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    content = [[str(cell) for cell in row] for row in rows]
    for place, column in enumerate(columns):
        numeric = bool(content) and all(row[place].replace(",", "").replace(".", "", 1).isdigit() for row in content)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in content:
        made.add_row(*row)
    return made


def say(error: PortcullisError) -> None:
    """Print an error as a sentence."""
    progress.print(f"[bold red]error:[/] {type(error).__name__.removesuffix('Error')}: {error}", markup=True)
