"""`portcullis bench`: the worker beside its peers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.output import JsonOption, finish, progress, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

# A broker and a worker that have just started compile and fill their caches on the cores that are measured.
_KILL_WARM_UP_S = 20.0
_KILL_GAP_S = 0.2
_ENFORCER_BOTS_MAX = 10  # each has connections of its own


class Way(StrEnum):
    """How orders come in."""

    KAFKA = "kafka"
    ENFORCER = "enforcer"


def bench_command(  # noqa: PLR0913 - each is an option of the command
    *,
    orders: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Orders of the backlog.")] = 60_000,
    bots: Annotated[int, typer.Option(min=1, max=100_000, help="Bots; all keep to their policies.")] = 100,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Worker processes.")] = 1,
    rate: Annotated[int, typer.Option(min=1, help="Orders per second of the latency run.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each latency run.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; the figures are medians.")] = 3,
    peers: Annotated[bool, typer.Option(help="Run the leanest loop and plain Faust beside it.")] = True,
    backlog: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="Let so many orders grow too old, and decide them, instead.")
    ] = 0,
    batch: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Write and check a report batch of so many records instead.")
    ] = 0,
    sink: Annotated[int, typer.Option(min=0, max=10_000_000, help="Measure the sink with so many rows instead.")] = 0,
    kills: Annotated[int, typer.Option(min=0, max=1_000, help="Measure so many kills under load instead.")] = 0,
    graces: Annotated[int, typer.Option(min=0, max=20, help="Kill the worker in so many grace periods instead.")] = 0,
    scale: Annotated[bool, typer.Option("--scale", help="Measure 1 to 3 brokers and 1 to 4 workers instead.")] = False,
    via: Annotated[Way, typer.Option(help="How orders come in; by enforcer: the latency of its answers.")] = Way.KAFKA,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures into this SVG file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """CPU per order, orders per second and latency, beside the leanest possible loop and plain Faust.

    With --kills: from each kill's append to the bot's last approval, from the order that opens a breaker to its
    refusal, as many of them, and from the cause of each alert until it can be seen and its mail has come. With
    --graces: how late a grace period ends whose worker is killed in the middle of it. With --via enforcer: the latency
    of its answers, beside the same orders on Kafka without it.

    Example: portcullis bench --via enforcer --rate 200 --seconds 20
    """
    if kills:
        _bench_kills(kills, rate, as_json=as_json)
    if graces:
        _bench_graces(graces, as_json=as_json)
    if backlog:
        from streams.bench.backlog import run_backlog

        waited = run_backlog(load_settings(), backlog, workers, progress.print)
        held = waited["approved"] == 0 and waited["rejected"] == {"STALE_ORDER": backlog}
        finish(waited, ok=held, as_json=as_json, show=lambda console: _show_backlog(console, waited))
        return
    if batch:
        _bench_batch(batch, as_json=as_json)
    if sink:
        from streams.bench.storing import run_storing

        stored = run_storing(load_settings(), sink, progress.print)
        finish(stored, ok=True, as_json=as_json, show=lambda console: _show_sink(console, stored))
        return
    if scale:
        _bench_scale(orders, rounds, as_json=as_json)
    if via is Way.ENFORCER:
        _enforcer(bots, rate, seconds, as_json=as_json)
        return

    from streams.bench.contest import BenchOptions, as_dict, run_bench

    options = BenchOptions(
        orders=orders, bots=bots, workers=workers, rate=rate, seconds=seconds, rounds=rounds, peers=peers
    )
    result = as_dict(run_bench(load_settings(), options, progress.print))
    if plot is not None:
        from streams.bench.plot import draw, panels

        plot.write_text(draw(panels(result)))
    finish(result, ok=True, as_json=as_json, show=lambda console: _show(console, result))


def _bench_batch(records: int, *, as_json: bool) -> None:
    from streams.rig.batch_speed import measure_batch

    speed = measure_batch(records, load_settings().home / "bench-batch", progress.print)
    rows = [
        ("write", f"{speed.export_per_second:,}", f"{speed.export_cpu_us}", f"{speed.export_rss_mb}"),
        ("check", f"{speed.verify_per_second:,}", f"{speed.verify_cpu_us}", f"{speed.verify_rss_mb}"),
        ("hash and parse each line, beside", "", f"{speed.beside_cpu_us}", ""),
    ]
    columns = ("step", "records/s", "CPU us/record", "MB at most, each process")
    title = f"A batch of {speed.records:,} records, {speed.batch_mb:,} MB"
    finish(speed.as_dict(), ok=speed.verified, as_json=as_json, show=lambda c: c.print(table(title, columns, rows)))


def _show_backlog(console: Console, result: Mapping[str, Any]) -> None:
    rows = [("approved", f"{result['approved']:,}"), *((r, f"{n:,}") for r, n in result["rejected"].items())]
    console.print(table(f"{result['orders']:,} orders that waited too long", ("verdict", "orders"), rows))
    memory = result["rss_mb"]
    console.print(
        f"\n{result['orders_per_second']:,} orders/s; memory {memory['first_quarter']} MB in the first quarter,"
        f" {memory['last_quarter']} MB in the last, {memory['peak']} MB at most."
    )


def _show_sink(console: Console, result: Mapping[str, Any]) -> None:
    rows = [
        ("Kafka to the embedded warehouse", f"{result['rows_per_second']:,}", result["cpu_us_per_row"]),
        ("the same rows from memory", f"{result['straight_rows_per_second']:,}", "-"),
    ]
    console.print(table(f"{result['rows']:,} audit events", ("way", "rows/s", "CPU us/row"), rows))


def _bench_scale(orders: int, rounds: int, *, as_json: bool) -> None:
    from streams.bench.scaling import run_scaling

    result = run_scaling(load_settings(), orders, rounds, progress.print)
    columns = ("brokers", "workers", "orders_per_second", "cpu_us_per_order", "ratio")
    rows = [tuple(row[name] for name in columns) for row in result["rows"]]
    title = f"A backlog of {orders:,} orders"
    finish(result, ok=True, as_json=as_json, show=lambda console: console.print(table(title, columns, rows)))


def _bench_graces(crashes: int, *, as_json: bool) -> None:
    from streams.rig.grace import run_grace

    result = run_grace(load_settings(), crashes=crashes, grace_s=8, tell=progress.print)
    _finish("Grace periods", result.as_dict(), ok=result.ok, as_json=as_json)


def _bench_kills(kills: int, rate: int, *, as_json: bool) -> None:
    from streams.rig.kills import run_kills

    result = run_kills(
        load_settings(), kills=kills, rate=rate, gap_s=_KILL_GAP_S, warm_up_s=_KILL_WARM_UP_S, tell=progress.print
    )
    _finish("Kills", result.as_dict(), ok=result.ok, as_json=as_json)


def _finish(title: str, result: Mapping[str, Any], *, ok: bool, as_json: bool) -> None:
    rows = list(result.items())
    finish(result, ok=ok, as_json=as_json, show=lambda console: console.print(table(title, ("what", "value"), rows)))


def _enforcer(bots: int, rate: int, seconds: float, *, as_json: bool) -> None:
    from streams.bench.enforcer import run_enforcer_bench

    bots = min(bots, _ENFORCER_BOTS_MAX)
    result = run_enforcer_bench(load_settings(), bots=bots, rate=rate, seconds=seconds, tell=progress.print)
    shown = table(f"At {rate} orders/s", *_rows(result))
    finish(result, ok=result["timed_out"] == 0, as_json=as_json, show=lambda console: console.print(shown))


def _rows(result: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    columns = ("way", "orders", "approved", "refused", "timed out", "p50 ms", "p99 ms")
    rows = [
        (name, *(found[count] for count in ("orders", "approved", "refused", "timed_out")), *_p50_p99(found))
        for name, found in (("the bot library on Kafka", result["kafka"]), ("through the enforcer", result))
    ]
    return columns, rows


def _p50_p99(found: Mapping[str, Any]) -> tuple[float, float]:
    return found["latency_ms"]["p50"], found["latency_ms"]["p99"]


def _show(console: Console, result: Mapping[str, Any]) -> None:
    rows = []
    for name, prefix in (("Portcullis", ""), ("leanest loop", "lean_"), ("plain Faust", "faust_")):
        if f"{prefix}cpu_us_per_order" not in result:
            continue
        light = result.get(f"{prefix}latency_ms", {})
        rows.append(
            (
                name,
                f"{result[f'{prefix}cpu_us_per_order']:.0f}",
                f"{result[f'{prefix}orders_per_second']:,}",
                result.get(f"{prefix}cpu_us_per_order_at_rate", "-"),
                light.get("p50", "-"),
                light.get("p99", "-"),
                f"{result[f'{prefix}rss_mb']:.0f}",
            )
        )
    at = f"at {result['rate']}/s"
    columns = ("who", "CPU us/order", "orders/s", f"CPU us {at}", f"p50 ms {at}", f"p99 ms {at}", "RSS MB")
    console.print(table("One order", columns, rows))
    heavy = result["latency_ms_at_70_percent"]
    console.print(
        f"\nAt {heavy['rate']:,}/s, 70 % of the backlog's speed: p50 {heavy['p50']} ms, p99 {heavy['p99']} ms."
    )
    console.print(f"An empty transaction takes {result['empty_transaction_ms']} ms.")
    console.print(f"After a kill, {result['restart_s']} s from the start to the verdicts of orders that waited.")
    parts = [(part, f"{spent:.1f}") for part, spent in result["parts_us"].items()]
    console.print(table("The parts of an order", ("part", "CPU us"), parts))
    for name, ratio in result["ratios"].items():
        console.print(f"{name.replace('_', ' ')}: {ratio}")
