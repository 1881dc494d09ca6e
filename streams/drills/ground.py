"""The ground of a drill: topics, keys, bots, worker, venue and watch of its own, gone or stopped afterwards.

A drill never touches the topics of the installation: with a cluster set its topics get a prefix of their own and are
deleted at the end, without one it starts a broker. Its keys are made for it, so nothing that it signs holds elsewhere.
"""

from __future__ import annotations

import json
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.core.orders import PRICE_SCALE, QTY_SCALE, Side, parse_decimal
from streams.drills.trader import Trader
from streams.drills.watch import Watch
from streams.kafka.commanding import give
from streams.names import Topic
from streams.rig.exchange import Exchange
from streams.rig.settling import wait_until_settled
from streams.rig.stage import open_stage
from streams.sim.tape import Tick
from streams.wire.commands import Action, Command, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from random import Random

    from streams.drills.plan import DrillPlan, Load
    from streams.kafka.commanding import Acknowledgement
    from streams.rig.processes import Service
    from streams.rig.stage import Stage
    from streams.settings import Settings

WORKER: Final = ("streams", "worker")
_DEPTH_EUR: Final = 1_000_000
_CALM_EUR: Final = (80, 120)
_RESTARTS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """What a load test doubles, and for how long."""

    highest: Load
    seconds: int


class Ground:
    """A drill's world while it runs."""

    def __init__(self, stage: Stage, worker: Service, rng: Random, scale: Scale) -> None:
        self.stage, self.worker, self.rng, self.scale = stage, worker, rng, scale
        self.watch = Watch(stage.settings)
        self.exchange = self._new_exchange()
        self.refused_by_venue: list[str] = []
        self.ready_us = 0
        """When the worker was ready to decide; what was written before had to wait for it."""
        self.worker_restarts = 0
        """How often the worker ended by itself and was started again, as a supervisor does."""
        self._sender = stage.sender()
        self._traders: dict[str, Trader] = {}
        self._prices = {symbol: market.first_price_e13 for symbol, market in stage.markets.items()}

    def begin(self) -> None:
        """Start to trade: the watch, a first trade of each market, the venue; wait until the worker decides."""
        self.watch.start()
        self._open(self.exchange)
        self.worker.wait_for_line("ready at offsets")
        self.ready_us = now_us()

    def trader(self, agent_id: str) -> Trader:
        """Return a bot's hand."""
        if agent_id not in self._traders:
            self._traders[agent_id] = Trader(self.stage, self._sender, agent_id)
        return self._traders[agent_id]

    def last(self, symbol: str) -> int:
        """Return a market's last price (scale 13)."""
        return self._prices[symbol]

    def trade(self, symbol: str, price_e13: int, side: Side = Side.BUY) -> None:
        """Let a trade of others move a market's price, with a depth that takes what bots may send."""
        market = self.stage.markets[symbol]
        self._prices[symbol] = price_e13 = market.on_tick(price_e13)
        self.exchange.on_tick(Tick(now_us(), symbol, price_e13, market.qty_for_eur(_DEPTH_EUR, price_e13), side))

    def calm(self, agents: Sequence[str], symbol: str, *, rounds: int, gap_s: float) -> None:
        """Let bots trade as usual, one after the other: small market orders on both sides, so that they have a past."""
        for turn in range(rounds):
            self.trade(symbol, self.last(symbol))
            for agent_id in agents:
                side = Side.BUY if turn % 2 else Side.SELL
                self.trader(agent_id).worth(side, symbol, self.rng.randint(*_CALM_EUR), self.last(symbol))
                pause(gap_s)

    def give(self, action: Action, scope: Scope, target: str, person: str, reason: str) -> Acknowledgement:
        """Let a named person give a command, and wait until every lane that it is for has logged it."""
        command = Command(str(uuid.uuid4()), action, scope, target, reason, person, now_us())
        return give(self.stage.settings, command)

    def wait_for_answers(self) -> None:
        """Wait until every message sent so far is answered. Raises: PortcullisError where one is not."""
        self._sender.flush()
        self.watch.wait_for(sum(trader.sent for trader in self._traders.values()), self.supervise)

    def disconnect(self) -> None:
        """Let the venue go dark: no prices, nothing acted on."""
        self.exchange.stop()
        self.refused_by_venue += self.exchange.refused

    def reconnect(self) -> None:
        """Let the venue come back as a new process: it knows its own reports, and reads every approval again."""
        self.exchange = self._new_exchange()
        self.exchange.recall()
        self._open(self.exchange)

    def supervise(self) -> None:
        """Start the worker again where it has ended by itself.

        Raises: ProcessEndedError where it has ended too often.
        """
        if self.worker.running:
            return
        if self.worker_restarts == _RESTARTS_MAX:
            self.worker.require_running()
        self.worker_restarts += 1
        self.worker.start()

    def restart_worker(self) -> None:
        """Kill the worker and start it again; wait until it decides."""
        self.worker.kill()
        self.worker.start()
        self.worker.wait_for_line("ready at offsets")

    def end(self) -> None:
        """Let everything that was sent be worked through, then stop worker, venue and watch."""
        self.wait_for_answers()
        self.exchange.stop_after(len(self.watch.seen[Topic.ORDERS_APPROVED]), self.supervise)
        self.refused_by_venue += self.exchange.refused
        wait_until_settled(self.stage.settings, check=self.supervise)
        self.worker.stop()
        self.watch.stop()

    def _new_exchange(self) -> Exchange:
        stage = self.stage
        return Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())

    def _open(self, exchange: Exchange) -> None:
        for symbol, price_e13 in self._prices.items():
            self.trade(symbol, price_e13)
        exchange.start()


@contextmanager
def open_ground(
    settings: Settings,
    plans: Sequence[DrillPlan],
    folder: Path,
    rng: Random,
    *,
    scale: Scale,
    worker: Sequence[str] = WORKER,
) -> Iterator[Ground]:
    """Yield the ground of drills in a folder, its worker started.

    `worker`: the module to run as the worker, with its arguments.

    Raises: PortcullisError where a part of it cannot run.
    """

    def tune(agent_id: str, document: bytes) -> bytes:
        body: dict[str, Any] = json.loads(document)
        for plan in plans:
            for part, fields in plan.limits.get(agent_id, {}).items():
                body[part] |= fields
        return json.dumps(body, indent=1).encode()

    bots = tuple(bot for plan in plans for bot in plan.bots)
    with open_stage(folder, settings, _first_trades(plans), bots, tune=tune) as stage, ExitStack() as running:
        process = stage.worker(command=worker)
        process.start()
        running.callback(process.stop)
        yield Ground(stage, process, rng, scale)


def _first_trades(plans: Sequence[DrillPlan]) -> list[Tick]:
    """Return one trade per market: its first price, and a quantity that gives lots of a ten-thousandth."""
    lot_e17 = parse_decimal("0.0001", QTY_SCALE)
    prices = {instrument.symbol: instrument.price for plan in plans for instrument in plan.instruments}
    return [Tick(1, symbol, parse_decimal(price, PRICE_SCALE), lot_e17, Side.BUY) for symbol, price in prices.items()]


def pause(seconds: float) -> None:
    """Let time pass, as between a bot's messages; no time where it has passed already."""
    time.sleep(max(0.0, seconds))
