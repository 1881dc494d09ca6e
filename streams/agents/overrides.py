"""Overrides of a partition: signed by two people, used once by the order they name, gone after minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streams.agents.alerts import INFO, WARNING
from streams.agents.deadlines import Kind
from streams.core.alert_kinds import AlertKind
from streams.core.override import LASTS_US, SIGNATURES, Override, lift
from streams.core.texts import time_text
from streams.wire.commands import CommandRefusedError

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.agents.deadlines import Due
    from streams.agents.lane import Lane
    from streams.core.gate import Decision
    from streams.core.orders import Order
    from streams.engine.tables import PartitionTable
    from streams.wire.commands import Command
    from streams.wire.trust import Person

_PREFIX: Final = "OVERRIDE "


class OverridesAgent:
    """Keeps what was signed until it is used or its time is over."""

    def __init__(self, lane: Lane, table: PartitionTable[list[Any]]) -> None:
        self._lane = lane
        self._table = table
        rows = ((key.removeprefix(_PREFIX), row) for key, row in table.items() if key.startswith(_PREFIX))
        self._waiting = {key: Override.from_row(row) for key, row in rows}

    def sign(self, command: Command, person: Person) -> str:
        """Take a person's signature; return what it leads to. Raises: CommandRefusedError."""
        lane, terms = self._lane, command.terms
        key = _key(command.target, command.cl_ord_id or "")
        if terms is None:
            raise CommandRefusedError("terms: one trade required, is None")
        known = self._waiting.get(key)
        if known is None or not known.holds(lane.now_us):
            known = Override(terms, (), (), lane.now_us + LASTS_US)
        if known.terms != terms:
            raise CommandRefusedError(f"terms: {known.terms} required, as {known.signers[0]} signed, is {terms}")
        if len(known.signers) >= SIGNATURES:
            raise CommandRefusedError(f"cl_ord_id: an override of {command.cl_ord_id} is in force already")
        if person.name in known.signers:
            raise CommandRefusedError(f"issued_by: somebody else than {person.name} must sign too")
        override = known.signed(person.name, command.command_id)
        self._waiting[key] = override
        self._table.put(_PREFIX + key, override.to_row())
        lane.deadlines.set(Kind.OVERRIDE, key, override.until_us)
        missing = len(override.signers) < SIGNATURES
        until = time_text(override.until_us)
        state = "waits for a second person's signature" if missing else "in force once"
        return f"override of {command.target} {command.cl_ord_id}, {terms}: {state}, until {until}"

    def lift(self, order: Order, decision: Decision) -> tuple[Decision, Override | None]:
        """Return a refusal as it is, or the approval that an override makes of it with that override."""
        override = self._waiting.get(_key(order.agent_id, order.cl_ord_id)) if self._waiting else None
        if override is None:
            return decision, None
        lifted = lift(order, decision, override, self._lane.now_us)
        return lifted, override if lifted.approved else None

    def used(self, record: ConsumerRecord, order: Order, decision: Decision, override: Override) -> None:
        """Take off an override whose order was approved, the log's last event, and tell people of it."""
        lane = self._lane
        self._take_off(_key(order.agent_id, order.cl_ord_id))
        lifted = ", ".join(
            f"{failure.reason} ({failure.limit} {failure.unit}, is {failure.observed})" for failure in decision.failures
        )
        message = f"{order.agent_id} {order.cl_ord_id} passed, signed by {' and '.join(override.signers)}: {lifted}"
        cause_us = record.timestamp * 1000
        lane.alerts.raise_alert(
            WARNING, AlertKind.OVERRIDE_USED, message[:1000], agent_id=order.agent_id, cause_us=cause_us
        )

    def on_over(self, due: Due) -> None:
        """End an override that nobody used."""
        lane, (agent_id, _, cl_ord_id) = self._lane, due.key.partition(" ")
        self._take_off(due.key)
        details = {"deadline": due.kind, "cl_ord_id": cl_ord_id}
        lane.clock_event(due, agent_id, lane.bots.get(agent_id), outcome="OVERRIDE_OVER", details=details)
        message = f"the override of {agent_id} {cl_ord_id} was not used in time"
        lane.alerts.raise_alert(INFO, AlertKind.OVERRIDE_OVER, message, agent_id=agent_id, cause_us=due.due_us)

    def _take_off(self, key: str) -> None:
        self._waiting.pop(key, None)
        self._table.delete(_PREFIX + key)
        self._lane.deadlines.cancel(Kind.OVERRIDE, key)


def details_of(override: Override) -> dict[str, str]:
    """Return what the event of the approved order says of its override."""
    return {"override": " ".join(override.command_ids)}


def _key(agent_id: str, cl_ord_id: str) -> str:
    return f"{agent_id} {cl_ord_id}"
