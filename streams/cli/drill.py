"""`portcullis drill`: emergencies rehearsed through the real pipeline, and their signed records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.drills.plan import PURPOSES, DrillName
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.drills.running import DrillResult

app = typer.Typer(
    help="Rehearse an emergency on topics of its own, through the real pipeline: `portcullis drill flash-crash`.",
    no_args_is_help=True,
)

_PERSON = "compliance_lead@acme"
SeedOption = Annotated[int, typer.Option(help="The same seed plans the same messages.")]
ByOption = Annotated[str, typer.Option("--by", help="The person whose key signs the record.")]


SecondsOption = Annotated[int, typer.Option(min=1, max=3_600, help="How long the double load lasts.")]


def _command(name: DrillName) -> Callable[..., None]:
    """Return the command that runs a drill."""

    def run(
        *, seed: SeedOption = 1, by: ByOption = _PERSON, seconds: SecondsOption = 10, as_json: JsonOption = False
    ) -> None:
        (result,) = _run([name], seed, by, seconds)
        finish(result.as_dict(), ok=result.passed, as_json=as_json, show=lambda console: _show(console, result))

    return run


for _name, _purpose in PURPOSES.items():
    app.command(_name.value, help=f"{_purpose}\n\nExample: portcullis drill {_name} --seed 7 --json")(_command(_name))


@app.command("all")
def all_command(
    *, seed: SeedOption = 1, by: ByOption = _PERSON, seconds: SecondsOption = 10, as_json: JsonOption = False
) -> None:
    """Run every drill, one after the other on one ground: the quarterly test. Example: portcullis drill all."""
    results = _run(list(DrillName), seed, by, seconds)
    passed = all(result.passed for result in results)

    def show(console: Console) -> None:
        for result in results:
            _show(console, result)

    finish(
        {"passed": passed, "drills": [result.as_dict() for result in results]}, ok=passed, as_json=as_json, show=show
    )


def _run(names: list[DrillName], seed: int, by: str, seconds: int) -> list[DrillResult]:
    from streams.drills.running import DrillOptions, run_drills

    options = DrillOptions(seed=seed, signed_by=by, seconds=seconds)
    return run_drills(load_settings(), names, options, progress.print)


@app.command("list")
def list_command(*, as_json: JsonOption = False) -> None:
    """Name every drill and what it rehearses. Example: portcullis drill list."""
    drills = [(name.value, purpose) for name, purpose in PURPOSES.items()]
    finish(
        {"drills": dict(drills)},
        ok=True,
        as_json=as_json,
        show=lambda console: console.print(table("Drills", ("drill", "what is rehearsed"), drills)),
    )


@app.command("verify")
def verify_command(
    record: Annotated[Path, typer.Argument(help="A record of `portcullis drill` or `portcullis fitness`.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Check who signed a record. Example: portcullis drill verify .portcullis/records/runaway-1.dsse.json."""
    from streams.drills.record import RecordRefusedError, read_record
    from streams.wire.trust import load_trust

    try:
        signed = read_record(record, load_trust(load_settings().pki))
    except RecordRefusedError as error:
        result = {"verified": False, "problems": [str(error)]}
    else:
        result = {
            "verified": True,
            "problems": [],
            "record": signed.body["record"],
            "passed": signed.body["passed"],
            "worker": signed.body.get("worker", ""),
            "signed_by": signed.signed_by,
            "sha256": signed.sha256,
        }
    rows = [(name, value) for name, value in result.items() if value != []]
    finish(
        result,
        ok=bool(result["verified"]),
        as_json=as_json,
        show=lambda console: console.print(table(record.name, ("what", "value"), rows)),
    )


def _show(console: Console, result: DrillResult) -> None:
    rows = [("yes" if check.passed else "NO", check.name, check.observed) for check in result.checks]
    console.print(table(result.drill, ("holds", "check", "seen"), rows))
    if result.kill_to_last_approval_ms is not None:
        console.print(f"From the kill to the last approval: {result.kill_to_last_approval_ms:.0f} ms.")
    for name, figure in result.figures.items():
        console.print(f"{name.replace('_', ' ')}: {figure}")
    console.print("[bold green]passed[/]" if result.passed else "[bold red]not passed[/]", markup=True)
    console.print(f"Signed record: {result.record}")
