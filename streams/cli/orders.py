"""`portcullis order`: one order by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.output import JsonOption, finish, table
from streams.core.orders import MONEY_SCALE, Side, decimal_text
from streams.settings import load_settings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from rich.console import Console

    from streams.core.checked import Checked
    from streams.wire.decisions import Verdict

_CHECK_NAMES = ("check", "outcome", "limit", "observed", "unit")
app = typer.Typer(help="Send an order as a bot does, and see what became of it.", no_args_is_help=True)


@app.command("submit")
def submit_command(  # noqa: PLR0913 - a command's options
    agent: Annotated[str, typer.Argument(help="The bot's agent_id; its key is in .portcullis/agents.")],
    *,
    symbol: Annotated[str, typer.Option(help="The market, for example BTC_USDT.")],
    side: Annotated[Side, typer.Option(help="BUY or SELL.")],
    quantity: Annotated[str, typer.Option(help="In units of the asset, decimal.")],
    price: Annotated[str, typer.Option(help="Limit price; none for a market order.")] = "",
    venue: Annotated[str, typer.Option(help="The venue's MIC.")] = "XOFF",
    region: Annotated[str, typer.Option(help="Where the bot runs.")] = "eu-west-1",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait; then the order has expired, too.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Sign an order, send it, and show the verdict; exit code 1 where it is refused.

    Example: portcullis order submit my_bot --symbol BTC_USDT --side BUY --quantity 0.01 --price 60000
    """
    from streams.client import connect, make_order

    try:
        order = make_order(
            agent,
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price or None,
            ex_destination=venue,
            region=region,
            expires_after_s=timeout,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with connect(load_settings(), agent) as bot:
        verdict = bot.submit(order, timeout_s=timeout).verdict
    finish(_as_dict(verdict), ok=verdict.approved, as_json=as_json, show=lambda console: _show(console, verdict))


@app.command("heartbeat")
def heartbeat_command(
    agent: Annotated[str, typer.Argument(help="The bot's agent_id.")],
    *,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two.")] = 1.0,
) -> None:
    """Send a bot's signed heartbeats until stopped, as its own process would.

    Example: portcullis order heartbeat maker-01 --every 1
    """
    from streams.cli.services import stop_on_signals
    from streams.rig.beating import beat

    beat(load_settings(), agent, every, stop_on_signals())


def _as_dict(verdict: Verdict) -> dict[str, object]:
    value_e5 = verdict.order_value_e5
    return {
        "approved": verdict.approved,
        "cl_ord_id": verdict.cl_ord_id,
        "reason": verdict.reason.value,
        "failures": [
            {"reason": f.reason.value, "limit": f.limit, "observed": f.observed, "unit": f.unit}
            for f in verdict.failures
        ],
        "order_value_eur": None if value_e5 is None else decimal_text(value_e5, MONEY_SCALE),
        "score": verdict.score,
        "log_index": verdict.log_index,
        "milliseconds": (verdict.decision_time_us - verdict.request_time_us) / 1000,
    }


def _show(console: Console, verdict: Verdict) -> None:
    if verdict.approved:
        console.print(f"[bold green]approved[/], leaf {verdict.log_index} of log {verdict.request_partition}")
        return
    rows = [(failure.reason, failure.limit, failure.observed, failure.unit) for failure in verdict.failures]
    console.print(table("Refused", ("reason", "limit", "observed", "unit"), rows))


@app.command("show")
def show_command(
    cl_ord_id: Annotated[str, typer.Argument(help="The order's identifier; none: the bot's last orders.")] = "",
    *,
    agent: Annotated[str, typer.Option(help="The bot's agent_id; needed where several use one identifier.")] = "",
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many of a bot's last orders.")] = 20,
    proof: Annotated[Path | None, typer.Option(help="A file to write the decision's C2SP proof to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the life of an order: request, checks, verdict, proof, trades, reports; and how long the query took.

    Example: `portcullis order show C-1042 --agent maker-01 --proof decision.tlog-proof`
    """
    from contextlib import closing

    from streams.warehouse.connection import connect
    from streams.warehouse.orders import read_latest

    if not cl_ord_id and not agent:
        raise typer.BadParameter("name an order or a bot")
    with closing(connect(load_settings().warehouse)) as warehouse:
        if cl_ord_id:
            _show_life(warehouse, cl_ord_id, agent, proof, as_json=as_json)
        rows = [[str(cell) for cell in row] for row in read_latest(warehouse, agent, count)]
    names = ("cl_ord_id", "decided", "decision", "reason")
    result = {"agent_id": agent, "orders": [dict(zip(names, row, strict=True)) for row in rows]}
    finish(result, ok=bool(rows), as_json=as_json, show=lambda console: console.print(table(agent, names, rows)))


def _show_life(warehouse: Client, cl_ord_id: str, agent: str, proof: Path | None, *, as_json: bool) -> None:
    from streams.warehouse.orders import prove, read_checks, read_life

    began = time.perf_counter()
    steps = read_life(warehouse, cl_ord_id, agent)
    query_ms = (time.perf_counter() - began) * 1000
    decided = next((step for step in steps if step.what == "decided"), None)
    text = None if decided is None else prove(warehouse, decided.log, decided.place)
    checks = [] if decided is None else list(map(_check_row, read_checks(warehouse, decided.log, decided.place)))
    if proof is not None and text is not None:
        proof.write_bytes(text)
    rows = [(step.agent_id, str(step.at), step.what, f"{step.log}/{step.place}", step.text) for step in steps]
    names = ("agent_id", "at", "what", "place", "text")
    result = {
        "cl_ord_id": cl_ord_id,
        "steps": [dict(zip(names, row, strict=True)) for row in rows],
        "checks": [dict(zip(_CHECK_NAMES, row, strict=True)) for row in checks],
        "proof": None if text is None else text.decode(),
        "query_ms": round(query_ms, 1),
    }

    def show(console: Console) -> None:
        console.print(table(cl_ord_id, names, rows))
        console.print(table("Checks", ("", *_CHECK_NAMES), [(number, *row) for number, row in enumerate(checks, 1)]))
        console.print(f"{len(steps)} steps in {query_ms:.0f} ms; {'proven' if text else 'not yet proven'}")

    finish(result, ok=decided is not None and text is not None, as_json=as_json, show=show)


def _check_row(check: Checked) -> tuple[str, ...]:
    failure = check.failure
    told = ("", "", "") if failure is None else (failure.limit, failure.observed, failure.unit)
    return (check.reason.value, check.outcome.value, *told)
