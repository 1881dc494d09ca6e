"""`portcullis fitness`: the yearly four questions, answered from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.drills.fitness import FitnessResult


def fitness_command(
    *,
    by: Annotated[str, typer.Option("--by", help="The person whose key signs the record.")] = "compliance_lead@acme",
    as_json: JsonOption = False,
) -> None:
    """Answer the four questions of the yearly fitness test from the log, sign them, and write the self-assessment.

    Without a cluster the log is that of two drills, run for it. Example: portcullis fitness --by cfo@acme.
    """
    from streams.drills.fitness import run_fitness

    result = run_fitness(load_settings(), by, progress.print)
    finish(result.as_dict(), ok=result.passed, as_json=as_json, show=lambda console: _show(console, result))


def _show(console: Console, result: FitnessResult) -> None:
    rows = [
        (("yes" if answer.holds else "NO") if place == 0 else "", answer.question if place == 0 else "", line)
        for answer in result.answers
        for place, line in enumerate(answer.evidence)
    ]
    console.print(table("Fitness test", ("answer", "question", "evidence"), rows))
    console.print(f"Signed record: {result.record}")
    console.print(f"Self-assessment to complete: {result.assessment}")
