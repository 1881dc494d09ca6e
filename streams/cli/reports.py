"""`portcullis report`: the regulator's batches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.reports.export import BatchSummary
    from streams.reports.verify import BatchReport

app = typer.Typer(help="Write the regulator's batches and verify them off-line.", no_args_is_help=True)
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_SHOWN = 50


@app.command("export")
def export_command(
    *,
    start: Annotated[datetime, typer.Option("--from", formats=_FORMATS, help="First moment, UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=_FORMATS, help="First moment not covered, UTC.")],
    out: Annotated[Path, typer.Option("--out", help="An empty or new folder.")],
    bot: Annotated[str, typer.Option("--bot", help="Records of this bot alone.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write every record of a time range from the warehouse, with the leaves and checkpoints that prove it."""
    from contextlib import closing

    from streams.reports.export import BatchRange
    from streams.rig.batching import write_batch
    from streams.warehouse.connection import connect

    settings = load_settings()
    if start >= end:
        raise typer.BadParameter("--from must be before --to")
    with closing(connect(settings.warehouse)) as warehouse:
        batch = write_batch(settings, warehouse, BatchRange(_us(start), _us(end), bot), out)
    result = {"records": batch.records, "batch": str(batch.folder), "batch_id": batch.batch_id, "counts": batch.counts}
    finish(result, ok=True, as_json=as_json, show=lambda console: _show_batch(console, batch))


@app.command("verify")
def verify_command(
    folder: Annotated[Path, typer.Argument(help="The batch's folder.", exists=True, file_okay=False)],
    *,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Public keys, one verifier key per line; default: the local PKI's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a batch with nothing but public keys; exit code 1 where anything does not hold."""
    from streams.reports.verify import verify_batch
    from streams.rig.batching import local_keys, read_keys

    settings = load_settings()
    trusted = read_keys(keys) if keys is not None else local_keys(settings, folder)
    report = verify_batch(folder, trusted)
    finish(report.as_dict(), ok=report.verified, as_json=as_json, show=lambda console: _show_report(console, report))


def _us(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _show_batch(console: Console, batch: BatchSummary) -> None:
    console.print(table("Batch", ("file", "records"), sorted(batch.counts.items())))
    console.print(f"written to {batch.folder}")


def _show_report(console: Console, report: BatchReport) -> None:
    figures = f"{report.records:,} records, {report.leaves:,} leaves under {report.checkpoints:,} signed checkpoints"
    if report.verified:
        console.print(f"[bold green]verified[/]: {figures}")
        return
    console.print(table("Problems", ("problem",), [(problem,) for problem in report.problems[:_SHOWN]]))
    console.print(f"[bold red]not verified[/]: {len(report.problems)} problems in {figures}")
