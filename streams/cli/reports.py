"""`portcullis report`: the regulator's batches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.reports.export import BatchSummary
    from streams.reports.verify import BatchReport

app = typer.Typer(help="Write the regulator's batches and verify them off-line.", no_args_is_help=True)
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_SHOWN = 50


@app.command("export")
def export_command(  # noqa: PLR0913 - a command's options
    *,
    start: Annotated[datetime, typer.Option("--from", formats=_FORMATS, help="First moment, UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=_FORMATS, help="First moment not covered, UTC.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one with this very batch.")],
    bot: Annotated[str, typer.Option("--bot", help="Records of this bot alone.")] = "",
    market: Annotated[str, typer.Option("--market", help="Records of this market alone, as BTC_USDT.")] = "",
    corrects: Annotated[str, typer.Option(help="Id of the batch that this one corrects.")] = "",
    reason: Annotated[str, typer.Option(help="Why it corrects it.")] = "",
    instruments: Annotated[
        Path | None,
        typer.Option(help='What markets trade: JSON, {"BTC_EUR": {"dti": "4H95J0R2X", "currency": "EUR"}}.'),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write every record of a time range from the warehouse, with the leaves and checkpoints that prove it.

    Example: portcullis report export --from 2026-01-01 --to 2026-01-02 --market BTC_USDT --out batch
    """
    from contextlib import closing

    from streams.reports.export import BatchRange, Correction
    from streams.reports.facts import read_instruments
    from streams.rig.batching import deliver_batch
    from streams.warehouse.connection import connect

    settings = load_settings()
    if start >= end:
        raise typer.BadParameter("--from must be before --to")
    if bool(corrects) != bool(reason):
        raise typer.BadParameter("--corrects and --reason go together")
    known = {} if instruments is None else read_instruments(instruments)
    correction = Correction(corrects, reason) if corrects else None
    wanted = BatchRange(_us(start), _us(end), bot, market, correction, known)
    with (
        progress.status("reading the warehouse, writing the batch ..."),
        closing(connect(settings.warehouse)) as warehouse,
    ):
        batch = deliver_batch(settings, warehouse, wanted, out)
    result = {"records": batch.records, "batch": str(out), "batch_id": batch.batch_id, "counts": batch.counts}
    finish(result, ok=True, as_json=as_json, show=lambda console: _show_batch(console, batch))


@app.command("verify")
def verify_command(
    folder: Annotated[Path, typer.Argument(help="The batch's folder.", exists=True, file_okay=False)],
    *,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="Public keys, as `audit keys` writes them; default: the local PKI's."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a summary for people to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a batch with nothing but public keys; exit code 1 where anything does not hold.

    Example: portcullis report verify batch --keys keys.txt --html summary.html
    """
    from streams.audit.keys import read_keys
    from streams.reports.identity import load_lists
    from streams.reports.keys import local_keys
    from streams.reports.summary import summary_page
    from streams.reports.verify import verify_batch

    settings = load_settings()
    trusted = read_keys(keys) if keys is not None else local_keys(settings.pki, folder)
    lists = load_lists(None if settings.dti_list == Path() else settings.dti_list)
    spans = {key.verifier: key.generation for key in trusted}
    with progress.status("checking records, leaves and signatures ..."):
        report = verify_batch(folder, list(spans), lists, spans)
    if html is not None:
        html.write_text(summary_page(report, str(folder)))
    finish(report.as_dict(), ok=report.verified, as_json=as_json, show=lambda console: _show_report(console, report))


def _us(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _show_batch(console: Console, batch: BatchSummary) -> None:
    console.print(table("Batch", ("kind", "records"), sorted(batch.counts.items())))
    console.print(f"written to {batch.folder}")


def _show_report(console: Console, report: BatchReport) -> None:
    figures = f"{report.records:,} records, {report.leaves:,} leaves under {report.checkpoints:,} signed checkpoints"
    for gap in report.gaps[:_SHOWN]:
        console.print(f"[yellow]missing:[/] {gap}")
    if report.verified:
        console.print(f"[bold green]verified[/]: {figures}")
        return
    console.print(table("Problems", ("problem",), [(problem,) for problem in report.problems[:_SHOWN]]))
    console.print(f"[bold red]not verified[/]: {len(report.problems)} problems in {figures}")
