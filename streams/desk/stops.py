"""Commands as the desk follows them: asked for, in force from which offset on, and what was refused since. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.wire.commands import Action, Command, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.desk.facts import Commanded, Decided, Executed

_FOLLOWED_MAX: Final = 500
# Refusals that are a kill's doing: its own reason, and that of the halt which it leaves on the bot.
_BY_KILL: Final = frozenset(("KILL_SWITCH_ENGAGED", "TRADING_HALTED"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One lane's answer: the offset in `audit.events` from which on it holds, and when it was given (us UTC)."""

    offset: int
    at_us: int
    applied: bool
    text: str


@dataclass(slots=True)
class Followed:
    """A command, its answers, and what happened in its scope since it was in force."""

    command: Command
    answers: dict[int, Answer] = field(default_factory=dict)
    wanted: int = 1
    """How many lanes must answer."""
    requested_us: int = 0
    lane: int = -1
    """The one lane that it went to; -1 where it went to all, or the desk has not seen where."""
    refused: int = 0
    approved: int = 0
    cancelled: int = 0
    open_before: int = 0
    lifted_by: str = ""
    lifted_us: int = 0

    @property
    def complete(self) -> bool:
        """Say whether every lane that must has applied it."""
        return sum(answer.applied for answer in self.answers.values()) >= self.wanted

    @property
    def in_force(self) -> bool:
        """Say whether it is a kill that has an effect somewhere and was not lifted."""
        kill = self.command.action is Action.KILL and not self.lifted_us
        return kill and any(answer.applied for answer in self.answers.values())

    @property
    def effect_us(self) -> int | None:
        """Return how long it took from the person's order to the last lane's answer; None until then."""
        if not self.complete:
            return None
        return max(answer.at_us for answer in self.answers.values()) - self.command.issued_at_us

    def covers(self, agent_id: str, operator: str, symbol: str) -> bool:
        """Say whether an order is in the command's scope."""
        target = self.command.target
        by_scope = {Scope.BOT: agent_id, Scope.OPERATOR: operator, Scope.MARKET: symbol, Scope.ALL: ""}
        return by_scope[self.command.scope] == target


class Stops:
    """The latest commands, and which kills are in force."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self.followed: dict[str, Followed] = {}
        self._kills: list[Followed] = []

    @property
    def in_force(self) -> list[Followed]:
        """Return the kills in force, the latest first."""
        return [kill for kill in reversed(self._kills) if kill.in_force]

    def on_requested(self, command: Command, appended_us: int, open_before: int, lane: int = -1) -> Followed:
        """Take in a command as the topic has it; one for all lanes comes once for each."""
        known = self.followed.get(command.command_id)
        if known is None:
            one_lane = command.scope is Scope.BOT or command.incident_id is not None
            known = Followed(command, wanted=1 if one_lane else self._lanes)
            known.open_before = open_before
            known.requested_us = appended_us
            known.lane = lane if one_lane else -1
            self.followed[command.command_id] = known
            self._forget()
        return known

    def on_answer(self, fact: Commanded, open_before: int) -> Followed | None:
        """Take in a lane's answer; None where nobody can say to what."""
        if fact.command is None:
            return None
        known = self.on_requested(fact.command, fact.place.at_us, open_before)
        if fact.place.partition in known.answers:
            return known
        known.answers[fact.place.partition] = Answer(fact.place.offset, fact.place.at_us, fact.applied, fact.text)
        if fact.applied and known.command.action is Action.KILL and known not in self._kills:
            self._kills.append(known)
        if known.command.action is Action.RELEASE and known.complete and not known.lifted_us:
            known.lifted_us = fact.place.at_us
            self._lift(known)
        return known

    def on_decided(self, fact: Decided, operator: str) -> Iterable[Followed]:
        """Count a verdict against the kills in force where it was made; return those that it touched."""
        touched = []
        for kill in self._kills:
            if not kill.covers(fact.agent_id, operator, fact.symbol) or kill.lifted_us:
                continue
            answer = kill.answers.get(fact.place.partition)
            if answer is None or not answer.applied or fact.place.offset <= answer.offset:
                continue
            if fact.approved and fact.entering:
                kill.approved += 1
            elif fact.reason in _BY_KILL:
                kill.refused += 1
            else:
                continue
            touched.append(kill)
        return touched

    def on_executed(self, fact: Executed, operator: str) -> Iterable[Followed]:
        """Count a cancelled order against the kills in force; return those that it touched."""
        if fact.exec_type != "CANCELED":
            return ()
        touched = [
            kill
            for kill in self._kills
            if not kill.lifted_us and kill.answers and kill.covers(fact.agent_id, operator, fact.symbol)
        ]
        for kill in touched:
            kill.cancelled += 1
        return touched

    def _lift(self, release: Followed) -> None:
        """End the kills of the same scope that were in force before."""
        command = release.command
        for kill in self._kills:
            same = (kill.command.scope, kill.command.target) == (command.scope, command.target)
            if same and not kill.lifted_us and kill.command.issued_at_us <= release.lifted_us:
                kill.lifted_by, kill.lifted_us = command.issued_by, release.lifted_us
        self._kills = [kill for kill in self._kills if not kill.lifted_us]

    def _forget(self) -> None:
        """Keep the latest; what is in force is never forgotten."""
        if len(self.followed) > _FOLLOWED_MAX:
            old = next((key for key, followed in self.followed.items() if not followed.in_force), None)
            self.followed.pop(old or "", None)
