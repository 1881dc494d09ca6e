"""How soon a stop stops, and people hear of it: kills under load, and breakers that open."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.names import Topic
from streams.rig.exchange import Exchange
from streams.rig.settling import wait_until_settled
from streams.rig.stage import open_stage
from streams.rig.steady import SteadyLoad
from streams.rig.stopped import Stopped, read_stopped
from streams.rig.telling import ALERT_LATE_MS, telling
from streams.sim.fleet import GOOD_HABITS, REGION, fleet
from streams.sim.markets import VENUE_MIC
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire.commands import Action, Command, Scope, sign_command
from streams.wire.devpki import person_key
from streams.wire.signed_orders import sign_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.rig.stage import Stage
    from streams.rig.telling import Told
    from streams.settings import Settings

_PERSON: Final = "ceo@acme"
_CANCELLED_S: Final = 30.0
# A newcomer's order so far off the reference is an alarm by itself (500 bps), and inside the collar (1,000 bps).
_ODD_BPS: Final = 750
# Silent before: a newcomer without a position, so that its order is no reduction, which may pass.
_ODD_WEIGHT: Final = 0


@dataclass(frozen=True, slots=True)
class KillsResult:
    """What was ordered, how the rig kept its own rate, what the topics say of each stop, and when people heard."""

    kills: int
    rate: int
    reached_per_s: float
    behind_ms: tuple[float, ...]
    stopped: Stopped
    open_after: int
    visible_ms: tuple[float, ...]
    mail_ms: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Say whether every kill and every breaker held, and every alert was seen and mailed in time."""
        stopped = self.stopped
        return (
            stopped.approvals_after == 0
            and self.open_after == 0
            and len(stopped.kill_ms) == len(stopped.breaker_ms) == self.kills
            and len(self.mail_ms) == len(self.visible_ms) > 0
            and max(*self.mail_ms, *self.visible_ms) <= ALERT_LATE_MS
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        stopped = self.stopped
        return {
            "kills": self.kills,
            "rate": self.rate,
            "reached_per_second": round(self.reached_per_s),
            "rig_behind_ms": _percentiles(self.behind_ms),
            "kill_to_last_approval_ms": _percentiles(stopped.kill_ms),
            "approvals_before_kills": stopped.approvals_before,
            "approvals_after_kills": stopped.approvals_after,
            "open_orders_after": self.open_after,
            "breaker_openings": len(stopped.breaker_ms),
            "breaker_to_first_rejection_ms": _percentiles(stopped.breaker_ms),
            "alerts": len(self.visible_ms),
            "alert_visible_ms": _percentiles(self.visible_ms),
            "alerts_mailed": len(self.mail_ms),
            "alert_mailed_ms": _percentiles(self.mail_ms),
        }


def run_kills(
    settings: Settings, *, kills: int, rate: int, gap_s: float, warm_up_s: float, tell: Callable[[str], None]
) -> KillsResult:
    """Let bots trade at a rate, kill them one after the other, and let as many others open their breakers meanwhile."""
    ticks = list(read_tape(BUNDLED_TAPE))
    bots = fleet(2 * kills, GOOD_HABITS)
    victims = [bot.agent_id for bot in bots[:kills]]
    odd = [replace(bot, weight=_ODD_WEIGHT) for bot in bots[kills:]]
    tell(f"Starting Kafka, registering {len(bots)} bots ...")
    with open_stage(settings.home / "kills", settings, ticks, (*bots[:kills], *odd)) as stage, ExitStack() as running:
        worker = stage.worker()
        worker.start()
        running.callback(worker.stop)
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        exchange.start()
        worker.wait_for_line("ready at offsets")
        told = running.enter_context(telling(stage))
        load = SteadyLoad(stage, exchange, ticks, seed=1, rate=rate)
        load.start()
        time.sleep(warm_up_s)
        tell(f"Killing {kills} bots and opening {kills} breakers at {rate} messages a second ...")
        _stop_all(stage, victims, [bot.agent_id for bot in odd], gap_s, load.check)
        load.stop()
        wait_until_settled(stage.settings, check=worker.require_running)
        open_after = _wait_cancelled(exchange, victims)
        exchange.stop()
        told.wait_mailed()
        return _result(stage, victims, load, open_after, told)


def _result(stage: Stage, victims: Sequence[str], load: SteadyLoad, open_after: int, told: Told) -> KillsResult:
    return KillsResult(
        kills=len(victims),
        rate=load.rate,
        reached_per_s=load.reached_per_s,
        behind_ms=tuple(load.behind_ms),
        stopped=read_stopped(stage, victims),
        open_after=open_after,
        visible_ms=told.visible_ms(),
        mail_ms=told.mail_ms(),
    )


def _stop_all(
    stage: Stage, victims: Sequence[str], odd: Sequence[str], gap_s: float, check: Callable[[], None]
) -> None:
    """Kill a bot, let another send an odd order, and so on."""
    sender, key = stage.sender(), person_key(stage.settings.pki, _PERSON)
    for victim, newcomer in zip(victims, odd, strict=True):
        command = Command(str(uuid.uuid4()), Action.KILL, Scope.BOT, victim, "measured", _PERSON, now_us())
        value, headers = sign_command(command, key)
        sender.send(stage.topic(Topic.AGENTS_COMMANDS), victim.encode(), value, headers)
        sender.flush()
        time.sleep(gap_s / 2)
        wire = sign_order(_odd_order(stage, newcomer), stage.keys.of(newcomer))
        sender.send(stage.topic(Topic.ORDERS_REQUESTED), wire.key, wire.value, wire.headers)
        sender.flush()
        check()
        time.sleep(gap_s / 2)


def _odd_order(stage: Stage, agent_id: str) -> Order:
    """Return an order of which nothing is unusual but its distance from the reference price."""
    market = next(iter(stage.markets.values()))
    price_e13 = market.on_tick(market.first_price_e13 * (10_000 - _ODD_BPS) // 10_000)
    return Order(
        agent_id=agent_id,
        cl_ord_id=f"odd-{agent_id}",
        orig_cl_ord_id=None,
        msg_type=MsgType.NEW_ORDER_SINGLE,
        symbol=market.symbol,
        ex_destination=VENUE_MIC,
        region=REGION,
        side=Side.BUY,
        ord_type=OrdType.LIMIT,
        time_in_force=TimeInForce.DAY,
        order_qty_e17=market.qty_for_eur(100, price_e13),
        price_e13=price_e13,
        transact_time_us=now_us(),
    )


def _wait_cancelled(exchange: Exchange, victims: Sequence[str]) -> int:
    """Return how many orders of killed bots are open once the venue has worked off what it was told."""
    deadline = time.monotonic() + _CANCELLED_S
    while (left := exchange.open_orders_of(victims)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    place = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) for name, share in place.items()}
