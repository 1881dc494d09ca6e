"""`portcullis detect`: how good the anomaly scores are, measured on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from streams.detect.evaluate import Evaluation
    from streams.detect.peers import Peer


def detect_command(
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Folder with anomaly_nab, ticks_pump_events, ticks_quiet, accounts_*.")
    ] = Path("../shared/data"),
    peers: Annotated[bool, typer.Option("--peers", help="Also run other detectors on the series.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw what each threshold finds and costs into this SVG file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score labelled series, announced pumps and quiet trades; say what was found and what was a false alarm.

    Example: portcullis detect --data ../shared/data --json
    """
    from streams.detect.data import read_profiles, read_series
    from streams.detect.evaluate import evaluate
    from streams.detect.peers import compare

    evaluation = evaluate(data, progress.print)
    if plot is not None:
        from streams.detect.plot import draw

        plot.write_text(draw(evaluation))
    beside = compare(read_series(data), read_profiles(data)["standard"], progress.print) if peers else []
    result = evaluation.as_dict() | {"peers": [peer._asdict() for peer in beside]}
    finish(result, ok=evaluation.complete, as_json=as_json, show=lambda console: _show(console, evaluation, beside))


def _show(console: Console, evaluation: Evaluation, peers: Sequence[Peer]) -> None:
    nab = [
        (
            name,
            f"{score.normalised:.1f}",
            f"{score.threshold:.3f}",
            f"{score.found}/{score.windows}",
            score.false_alarms,
        )
        for name, score in evaluation.nab.items()
    ]
    console.print(table("Numenta Anomaly Benchmark", ("profile", "score", "threshold", "windows", "false alarms"), nab))
    console.print()
    pumps = [
        (what, chunk_s, f"{of.f1:.3f}", f"{of.precision:.3f}", f"{of.recall:.3f}", of.pumps, of.false_alarms)
        for what, events in (("not tuned on", evaluation.pumps), ("tuned on", evaluation.tuned_pumps))
        for chunk_s, of in events.items()
    ]
    events_columns = ("events", "chunk s", "F1", "precision", "recall", "pumps", "false alarms")
    console.print(table("Announced pumps", events_columns, pumps))
    console.print()
    quiet = [
        (name, of.orders, f"{of.bot_weeks:.2f}", of.breakers, of.above_breaker, of.above_kill)
        for name, of in evaluation.quiet.items()
    ]
    columns = ("quiet data", "orders", "bot-weeks", "false breakers", "orders > 0.75", "orders > 0.85")
    console.print(table("False alarms", columns, quiet))
    console.print()
    figures = evaluation.as_dict()
    console.print(f"False breakers per bot-week: {figures['false_breakers_per_bot_week']}.")
    console.print(f"Scoring an order: {figures['us_per_order']} us.")
    if peers:
        rows = [
            (p.name, f"{p.nab_standard:.1f}", f"{p.nab_standard_untold:.1f}", f"{p.us_per_value:.2f}") for p in peers
        ]
        peers_columns = ("detector", "NAB, told once", "NAB, as scored", "us per value")
        console.print()
        console.print(table("The same series", peers_columns, rows))
