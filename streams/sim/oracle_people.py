"""What named people ordered, as the oracle reads it from the log: kills, halts, releases, overrides; never alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.sim.oracle_history import decimal, number
from streams.wire.avro import Schema, decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from streams.sim.oracle_case import Asked, Finding, Past
    from streams.sim.oracle_history import Fields, Findings

_OVERRIDE_US: Final = 600_000_000
# What two people may let pass, once.
_LIFTED: Final = (
    "MAX_ORDER_VALUE_EXCEEDED",
    "MAX_ORDER_VOLUME_EXCEEDED",
    "PRICE_COLLAR_EXCEEDED",
    "DAILY_VALUE_LIMIT_EXCEEDED",
)
_Trade = tuple[str, bool, "Decimal", "Decimal | None"]


@dataclass(slots=True)
class Signed:
    """A trade that may pass under one ClOrdID once two people have signed it; until when, microseconds UTC."""

    trade: _Trade
    people: list[str]
    until_us: int


class People:
    """What people ordered in one partition."""

    def __init__(self, findings: Findings, bots: dict[str, Past], before: Sequence[People] = ()) -> None:
        self._findings = findings
        self._bots = bots
        self.kills: dict[str, set[str]] = {}  # scope and target → who killed
        self.stops: dict[str, set[str]] = {}  # market → who halted or reduced it
        self.early: dict[str, list[Fields]] = {}  # commands for bots that are not registered yet
        self.overrides: dict[tuple[str, str], Signed] = {}
        for people in before:
            for mine, theirs in ((self.kills, people.kills), (self.stops, people.stops)):
                for scope, names in theirs.items():
                    mine[scope] = mine.get(scope, set()) | names
            self.early |= people.early
            self.overrides |= people.overrides

    def has_stopped(self, symbol: str) -> bool:
        """Say whether a person has halted or reduced a market."""
        return f"MARKET {symbol}" in self.stops

    def is_killed(self, scopes: tuple[str, ...]) -> bool:
        """Say whether a kill wider than one bot is in force for any of these."""
        return any(scope in self.kills for scope in scopes)

    def met(self, agent_id: str, place: str) -> None:
        """Take a bot that was registered for the first time: commands that came before it hold."""
        for command in self.early.pop(agent_id, ()):
            self._command_bot(command, self._bots[agent_id], place)

    def take(self, event: Fields, place: str) -> None:
        """Take an applied command."""
        command = decode(Schema.COMMAND, event["subject"])
        if command["action"] == "OVERRIDE":
            self._sign(command, event["event_time"], place)
        elif command["scope"] != "BOT":
            self._command_wide(command, place)
        elif (past := self._bots.get(command["target"])) is not None:
            self._command_bot(command, past, place)
        else:
            self.early.setdefault(command["target"], []).append(command)

    def lifted_by(self, asked: Asked, expected: tuple[Finding, ...]) -> Signed | None:
        """Return what lifts every check that must fail, where two people signed for this very order; it is used up."""
        key = asked.agent_id, asked.cl_ord_id
        signed = self.overrides.get(key)
        if signed is None or not expected or any(finding.code not in _LIFTED for finding in expected):
            return None
        trade = asked.symbol, asked.buy, asked.qty, asked.price
        if asked.replacing or len(signed.people) < 2 or asked.now_us > signed.until_us or trade != signed.trade:
            return None
        return self.overrides.pop(key)

    def over(self, event: Fields, place: str) -> None:
        """Take the end of an override that nobody used."""
        signed = self.overrides.pop((event["agent_id"], event["details"]["cl_ord_id"]), None)
        if signed is None or event["event_time"] < signed.until_us:
            until_us = None if signed is None else signed.until_us
            self._findings.note("deadline", place, f"an override that is over ({until_us})", event["event_time"])

    def _sign(self, command: Fields, now_us: int, place: str) -> None:
        terms = command["terms"]
        trade = terms["symbol"], terms["side"] == "BUY", number(terms["order_qty"], 17), decimal(terms["price"], 13)
        key = command["target"], command["cl_ord_id"]
        signed = self.overrides.get(key)
        if signed is None or now_us > signed.until_us:
            signed = self.overrides[key] = Signed(trade, [], now_us + _OVERRIDE_US)
        self._findings.check("override", place, signed.trade, trade)
        if command["issued_by"] in signed.people:
            person = command["issued_by"]
            self._findings.note("8 two people", place, f"somebody else than {person} to sign too", person)
        else:
            signed.people.append(command["issued_by"])

    def _command_wide(self, command: Fields, place: str) -> None:
        scope = f"{command['scope']} {command['target']}".strip()
        if command["action"] == "KILL":
            self.kills.setdefault(scope, set()).add(command["issued_by"])
        elif command["action"] in ("HALT", "REDUCE"):
            self.stops.setdefault(scope, set()).add(command["issued_by"])
        elif command["action"] == "RELEASE":
            stoppers = self.kills.pop(scope, set()) | self.stops.pop(scope, set())
            self._check_two_people(command, stoppers, place)

    def _command_bot(self, command: Fields, past: Past, place: str) -> None:
        action = command["action"]
        if action in ("KILL", "HALT", "REDUCE"):
            past.stopped_by.add(command["issued_by"])
        if action == "KILL":
            past.killed = past.halted = True
        elif action == "HALT":
            past.halted = True
        elif action == "REDUCE":
            past.hold()
        elif action == "REVOKE":
            past.revoked, past.grace_us = True, None
        elif action == "ACKNOWLEDGE":
            past.grace_us = None
        elif action == "RELEASE":
            self._check_two_people(command, past.stopped_by, place)
            past.release()

    def _check_two_people(self, command: Fields, killers: set[str], place: str) -> None:
        """Invariant 8: nobody releases their own kill."""
        person = command["issued_by"]
        if person in killers:
            self._findings.note("8 two people", place, f"somebody else than {person} to release", person)
