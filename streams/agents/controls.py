"""The controls agent: what named people order, and breakers that others open, from the moment this log says so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from streams.agents.alerts import CRITICAL, INFO, WARNING
from streams.core.breaker import Signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.names import Topic
from streams.wire.avro import DecodeError, Schema, decode, encode
from streams.wire.commands import Action, Command, CommandRefusedError, Scope, check_command
from streams.wire.headers import SIGNATURE, THUMBPRINT, cloud_event, find_headers

if TYPE_CHECKING:
    from collections.abc import Callable

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


class ControlsAgent:
    """Applies commands and breaker events to its partition."""

    def __init__(self, lane: Lane, table: PartitionTable[Row]) -> None:
        self._lane = lane
        self._table = table
        given = [(row[0], key) for key, row in table.items() if key.startswith("COMMAND ")]
        self._given = deque(sorted(given))
        self._apply: dict[Action, Callable[[Command, Person, ConsumerRecord], str]] = {
            Action.KILL: self._kill,
            Action.RELEASE: self._release,
            Action.REVOKE: self._revoke,
            Action.ACKNOWLEDGE: self._acknowledge,
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
            command, person = check_command(value, signature, thumbprint, lane.services.trust)
            self._require_new(command, record.timestamp * 1000)
            if command.scope is Scope.BOT and (record.key or b"") != command.target.encode():
                raise CommandRefusedError(f"key: {command.target!r} required, is {(record.key or b'')[:64]!r}")
            handler = self._apply.get(command.action)
            if handler is None:
                raise CommandRefusedError(f"action: {', '.join(self._apply)} known here, is {command.action}")
            before = self._state_of(command)
            text = handler(command, person, record)
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
        severity = CRITICAL if command.action is Action.KILL else INFO
        message = f"{person.name}: {command.action} {command.scope} {command.target} ({command.reason}): {text}"
        lane.alerts.raise_alert(
            severity, f"COMMAND_{command.action}", message[:1000], agent_id=agent_id, cause_us=command.issued_at_us
        )

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
            bot.kill(command.command_id, person.name)
            before = bot.trading_state
            bot.halt(Signal.PERSON_HALT, Reason.KILL_SWITCH_ENGAGED)
            lane.bots.touch(command.target)
            self._publish(command, person, before, bot)
        else:
            scope = _scope_key(command)
            row = self._table.get(scope) or [command.command_id, [], record.timestamp * 1000]
            if person.name not in row[1]:
                row[1].append(person.name)
            self._table.put(scope, row)
        self.mass_cancel(command.scope, command.target, Reason.KILL_SWITCH_ENGAGED, person.name, command.command_id)
        return f"{_scope_key(command)} stopped, open orders to be cancelled"

    def _release(self, command: Command, person: Person, _record: ConsumerRecord) -> str:
        lane = self._lane
        if command.scope is not Scope.BOT:
            row = self._table.get(_scope_key(command))
            if row is None:
                raise CommandRefusedError(f"scope: no kill is in force for {_scope_key(command)}")
            if person.name in row[1]:
                raise CommandRefusedError(f"issued_by: somebody else than {', '.join(row[1])} must release")
            self._table.delete(_scope_key(command))
            return f"{_scope_key(command)} released"
        bot = lane.bots.get(command.target)
        if bot is None:
            raise CommandRefusedError(f"target: {command.target!r} is not known in this partition")
        if not bot.may_release(person.name):
            raise CommandRefusedError(f"issued_by: somebody else than {bot.kill_issued_by} must release")
        before = bot.trading_state
        bot.release()
        lane.bots.touch(command.target)
        self._publish(command, person, before, bot)
        return f"{command.target} released"

    def _revoke(self, command: Command, person: Person, record: ConsumerRecord) -> str:
        if command.scope is not Scope.BOT:
            raise CommandRefusedError(f"scope: only a BOT's certificate can be revoked, is {command.scope}")
        lane = self._lane
        bot = lane.bot(command.target)
        if bot.revoked_at_us is None:
            bot.revoked_at_us = record.timestamp * 1000
        lane.bots.touch(command.target)
        self.mass_cancel(Scope.BOT, command.target, Reason.CERTIFICATE_REVOKED, person.name, command.command_id)
        return f"certificate of {command.target} revoked, open orders to be cancelled"

    def _publish(self, command: Command, person: Person, before: TradingState, bot: BotState) -> None:
        if bot.trading_state is not before:
            reason = bot.halt_reason or Reason.NONE
            self._lane.anomaly.publish(command.target, before, bot.trading_state, reason, issued_by=person.name)

    def _acknowledge(self, command: Command, person: Person, _record: ConsumerRecord) -> str:
        return f"{command.scope} {command.target} acknowledged by {person.name}"

    def mass_cancel(self, scope: Scope, target: str, reason: Reason, issued_by: str, cause_id: str) -> None:
        """Tell the venues to cancel what is open. Source: RTS 6 Art. 12(1)."""
        lane = self._lane
        agent_id = target if scope is Scope.BOT else ""
        value = encode(
            Schema.MASS_CANCEL,
            {
                "mass_cancel_id": f"{lane.partition}-{cause_id}",
                "scope": str(scope),
                "target": target,
                "agent_id": agent_id,
                "reason": str(reason),
                "issued_by": issued_by,
                "event_time": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.mass-cancel", f"/lanes/{lane.partition}", f"{lane.partition}-{cause_id}")
        lane.outputs.send(lane.services.topic(Topic.VENUE_COMMANDS), agent_id.encode(), value, headers)

    def on_breaker_event(self, record: ConsumerRecord) -> None:
        """Apply a breaker event that somebody else wrote, where it makes things stricter; only people loosen."""
        lane = self._lane
        try:
            event = decode(Schema.BREAKER_EVENT, record.value or b"")
        except DecodeError as error:
            details = {"text": error.text[:500]}
            lane.record_event(record, "RECORD_DEAD_LETTERED", "", None, outcome=error.reason, details=details)
            return
        own = event["event_id"].startswith(f"lane-{lane.partition}-")
        if own or event["scope"] != "BOT" or (record.key or b"") != event["target"].encode():
            return
        bot = lane.bots.get(event["target"])
        if bot is None or event["state"] == TradingState.ACTIVE:
            return
        before = bot.trading_state
        bot.halt(Signal.PERSON_HALT, Reason.CIRCUIT_BREAKER_ACTIVE)
        if bot.trading_state is before:
            return
        lane.record_event(
            record,
            "BREAKER_CHANGED",
            event["target"],
            bot,
            subject=record.value,
            state_before=before.value,
            outcome=Reason.CIRCUIT_BREAKER_ACTIVE,
            details={"issued_by": event["issued_by"][:100], "reason": event["reason"][:100]},
        )

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
        lane.alerts.raise_once(WARNING, "COMMAND_REFUSED", message, agent_id="", cause_us=record.timestamp * 1000)


def _scope_key(command: Command) -> str:
    return f"{command.scope} {command.target}".strip()
