"""`portcullis worker`, `warehouse`, `demo`, `hostile`: what runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.bench import bench_command
from streams.cli.chaos import chaos_command
from streams.cli.detect import detect_command
from streams.cli.doctor import doctor_command
from streams.cli.enforcer import enforcer_command
from streams.cli.notifier import notifier_command
from streams.cli.output import JsonOption, finish, progress, table
from streams.cli.replay import replay_command
from streams.cli.up import up_command
from streams.cli.witness import witness_command
from streams.cli.worker import worker_command
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.rig.hostile import HostileResult
    from streams.rig.summary import DemoResult


_KEPT_PORT = 9092  # of the broker that `demo --keep` says how to start again


def warehouse_command() -> None:
    """Run the sink: committed records into ClickHouse, each exactly once.

    Example: PORTCULLIS_WAREHOUSE_DSN=clickhouse://user@host:8443/portcullis portcullis warehouse
    """
    from streams.cli.services import log_as_json, running
    from streams.pulse import Pulse
    from streams.warehouse.sink import PARTS, SinkOptions, run_sink

    log_as_json()
    settings = load_settings()
    options = SinkOptions(settings.require_cluster(), settings.topic_prefix, security=settings.kafka_security)
    pulse = Pulse("warehouse", *PARTS)
    with running(settings, pulse) as stop:
        run_sink(settings.warehouse, options, stop, pulse)


def demo_command(
    *,
    tape: Annotated[Path | None, typer.Option("--input", help="Tick file; default: the one that comes along.")] = None,
    orders: Annotated[int, typer.Option(min=1, max=10_000_000, help="Messages that the bots send.")] = 6_000,
    bots: Annotated[int, typer.Option(min=1, max=100_000, help="Bots; 20 show every habit.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed plans the same messages.")] = 1,
    rate: Annotated[int, typer.Option(min=1, help="Messages per second at most.")] = 2_000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the broker's data and the warehouse.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Real ticks become signed orders, are decided, logged, stored, reported and verified, on a real broker.

    Example: portcullis demo --orders 20000 --bots 50 --keep
    """
    from streams.rig.demo import DemoOptions, run_demo

    settings = load_settings()
    options = DemoOptions(tape=tape, orders=orders, bots=bots, seed=seed, rate=rate, keep=keep)
    result = run_demo(replace(settings), options, progress.print)
    kept = settings.home / "demo" if keep and not settings.kafka_bootstrap_servers else None
    finish(result.as_dict(), ok=result.ok, as_json=as_json, show=lambda console: _show_demo(console, result, kept))


def _show_demo(console: Console, result: DemoResult, kept: Path | None) -> None:
    for made in result.tables():
        console.print(table(*made))
        console.print()
    for line in result.sentences():
        console.print(line)
    if kept is not None:
        home = f"PORTCULLIS_HOME={kept} KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{_KEPT_PORT}"
        console.print("To look around in it, in two terminals; the desk prints the passwords of its first users:")
        console.print(f"  portcullis broker run --data {kept / 'kafka'} --port {_KEPT_PORT}", soft_wrap=True)
        console.print(f"  {home} portcullis desk", soft_wrap=True)


def hostile_command(
    *,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="Messages.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same messages.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Throw mutated and random bytes at the gate: each must end as a verdict or a dead letter.

    Example: portcullis hostile --count 50000 --json
    """
    from streams.rig.hostile import run_hostile

    result = run_hostile(load_settings(), count=count, seed=seed, tell=progress.print)
    finish(result.as_dict(), ok=result.ok, as_json=as_json, show=lambda console: _show_hostile(console, result))


def _show_hostile(console: Console, result: HostileResult) -> None:
    console.print(table("Hostile messages", ("what", "count"), list(result.as_dict().items())))


COMMANDS = (
    demo_command,
    up_command,
    bench_command,
    worker_command,
    enforcer_command,
    doctor_command,
    warehouse_command,
    notifier_command,
    hostile_command,
    chaos_command,
    replay_command,
    witness_command,
    detect_command,
)
