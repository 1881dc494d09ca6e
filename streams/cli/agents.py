"""`portcullis agent`: register a bot, look at it, stop it, release it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.output import JsonOption, finish, table
from streams.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from streams.kafka.commanding import Acknowledgement
    from streams.wire.commands import Command

app = typer.Typer(help="Register bots, stop them, release them.", no_args_is_help=True)

ByOption = Annotated[str, typer.Option("--by", help="The person who orders it; their key signs.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in the person's words.")]
BotArgument = Annotated[str, typer.Argument(help="The bot's agent_id.")]
ScopeArgument = Annotated[str, typer.Argument(help="The bot's agent_id; none for a wider scope.")]
MarketOption = Annotated[str, typer.Option(help="A market, for all bots.")]


@app.command("register")
def register_command(
    policy: Annotated[Path, typer.Argument(help="The policy document, JSON.", exists=True, dir_okay=False)],
    *,
    record: Annotated[
        Path | None, typer.Option(help="A finished AgentRecord of the three parties instead of the local keys.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check policy, certificate and approvals, and put the bot on the registry; refuse what does not hold.

    Without --record the local PKI plays all three parties: approver, operator and certificate authority.
    Example: portcullis agent register policies/maker-01.json
    """
    from streams.rig.registering import register

    result = register(load_settings(), policy.read_bytes(), None if record is None else record.read_bytes())

    def show(console: Console) -> None:
        if result.problems:
            console.print(table("Refused", ("problem",), [(problem,) for problem in result.problems]))
        else:
            console.print(f"{result.agent_id} registered, policy {result.policy_id}")
            console.print(f"credentials in {result.credentials}" if result.credentials else "")

    finish(result.as_dict(), ok=not result.problems, as_json=as_json, show=show)


@app.command("show")
def show_command(agent: BotArgument, *, as_json: JsonOption = False) -> None:
    """Show a bot's policy, approvals and trading state.

    Example: portcullis agent show maker-01 --json
    """
    from streams.rig.registering import describe

    described = describe(load_settings(), agent)

    def show(console: Console) -> None:
        console.print(table(agent, ("what", "value"), list(described.items())))

    finish(described, ok=bool(described.get("registered")), as_json=as_json, show=show)


def _add_for_all_scopes(name: str, action: str, text: str) -> None:
    """Add a command that a bot takes, a market, an operator or everything."""

    @app.command(name, help=text)
    def command(
        agent: ScopeArgument = "",
        *,
        by: ByOption,
        reason: ReasonOption,
        market: MarketOption = "",
        operator: Annotated[str, typer.Option(help="All bots of an operator.")] = "",
        everything: Annotated[bool, typer.Option("--all", help="All bots.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        _command(action, _scope(agent, market, operator, everything=everything), by, reason, as_json=as_json)


def _add_for_bot_or_market(name: str, action: str, text: str) -> None:
    """Add a command that a bot takes or a market."""

    @app.command(name, help=text)
    def command(
        agent: ScopeArgument = "",
        *,
        by: ByOption,
        reason: ReasonOption,
        market: MarketOption = "",
        as_json: JsonOption = False,
    ) -> None:
        _command(action, _scope(agent, market, "", everything=False), by, reason, as_json=as_json)


def _add_for_bot(name: str, action: str, text: str) -> None:
    """Add a command that a bot alone takes."""

    @app.command(name, help=text)
    def command(agent: BotArgument, *, by: ByOption, reason: ReasonOption, as_json: JsonOption = False) -> None:
        _command(action, ("BOT", agent), by, reason, as_json=as_json)


_add_for_all_scopes(
    "kill",
    "KILL",
    """Stop a bot, a market, an operator or everything, and show from which offset on it is in force.

    Example: portcullis agent kill maker-01 --by ceo@acme --reason "runs away"
    """,
)
_add_for_all_scopes(
    "release",
    "RELEASE",
    """Let what was stopped trade again; somebody else than who stopped it must ask.

    Example: portcullis agent release maker-01 --by compliance_lead@acme --reason "cause found"
    """,
)
_add_for_bot_or_market(
    "halt",
    "HALT",
    """Open the breaker of a bot or a market: nothing enters, what is open stays; somebody else must release it.

    Example: portcullis agent halt maker-01 --by ceo@acme --reason "odd prices"
    """,
)
_add_for_bot_or_market(
    "reduce",
    "REDUCE",
    """Let a bot, or all in a market, only lower their exposure; somebody else must release it.

    Example: portcullis agent reduce --market BTC_USDT --by ceo@acme --reason "venue unstable"
    """,
)
_add_for_bot(
    "revoke",
    "REVOKE",
    """Revoke a bot's certificate for good: the bot does not trade again under this name.

    Example: portcullis agent revoke maker-01 --by ceo@acme --reason "key leaked"
    """,
)
_add_for_bot(
    "acknowledge",
    "ACKNOWLEDGE",
    """Answer an automatic kill in time: the certificate stays suspended and is not revoked.

    Example: portcullis agent acknowledge runaway-01 --by cfo@acme --reason "looking at it"
    """,
)


@app.command("override")
def override_command(  # noqa: PLR0913 - each is an option of the command
    agent: BotArgument,
    *,
    order_id: Annotated[str, typer.Option("--order", help="The ClOrdID under which the bot will send it.")],
    market: Annotated[str, typer.Option(help="The market.")],
    side: Annotated[str, typer.Option(help="BUY or SELL.")],
    quantity: Annotated[str, typer.Option(help="The quantity, a decimal.")],
    price: Annotated[str, typer.Option(help="The limit, a decimal; none for a MARKET order.")] = "",
    by: ByOption,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Let one trade of a bot pass the limits on value, volume and price, once and within ten minutes.

    Two people must sign the same trade; the second signature puts it in force. Nothing else is lifted.

    Example: portcullis agent override maker-01 --order exit-1 --market BTC_USDT --side SELL --quantity 2.5
    --by ceo@acme --reason "close before the fork"
    """
    from streams.core.orders import PRICE_SCALE, QTY_SCALE, Side, parse_decimal
    from streams.core.override import Terms

    try:
        limit = parse_decimal(price, PRICE_SCALE) if price else None
        terms = Terms(market, Side(side), parse_decimal(quantity, QTY_SCALE), limit)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _command("OVERRIDE", ("BOT", agent), by, reason, as_json=as_json, cl_ord_id=order_id, terms=terms)


def _scope(agent: str, market: str, operator: str, *, everything: bool) -> tuple[str, str]:
    given = [
        (scope, target) for scope, target in (("BOT", agent), ("MARKET", market), ("OPERATOR", operator)) if target
    ]
    if everything:
        given.append(("ALL", ""))
    if len(given) != 1:
        raise typer.BadParameter("name exactly one of: a bot, --market, --operator, --all")
    return given[0]


def _command(action: str, scope: tuple[str, str], by: str, reason: str, *, as_json: bool, **more: Any) -> None:  # noqa: ANN401
    from streams.wire.commands import Action, Command, Scope

    now_us = time.time_ns() // 1000
    command = Command(str(uuid.uuid4()), Action(action), Scope(scope[0]), scope[1], reason, by, now_us, **more)
    order(command, as_json=as_json)


def order(command: Command, *, as_json: bool) -> None:
    """Give a command and show what came of it."""
    from streams.kafka.commanding import give

    answer = give(load_settings(), command)
    finish(answer.as_dict(), ok=answer.applied, as_json=as_json, show=lambda console: _show_answer(console, answer))


def _show_answer(console: Console, answer: Acknowledgement) -> None:
    for partition, (offset, text) in sorted(answer.partitions.items()):
        console.print(f"partition {partition}, log offset {offset}: {text}")
    if answer.applied:
        console.print(f"in force everywhere {answer.effect_ms:.0f} ms after it was given")
    else:
        console.print("[bold red]not in force[/]: see the answers above", markup=True)
