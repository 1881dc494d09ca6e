"""`portcullis archive`: every event with its proof, written once, outside the cluster's control."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

app = typer.Typer(help="The write-once archive of audit events.", no_args_is_help=True)

StoreOption = Annotated[
    str, typer.Option("--to", help="`s3://bucket/prefix?endpoint=URL` (with Object Lock), or a folder.")
]
KeysOption = Annotated[Path | None, typer.Option("--keys", help="Public keys, from `audit keys`; default: PKI's.")]
YearsOption = Annotated[int, typer.Option(min=1, max=100, help="How long objects are kept.")]
BotArgument = Annotated[str, typer.Argument(help="The bot's agent_id.")]
_SHOWN = 50


@app.command("run")
def run_command(*, to: StoreOption, years: YearsOption = 5, keys: KeysOption = None) -> None:
    """Write every audit event with its proof to `agent-events/<agent_id>/<event_id>` until stopped.

    Example: `portcullis archive run --to 's3://acme-archive/log?endpoint=https://s3.example' --years 5`
    """
    from streams.archive.running import open_store, run_archive
    from streams.audit.follower import FOLLOWING
    from streams.audit.keys import key_source
    from streams.cli.services import log_as_json, running
    from streams.pulse import Pulse

    settings = load_settings()
    log_as_json()
    pulse = Pulse("archive", FOLLOWING)
    with running(settings, pulse) as stop:
        run_archive(
            settings.cluster(),
            settings.topic_prefix,
            settings.log_origin,
            key_source(settings.pki, keys),
            open_store(to, years),
            stop,
            pulse=pulse,
        )


@app.command("verify")
def verify_command(*, to: StoreOption, keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """Check with public keys alone that every object proves itself and none is missing.

    Example: `portcullis archive verify --to /mnt/archive --keys logs.keys --json`
    """
    from streams.archive.check import check_archive
    from streams.archive.running import open_store
    from streams.audit.keys import key_source

    settings = load_settings()
    with progress.status("reading and proving every object ..."):
        report = check_archive(open_store(to, 1), settings.log_origin, key_source(settings.pki, keys))
    rows = [(problem,) for problem in report.problems[:_SHOWN]]
    title = f"{report.objects:,} objects of {report.logs} logs, {len(report.problems)} problems"
    ok = report.verified
    finish(report.as_dict(), ok=ok, as_json=as_json, show=lambda c: c.print(table(title, ("problem",), rows)))


@app.command("hold")
def hold_command(
    agent: BotArgument,
    *,
    to: StoreOption,
    by: Annotated[str, typer.Option(help="Who orders it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    off: Annotated[bool, typer.Option("--off", help="Take the hold off.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put every event of a bot, and those to come, under legal hold, or take it off.

    Example: `portcullis archive hold maker-01 --to s3://acme-archive/log --by cfo@acme --reason 'inquiry 12'`
    """
    from streams.archive.holds import set_hold
    from streams.archive.running import open_store

    now_us = time.time_ns() // 1000
    count = set_hold(open_store(to, 1), agent, held=not off, by=by, reason=reason, now_us=now_us)
    result = {"agent_id": agent, "held": not off, "objects": count}
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(f"{count:,} objects of {agent}"))


@app.command("extend")
def extend_command(agent: BotArgument, *, to: StoreOption, years: YearsOption, as_json: JsonOption = False) -> None:
    """Keep every event of a bot longer, as 7 years on request; nobody can shorten it again.

    Example: `portcullis archive extend maker-01 --to s3://acme-archive/log --years 7`
    """
    from streams.archive.holds import extend
    from streams.archive.running import open_store

    count = extend(open_store(to, 1), agent, years)
    result = {"agent_id": agent, "years": years, "objects": count}
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(f"{count:,} objects of {agent}"))
