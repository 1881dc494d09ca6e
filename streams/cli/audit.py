"""`portcullis audit`: the log, its proofs and its keys."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.rig.auditing import AuditReport

app = typer.Typer(help="The audit log, its proofs and its keys.", no_args_is_help=True)
_SHOWN = 50
_HOUR_US = 3_600_000_000

KeysOption = Annotated[Path | None, typer.Option("--keys", help="Public keys, from `audit keys`; default: PKI's.")]


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Write every log with its checkpoints and cosignatures into a folder, for somebody to verify off-line.

    Example: `portcullis audit export logs-2026`
    """
    from streams.rig.log_folder import export_logs

    leaves = export_logs(load_settings(), folder)
    result = {"folder": str(folder), "leaves": leaves}
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(f"{leaves:,} leaves in {folder}"))


@app.command("verify")
def verify_command(
    folder: Annotated[Path | None, typer.Argument(help="From `audit export`; default: the cluster.")] = None,
    *,
    topic_only: Annotated[bool, typer.Option("--topic-only", help="Leave the warehouse out.")] = False,
    keys: KeysOption = None,
    policy: Annotated[Path | None, typer.Option(help="Whose cosignatures count (C2SP tlog-policy).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a summary for people to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild every log from the topic and from the warehouse, and hold both against the signed checkpoints.

    With a folder neither Kafka nor ClickHouse is needed, only the logs' public keys.
    Example: `portcullis audit verify logs-2026 --keys logs.keys --policy policy.txt --html summary.html`
    """
    from streams.audit.keys import key_source, read_keys
    from streams.audit.policy import TlogPolicy
    from streams.rig.audit_page import audit_page

    settings = load_settings()
    wanted = None if policy is None else TlogPolicy.parse(policy.read_bytes())
    source = key_source(settings.pki, keys)
    if folder is not None:
        from streams.rig.log_folder import verify_folder

        known = [] if keys is None else [key.verifier.name for key in read_keys(keys)]
        report = verify_folder(folder, source, known, wanted)
    else:
        from streams.rig.auditing import verify_audit
        from streams.warehouse.connection import connect

        with ExitStack() as opened:
            opened.enter_context(progress.status("rebuilding every log ..."))
            warehouse = None if topic_only else opened.enter_context(closing(connect(settings.warehouse)))
            report = verify_audit(settings, source, warehouse, wanted)
    if html is not None:
        html.write_text(audit_page(report, "the cluster" if folder is None else str(folder)))
    finish(report.as_dict(), ok=report.verified, as_json=as_json, show=lambda console: _show(console, report))


@app.command("consistency")
def consistency_command(
    lane: Annotated[int, typer.Argument(min=0, help="The log's lane.")],
    old: Annotated[int, typer.Argument(min=0, help="Size of a checkpoint.")],
    new: Annotated[int, typer.Argument(min=0, help="Size of a later one.")],
    *,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that one signed checkpoint of a log extends another.

    Example: `portcullis audit consistency 0 1200 4500 --json > proof.json`
    """
    from streams.audit.keys import key_source
    from streams.rig.consistency import prove_consistency

    settings = load_settings()
    proven = prove_consistency(settings, key_source(settings.pki, keys), lane, (old, new))

    def show(console: Console) -> None:
        console.print(f"{proven['origin']}: {proven['new']['size']} leaves extend {proven['old']['size']}; the proof:")
        console.print("\n".join(proven["proof"]) or "(empty)")

    finish(proven, ok=True, as_json=as_json, show=show)


@app.command("keys")
def keys_command(
    *,
    lanes: Annotated[int, typer.Option(min=1, help="How many logs; default: as in topics.toml.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A file to write; default: standard output.")] = None,
) -> None:
    """Tell the logs' public keys, and when each counts: what a witness or verifier must be given once, by hand.

    Example: `portcullis audit keys --out logs.keys`
    """
    from streams.topics import load_topology
    from streams.wire.log_keys import encode_keys, log_keys

    settings = load_settings()
    origins = [
        f"{settings.log_origin}/{lane}" for lane in range(lanes or load_topology(lanes=settings.lanes or None).lanes)
    ]
    text = encode_keys([key for origin in origins for key in log_keys(settings.pki, origin)])
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)


@app.command("rotate-key")
def rotate_command(
    *,
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old keys count on.")] = 168.0,
    as_json: JsonOption = False,
) -> None:
    """Begin new keys for all logs; the old ones count on for a while, and checkpoints bear both signatures.

    Start every worker again within the overlap, and give verifiers the new `audit keys`.
    Example: `portcullis audit rotate-key --overlap-hours 168`
    """
    from streams.wire.log_keys import generations, rotate

    settings = load_settings()
    now_us = time.time_ns() // 1000
    fresh = rotate(settings.pki, now_us=now_us, overlap_us=int(overlap_hours * _HOUR_US))
    rows = [(g.number, g.not_before_us, g.not_after_us) for g in generations(settings.pki)]
    result = {"generation": fresh.number, "generations": [list(row) for row in rows]}
    names = ("generation", "from (us UTC)", "until")
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(table("Log keys", names, rows)))


def _show(console: Console, report: AuditReport) -> None:
    figures = (
        f"{report.logs} logs, {report.leaves:,} leaves, {report.checkpoints:,} checkpoints,"
        f" {report.cosigned:,} leaves cosigned, {report.warehouse_rows:,} warehouse rows"
    )
    if report.verified:
        console.print(f"[bold green]verified[/]: {figures}")
        return
    console.print(table("Problems", ("problem",), [(problem,) for problem in report.problems[:_SHOWN]]))
    console.print(f"[bold red]not verified[/]: {len(report.problems)} problems in {figures}")
