"""The controls agent: what named people order, in force from the moment this log says so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from streams.agents.alerts import CRITICAL, INFO, WARNING
from streams.agents.deadlines import Kind
from streams.core.alert_kinds import AlertKind
from streams.core.breaker import Signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.wire.commands import Action, Command, CommandRefusedError, Scope, check_command
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Lane
    from streams.core.state import BotState
    from streams.engine.tables import PartitionTable
    from streams.wire.trust import Person

# A kill wider than one bot: [command_id, who issued kills in force, since when].
Row = list[Any]

_SUBJECT_BYTES_MAX: Final = 64 * 1024
_ALL: Final = "ALL"
_COMMAND_AGE_MAX_US: Final = 600_000_000
_SIGNALS: Final = {Action.HALT: Signal.PERSON_HALT, Action.REDUCE: Signal.PERSON_REDUCE}
_SEVERITY: Final = {
    Action.KILL: CRITICAL,
    Action.HALT: CRITICAL,
    Action.REVOKE: CRITICAL,
    Action.REDUCE: WARNING,
    Action.OVERRIDE: WARNING,
}


class ControlsAgent:
    """Applies commands to its partition."""

    def __init__(self, lane: Lane, table: PartitionTable[Row]) -> None:
        self._lane = lane
        self._table = table
        given = [(row[0], key) for key, row in table.items() if key.startswith("COMMAND ")]
        self._given = deque(sorted(given))
        self._later: list[Callable[[], object]] = []  # what follows the command's own event in the log
        self._apply: dict[Action, Callable[[Command, Person, ConsumerRecord], str]] = {
            Action.KILL: self._kill,
            Action.RELEASE: self._release,
            Action.REVOKE: self._revoke,
            Action.ACKNOWLEDGE: self._acknowledge,
            Action.HALT: self._stop,
            Action.REDUCE: self._stop,
            Action.OVERRIDE: self._override,
            Action.CLASSIFY: self._advance,
            Action.REPORT: self._advance,
            Action.COMPLETE: self._advance,
        }

    def kill_for(self, agent_id: str, operator: str, symbol: str, bot: BotState) -> str | None:
        """Return the widest kill in force for an order, as a verdict shows it."""
        if len(self._table):
            for scope in (_ALL, f"OPERATOR {operator}", f"MARKET {symbol}"):
                if self._table.get(scope) is not None:
                    return scope
        return None if bot.kill_command is None else f"BOT {agent_id}"

    def on_command(self, record: ConsumerRecord) -> None:
        """Apply a person's command, or refuse it and say why."""
        value = record.value or b""
        signature, thumbprint = find_headers(record.headers, SIGNATURE, THUMBPRINT)
        lane = self._lane
        try:
            command, person = check_command(value, signature, thumbprint, lane.trust.store)
            self._require_new(command, record.timestamp * 1000)
            if command.scope is Scope.BOT and (record.key or b"") != command.target.encode():
                raise CommandRefusedError(f"key: {command.target!r} required, is {(record.key or b'')[:64]!r}")
            before = self._state_of(command)
            text = self._apply[command.action](command, person, record)
        except CommandRefusedError as error:
            self._refuse(record, value, signature, error)
            return
        agent_id = command.target if command.scope is Scope.BOT else ""
        bot = lane.bot(agent_id) if agent_id else None
        lane.record_event(
            record,
            "COMMAND_APPLIED",
            agent_id,
            bot,
            subject=value,
            signature=signature,
            signer=person.name,
            state_before=before,
            authorised_by=person.name,
            approved_by=person.name,
            details={"action": command.action, "scope": f"{command.scope} {command.target}".strip(), "effect": text},
        )
        severity = _SEVERITY.get(command.action, INFO)
        message = f"{person.name}: {command.action} {command.scope} {command.target} ({command.reason}): {text}"
        lane.alerts.raise_alert(
            severity,
            AlertKind(f"COMMAND_{command.action}"),
            message[:1000],
            agent_id=agent_id,
            cause_us=command.issued_at_us,
        )
        later, self._later = self._later, []
        for act in later:
            act()

    def _require_new(self, command: Command, appended_us: int) -> None:
        """Refuse a command that came before or is old: a recorded release must not work twice. A kill always does."""
        key = f"COMMAND {command.command_id}"
        age_us = appended_us - command.issued_at_us
        if command.action is not Action.KILL:
            if abs(age_us) > _COMMAND_AGE_MAX_US:
                raise CommandRefusedError(f"issued_at: at most {_COMMAND_AGE_MAX_US} us old, is {age_us} us")
            if self._table.get(key) is not None:
                raise CommandRefusedError(f"command_id: {command.command_id} was used before")
        self._table.put(key, [appended_us])
        self._given.append((appended_us, key))
        while self._given and self._given[0][0] < appended_us - 2 * _COMMAND_AGE_MAX_US:
            self._table.delete(self._given.popleft()[1])

    def _state_of(self, command: Command) -> str:
        bot = self._lane.bots.get(command.target) if command.scope is Scope.BOT else None
        return TradingState.ACTIVE.value if bot is None else bot.trading_state.value

    def _kill(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        lane = self._lane
        if command.scope is Scope.BOT:
            bot = lane.bot(command.target)
            before = bot.trading_state
            bot.kill(command.command_id, person.name)
            lane.bots.touch(command.target)
            self._publish(command, person, before, bot)
        else:
            scope = _scope_key(command)
            row = self._table.get(scope) or [command.command_id, [], record.timestamp * 1000]
            if person.name not in row[1]:
                row[1].append(person.name)
            self._table.put(scope, row)
        lane.breakers.mass_cancel(
            command.scope, command.target, Reason.KILL_SWITCH_ENGAGED, person.name, command.command_id
        )
        self._later.append(lambda: lane.incidents.on_kill(record, command))
        return f"{_scope_key(command)} stopped, open orders to be cancelled"

    def _stop(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        """Halt or reduce a bot or a market: open orders stay, and only another person releases it."""
        lane, signal = self._lane, _SIGNALS[command.action]
        if command.scope is Scope.MARKET:
            self._later.append(lambda: lane.markets.stop(record, command.target, signal, person.name))
            return f"MARKET {command.target} to {command.action}"
        bot = lane.bot(command.target)
        before = bot.trading_state
        if signal is Signal.PERSON_HALT:
            bot.halt(signal, Reason.TRADING_HALTED, person.name)
        else:
            bot.stop(signal, person.name)
        lane.bots.touch(command.target)
        self._publish(command, person, before, bot)
        return f"{command.target} is {bot.trading_state}"

    def _release(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        if command.scope is not Scope.BOT:
            return self._release_wide(command, person, record)
        lane = self._lane
        bot = lane.bots.get(command.target)
        if bot is None:
            raise CommandRefusedError(f"target: {command.target!r} is not known in this partition")
        _require_other(person, bot.stoppers())
        before = bot.trading_state
        bot.release()
        lane.bots.touch(command.target)
        lane.deadlines.cancel(Kind.GRACE, command.target)
        self._publish(command, person, before, bot)
        return f"{command.target} released"

    def _release_wide(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        lane, scope = self._lane, _scope_key(command)
        row = self._table.get(scope)
        breaker = lane.markets.stoppers(command.target) if command.scope is Scope.MARKET else None
        if row is None and breaker is None:
            raise CommandRefusedError(f"scope: no kill or halt is in force for {scope}")
        _require_other(person, (*(row[1] if row is not None else ()), *(breaker or ())))
        if row is not None:
            self._table.delete(scope)
        if breaker is not None:
            self._later.append(lambda: lane.markets.release(record, command.target, person.name))
        return f"{scope} released"

    def _revoke(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        lane, agent_id = self._lane, command.target
        lane.suspensions.revoke(agent_id, record.timestamp * 1000)
        self._later.append(lambda: lane.suspensions.request(agent_id, command.reason, person.name))
        lane.breakers.mass_cancel(Scope.BOT, agent_id, Reason.CERTIFICATE_REVOKED, person.name, command.command_id)
        return f"certificate of {agent_id} revoked, open orders to be cancelled"

    def _acknowledge(self, command: Command, person: Person, _record: ConsumerRecord) -> str:
        effect = self._lane.suspensions.acknowledge(command.target) if command.scope is Scope.BOT else ""
        return effect or f"{_scope_key(command)} acknowledged by {person.name}"

    def _override(self, command: Command, person: Person, _record: ConsumerRecord) -> str:
        return self._lane.overrides.sign(command, person)

    def _advance(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        """Take a person's step about an incident."""
        incidents = self._lane.incidents
        after = incidents.after(command, person)
        self._later.append(lambda: incidents.change(record, after))
        return f"{after.incident_id}: {command.stage or command.action}; reports {after.reporting}"

    def _publish(self, command: Command, person: Person, before: TradingState, bot: BotState) -> None:
        after = bot.trading_state
        if after is not before:
            reason = Reason.NONE if after is TradingState.ACTIVE else bot.halt_reason or Reason.CIRCUIT_BREAKER_ACTIVE
            self._lane.breakers.publish(Scope.BOT, command.target, before, after, reason, issued_by=person.name)

    def _refuse(self, record: ConsumerRecord, value: bytes, signature: bytes, error: CommandRefusedError) -> None:
        lane = self._lane
        lane.record_event(
            record,
            "COMMAND_REFUSED",
            "",
            None,
            subject=value[:_SUBJECT_BYTES_MAX],
            signature=signature[:128],
            outcome="COMMAND_REFUSED",
            details={"problem": str(error)[:1000]},
        )
        message = f"a command was refused: {error}"[:1000]
        lane.alerts.raise_once(
            WARNING, AlertKind.COMMAND_REFUSED, message, agent_id="", cause_us=record.timestamp * 1000
        )


def _scope_key(command: Command) -> str:
    return f"{command.scope} {command.target}".strip()


def _require_other(person: Person, stoppers: Iterable[str]) -> None:
    """Refuse who stopped it to release it (RTS 6 Art. 15(3))."""
    names = tuple(stoppers)
    if person.name in names:
        raise CommandRefusedError(f"issued_by: somebody else than {' '.join(names)} must release")
