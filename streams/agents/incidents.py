"""The incidents of a partition: opened by scores and kills, closed by people, each change a leaf of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.agents.alerts import CRITICAL, WARNING
from streams.agents.deadlines import Kind
from streams.core.alert_kinds import AlertKind
from streams.core.incident import Cause, Duty, Incident, IncidentStepError, Step, opened
from streams.core.texts import time_text
from streams.names import WIDE_LANE, Topic
from streams.wire.commands import Command, CommandRefusedError, Scope
from streams.wire.headers import cloud_event
from streams.wire.incidents import encode_incident

if TYPE_CHECKING:
    from streams.agents.deadlines import Due
    from streams.agents.lane import Cause as Record
    from streams.agents.lane import Lane
    from streams.core.policy import Policy
    from streams.core.state import BotState
    from streams.engine.tables import PartitionTable
    from streams.wire.decisions import ScoreDetail
    from streams.wire.trust import Person


class IncidentsAgent:
    """Keeps at most one open incident of each bot, market or operator; what happens meanwhile joins it."""

    def __init__(self, lane: Lane, table: PartitionTable[Incident]) -> None:
        self._lane = lane
        self._table = table
        self._topic = lane.services.topic(Topic.RISK_INCIDENTS)
        self._auditing = {_about(row): row.incident_id for _, row in table.items() if _is_auditing(row)}

    def on_score(self, record: Record, policy: Policy, score: ScoreDetail) -> None:
        """Take a score above the breaker's threshold."""
        killed = not score.value <= policy.kill_threshold
        cause = Cause.SCORE_ABOVE_KILL if killed else Cause.SCORE_ABOVE_BREAKER
        self._open_or_join(record, Scope.BOT, policy.agent_id, cause, score.value if score.value <= 1.0 else None)

    def on_kill(self, record: Record, command: Command) -> None:
        """Take a person's kill; one that every partition gets is one incident."""
        if command.scope is Scope.BOT or self._lane.partition == WIDE_LANE:
            self._open_or_join(record, command.scope, command.target, Cause.MANUAL_KILL, None)

    def _open_or_join(self, record: Record, scope: Scope, target: str, cause: Cause, score: float | None) -> None:
        lane = self._lane
        known = self._auditing.get((scope, target))
        incident = None if known is None else self._table.get(known)
        if incident is not None:
            worse = incident.with_cause(cause, score, lane.now_us)
            if worse.cause is incident.cause:
                self._table.put(incident.incident_id, worse)  # one more of the same is told with the next change
                return
            self.change(record, worse)
            return
        index = lane.journal.next_index
        fresh = Incident(
            incident_id=f"{lane.name}-{index}",
            scope=scope,
            target=target,
            cause=cause,
            score=score,
            opened_us=lane.now_us,
            partition=lane.partition,
            log_index=index,
            changed_us=lane.now_us,
            crossings=int(cause is not Cause.MANUAL_KILL),
        )
        incident = opened(fresh, lane.services.incident_rules)
        self._auditing[scope, target] = incident.incident_id
        self.change(record, incident)
        due = time_text(incident.duties[0].due_us)
        message = f"incident {incident.incident_id}: {cause} of {scope} {target}; its audit is due by {due}"
        agent_id = target if scope is Scope.BOT else ""
        cause_us = record.timestamp * 1000
        lane.alerts.raise_alert(WARNING, AlertKind.INCIDENT_OPENED, message, agent_id=agent_id, cause_us=cause_us)

    def after(self, command: Command, person: Person) -> Incident:
        """Return an incident after a person's step, changing nothing. Raises: CommandRefusedError."""
        lane, incident = self._lane, self._known(command)
        try:
            if command.stage is None:
                return incident.completed(person.name, lane.now_us)
            return incident.after(Step(command.stage), person.name, lane.now_us, lane.services.incident_rules)
        except IncidentStepError as error:
            raise CommandRefusedError(str(error)) from None

    def on_overdue(self, due: Due) -> None:
        """Tell that a duty was not done in time."""
        lane = self._lane
        incident_id, _, duty = due.key.partition(" ")
        incident = self._table.get(incident_id)
        if incident is None or all(one.duty != duty for one in incident.pending):
            return
        late = incident.overdue(Duty(duty), lane.now_us)
        bot = self._bot_of(late)
        agent_id = late.target if late.scope == Scope.BOT else ""
        details = {"deadline": due.kind, "incident_id": incident_id, "duty": duty, "due_us": str(due.due_us)}
        lane.clock_event(due, agent_id, bot, outcome="OVERDUE", details=details)
        self.change(lane.clock(due.due_us), late)
        message = f"incident {incident_id}: {duty} was due by {time_text(due.due_us)} and is not done"
        lane.alerts.raise_alert(CRITICAL, AlertKind.INCIDENT_OVERDUE, message, agent_id=agent_id, cause_us=due.due_us)

    def change(self, record: Record, incident: Incident) -> None:
        """Write an incident down: row, log, topic and deadlines; a closed one is in the log alone."""
        lane, value, bot = self._lane, encode_incident(incident), self._bot_of(incident)
        if not _is_auditing(incident):
            self._auditing.pop(_about(incident), None)
        if incident.closed:
            self._table.delete(incident.incident_id)
        else:
            self._table.put(incident.incident_id, incident)
        agent_id = incident.target if incident.scope == Scope.BOT else ""
        lane.record_event(
            record,
            "INCIDENT_CHANGED",
            agent_id,
            bot,
            subject=value,
            state_before="ACTIVE" if bot is None else bot.trading_state.value,
            outcome=incident.cause.value,
            details={"incident_id": incident.incident_id},
        )
        headers = cloud_event("portcullis.incident", f"/lanes/{lane.partition}", incident.incident_id)
        lane.outputs.send(self._topic, incident.incident_id.encode(), value, headers)
        running = {one.duty: one.due_us for one in incident.pending if not one.overdue}
        for duty in Duty:
            key = f"{incident.incident_id} {duty}"
            if duty not in running:
                lane.deadlines.cancel(Kind.DUTY, key)
            elif lane.deadlines.get(Kind.DUTY, key) != running[duty]:
                lane.deadlines.set(Kind.DUTY, key, running[duty])

    def _known(self, command: Command) -> Incident:
        incident = self._table.get(command.incident_id or "")
        if incident is None:
            raise CommandRefusedError(f"incident_id: one that is open here required, is {command.incident_id!a}")
        if (incident.scope, incident.target) != (command.scope, command.target):
            required = f"{incident.scope} {incident.target}".strip()
            raise CommandRefusedError(f"scope: {required} required, is {command.scope} {command.target}".strip())
        return incident

    def _bot_of(self, incident: Incident) -> BotState | None:
        return self._lane.bots.get(incident.target) if incident.scope == Scope.BOT else None


def _about(incident: Incident) -> tuple[str, str]:
    return incident.scope, incident.target


def _is_auditing(incident: Incident) -> bool:
    return any(one.duty is Duty.POST_INCIDENT_AUDIT for one in incident.pending)
