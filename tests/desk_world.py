"""A small desk for tests: two lanes, and facts as the log would tell them."""

from __future__ import annotations

import json
from typing import Any

from argon2 import PasswordHasher

from streams.core.policy import Policy, parse_policy
from streams.desk.facts import Changed, Commanded, Decided, Executed, Place
from streams.desk.model import Desk
from streams.wire.commands import Action, Command, Scope
from tests.gate_world import DOCUMENT

S_US = 1_000_000
# Argon2 at its cheapest: what it costs is not what most tests are about.
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
START_US = 1_800_000_010 * S_US  # within a minute
OPERATOR = "acme_trading_ltd"


def policy(agent_id: str, **changes: Any) -> Policy:
    document = json.loads(json.dumps(DOCUMENT))
    document["agent_id"] = agent_id
    document["operator"] = changes.pop("operator", OPERATOR)
    document["risk_controls"] |= changes
    return parse_policy(json.dumps(document).encode())


class World:
    """Numbers the records, so that a test says only what matters to it."""

    def __init__(self, lanes: int = 2) -> None:
        self.desk = Desk(lanes, START_US)
        self.now_us = START_US
        self._next = [0] * lanes

    def place(self, lane: int = 0) -> Place:
        index = self._next[lane]
        self._next[lane] += 1
        self.now_us += 1_000
        return Place(lane, index * 2, index, self.now_us)

    def registered(self, *agents: str, operator: str = OPERATOR) -> None:
        for agent_id in agents:
            self.desk.on_policy(agent_id, policy(agent_id, operator=operator))

    def decided(self, agent_id: str, reason: str = "NONE", *, lane: int = 0, **changes: Any) -> Decided:
        place = self.place(lane)
        fields: dict[str, Any] = {
            "cl_ord_id": f"order-{place.log_index}",
            "state": "ACTIVE",
            "score": 0.1,
            "features": {"size": 0.1},
            "symbol": "BTC_USDT",
            "side": "BUY",
            "entering": True,
            "qty_e17": 10**16,
            "value_e5": 100_00000,
            "daily_e5": 1000_00000,
            "requested_us": place.at_us - 20_000,
            "policy": None,
        }
        fact = Decided(place, agent_id, approved=reason == "NONE", reason=reason, **{**fields, **changes})
        self.desk.on_event(fact, self.now_us)
        return fact

    def executed(self, order: Decided, exec_type: str = "FILL") -> Executed:
        place = self.place(order.place.partition)
        ends = exec_type != "PARTIAL_FILL"
        fact = Executed(place, order.agent_id, order.cl_ord_id, exec_type, order.symbol, ends, "")
        self.desk.on_event(fact, self.now_us)
        return fact

    def changed(self, agent_id: str, state: str, **changes: Any) -> Changed:
        fields: dict[str, Any] = {
            "kind": "BREAKER_CHANGED",
            "before": "ACTIVE",
            "reason": "CIRCUIT_BREAKER_ACTIVE",
            "issued_by": "anomaly-agent",
            "open_until_us": 0,
        }
        fact = Changed(self.place(), agent_id, state=state, **{**fields, **changes})
        self.desk.on_event(fact, self.now_us)
        return fact

    def command(self, action: Action, scope: Scope, target: str = "", by: str = "cfo@acme") -> Command:
        self.now_us += 1_000
        command = Command(f"c-{self.now_us}", action, scope, target, "a drill", by, self.now_us)
        for lane in range(len(self._next)) if scope is not Scope.BOT else (0,):
            self.desk.on_command(command, self.now_us, lane)
        return command

    def answered(self, command: Command, lane: int = 0, *, applied: bool = True, text: str = "done") -> Commanded:
        fact = Commanded(self.place(lane), command, applied, text, command.issued_by)
        self.desk.on_event(fact, self.now_us)
        return fact

    def alert(self, kind: str, agent_id: str = "", *, severity: str = "WARNING", message: str = "look") -> str:
        self.now_us += 1_000
        alert_id = f"0-{self.now_us}-{kind}"
        record = {"alert_id": alert_id, "severity": severity, "kind": kind, "agent_id": agent_id, "symbol": ""}
        times = {"message": message, "raised_at": self.now_us, "cause_time": self.now_us}
        self.desk.on_alert(record | times)
        return alert_id
