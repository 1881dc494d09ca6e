"""Random runs: tight policies, commands, breakers, bad prices, jumping clocks; for holding the gate and the oracle
against each other."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from streams.names import Topic
from streams.sim.bots import plan
from streams.sim.signing import to_wire
from streams.wire.avro import Schema, encode
from streams.wire.commands import Action, Scope
from streams.wire.devpki import OPERATOR, PEOPLE
from tests.sim_world import DAY_US, S_US, World

if TYPE_CHECKING:
    from pathlib import Path

    from streams.sim.bots import PlannedMessage

MS_US = 1_000
ACTIONS = (
    *[Action.KILL] * 3,
    *[Action.RELEASE] * 3,
    Action.HALT,
    Action.REDUCE,
    Action.REDUCE,
    Action.ACKNOWLEDGE,
    Action.REVOKE,
)
STATES = ("ACTIVE", "ACTIVE", "ACTIVE", "REDUCING", "HALTED")
UNITS = ("price_e13", "eur_rate_e13", "tick_size_e13", "lot_size_e17")
TIGHT: dict[str, dict[str, tuple[object, ...]]] = {
    "scope": {"max_daily_value_eur": ("3000", "20000"), "max_order_value_eur": ("250.5", "400")},
    "risk_controls": {
        "message_rate_max_per_s": (3, 8),
        "execution_max": (2, 5, 20),
        "execution_window_s": (1, 7),
        "max_consecutive_failures": (1, 2, 3),
        "max_order_age_ms": (20, 1000),
        "reference_max_age_ms": (50, 1000),
        "duplicate_window_s": (1, 3),
        "circuit_breaker_cooldown_s": (1, 5),
        "circuit_breaker_probe_orders": (1, 2),
        "kill_grace_s": (1, 30),
        "heartbeat_interval_ms": (100, 5_000),
        "price_collar_bps": (5, 100),
        "circuit_breaker_threshold": ("0.1", "0.5"),
        "kill_switch_automatic": ("0.75", "0.95"),
    },
}


def tighten(document: bytes, rng: Random) -> bytes:
    """Return a policy with some limits so tight that they matter."""
    body: dict[str, Any] = json.loads(document)
    for part, limits in TIGHT.items():
        for name, values in limits.items():
            if rng.random() < 0.3:
                body[part][name] = rng.choice(values)
    if rng.random() < 0.2:
        body["scope"]["trading_hours"] |= {
            "start": rng.choice(("00:00", "08:30", "22:15")),
            "end": rng.choice(("00:00", "17:45", "23:59")),
            "tz": rng.choice(("UTC", "Europe/Berlin", "America/New_York")),
            "exclude_weekends": rng.random() < 0.3,
        }
    if rng.random() < 0.1:  # the scenario test is due today, or was yesterday
        body["testing"]["last_passed"]["scenario"]["day"] = rng.choice(("2025-12-06", "2025-12-05"))
    return json.dumps(body).encode()


class Scenario:
    """A run in which everything that can go differently does."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World(folder)
        self.seed = seed
        self._seen = -1

    def run(self, steps: int) -> World:
        world, rng = self.world, self.rng
        for agent_id in world.documents:
            self._change_policy(agent_id)
        world.prices()
        for agent_id in world.documents:
            if rng.random() < 0.95:
                world.register(agent_id)
        world.decide()
        for message in plan(world.ticks, world.bots, steps, self.seed, markets=world.markets):
            self._step(message)
        world.decide()
        world.decide()
        return world

    def _step(self, message: PlannedMessage) -> None:
        world, rng = self.world, self.rng
        world.now_us += rng.choice((0, MS_US, 20 * MS_US, 150 * MS_US))
        world.skew_us = rng.choice((0, 0, 0, -50 * MS_US, -400 * MS_US))  # append times go back
        if rng.random() < 0.01:
            world.now_us += rng.choice((2 * S_US, 30 * S_US, 3600 * S_US, DAY_US // 3))
        if rng.random() < 0.7:
            self._seen = world.play_tape(self._seen, message)
        wire = to_wire(message, world.keys, world.now_us - rng.choice((0, 0, 0, 15 * MS_US, 900 * MS_US)))
        world.send(wire)
        if rng.random() < 0.05:
            world.send(wire)
        self._disturb(message)
        if rng.random() < 0.2:
            world.decide(rng.choice((0, MS_US, 30 * MS_US, 100 * MS_US, 5 * S_US)))

    def _disturb(self, message: PlannedMessage) -> None:
        world, rng = self.world, self.rng
        dice = rng.random()
        if dice < 0.05:
            self._command()
        elif dice < 0.10:
            self._release_all()
        elif dice < 0.11:
            world.register(rng.choice(list(world.documents)))
        elif dice < 0.12:
            agent_id = rng.choice(list(world.documents))
            self._change_policy(agent_id)
            world.register(agent_id)
        elif dice < 0.13:
            self._breaker(message)
        elif dice < 0.17:
            self._bad_price()

    def _change_policy(self, agent_id: str) -> None:
        self.world.documents[agent_id] = tighten(self.world.documents[agent_id], self.rng)
        self.world.certify(agent_id)

    def _command(self) -> None:
        world, rng = self.world, self.rng
        scope = rng.choice((*[Scope.BOT] * 4, Scope.MARKET, Scope.OPERATOR, Scope.ALL))
        targets = {
            Scope.BOT: rng.choice(world.bots).agent_id,
            Scope.MARKET: rng.choice(list(world.markets)),
            Scope.OPERATOR: OPERATOR,
            Scope.ALL: "",
        }
        world.command(rng.choice(ACTIONS), scope, targets[scope], rng.choice(list(PEOPLE)))

    def _release_all(self) -> None:
        world = self.world
        wide = [(Scope.ALL, ""), (Scope.OPERATOR, OPERATOR), *((Scope.MARKET, symbol) for symbol in world.markets)]
        for scope, target in wide + [(Scope.BOT, bot.agent_id) for bot in world.bots]:
            for person in PEOPLE:
                world.command(Action.RELEASE, scope, target, person)

    def _breaker(self, message: PlannedMessage) -> None:
        world, rng = self.world, self.rng
        scope = rng.choice(("BOT", "MARKET"))
        target = rng.choice(world.bots).agent_id if scope == "BOT" else rng.choice(list(world.markets))
        event: dict[str, Any] = {
            "event_id": f"desk-{message.number}",
            "scope": scope,
            "target": target,
            "previous": "ACTIVE",
            "state": rng.choice(STATES),
            "reason": "drill",
            "score": None,
            "threshold": None,
            "features": {},
            "issued_by": "desk",
            "event_time": world.now_us,
        }
        world.produce(Topic.RISK_CIRCUIT_BREAKERS, target.encode(), encode(Schema.BREAKER_EVENT, event))

    def _bad_price(self) -> None:
        world, rng = self.world, self.rng
        market = rng.choice(list(world.markets.values()))
        if rng.random() < 0.1:
            world.produce(Topic.MARKETS_REFERENCE, market.symbol.encode(), None, partition=0)
            return
        price = market.reference(market.first_price_e13, world.now_us - rng.choice((0, S_US, -S_US, 100 * S_US)))
        zero: dict[str, Any] = {rng.choice(UNITS): 0} if rng.random() < 0.2 else {}
        world.price(replace(price, **zero))
