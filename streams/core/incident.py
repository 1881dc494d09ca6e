"""Incidents: what opened them, what must be done until when, and which step may follow which. Pure; deadlines are data.

Source: RTS 6 Art. 17; DORA Art. 19 with Reg. (EU) 2025/301 Art. 5; the seed guide's "audit within 24 hours".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from streams.core.incident_rules import IncidentRules

ROW_VERSION: Final = 1


@unique
class Cause(StrEnum):
    """What opens an incident; the later member is the worse."""

    SCORE_ABOVE_BREAKER = "SCORE_ABOVE_BREAKER"
    SCORE_ABOVE_KILL = "SCORE_ABOVE_KILL"
    MANUAL_KILL = "MANUAL_KILL"


@unique
class Duty(StrEnum):
    """What must be done about an incident: the audit of each, the reports of a major one."""

    POST_INCIDENT_AUDIT = "POST_INCIDENT_AUDIT"
    INITIAL_REPORT = "INITIAL_REPORT"
    INTERMEDIATE_REPORT = "INTERMEDIATE_REPORT"
    FINAL_REPORT = "FINAL_REPORT"


@unique
class Reporting(StrEnum):
    """What the regulator is owed."""

    NONE = "NONE"
    INITIAL_DUE = "INITIAL_DUE"
    INTERMEDIATE_DUE = "INTERMEDIATE_DUE"
    FINAL_DUE = "FINAL_DUE"
    REPORTED = "REPORTED"


@unique
class Step(StrEnum):
    """What a person does about the reports."""

    MAJOR = "MAJOR"
    NOT_MAJOR = "NOT_MAJOR"
    INITIAL_REPORT = "INITIAL_REPORT"
    INTERMEDIATE_REPORT = "INTERMEDIATE_REPORT"
    FINAL_REPORT = "FINAL_REPORT"


CLASSIFICATIONS: Final = (Step.MAJOR, Step.NOT_MAJOR)
REPORTS: Final = (Step.INITIAL_REPORT, Step.INTERMEDIATE_REPORT, Step.FINAL_REPORT)

# What is not here is refused. An intermediate report may be sent again while the final one is due: when activity
# recovers it must be, and the final report's month begins anew (Reg. 2025/301 Art. 5(1)).
REPORTING: Final[dict[tuple[Reporting, Step], Reporting]] = {
    (Reporting.NONE, Step.MAJOR): Reporting.INITIAL_DUE,
    (Reporting.NONE, Step.NOT_MAJOR): Reporting.NONE,
    (Reporting.INITIAL_DUE, Step.NOT_MAJOR): Reporting.NONE,
    (Reporting.INITIAL_DUE, Step.INITIAL_REPORT): Reporting.INTERMEDIATE_DUE,
    (Reporting.INTERMEDIATE_DUE, Step.NOT_MAJOR): Reporting.NONE,
    (Reporting.INTERMEDIATE_DUE, Step.INTERMEDIATE_REPORT): Reporting.FINAL_DUE,
    (Reporting.FINAL_DUE, Step.NOT_MAJOR): Reporting.NONE,
    (Reporting.FINAL_DUE, Step.INTERMEDIATE_REPORT): Reporting.FINAL_DUE,
    (Reporting.FINAL_DUE, Step.FINAL_REPORT): Reporting.REPORTED,
}
_DUE: Final = {
    Reporting.INITIAL_DUE: Duty.INITIAL_REPORT,
    Reporting.INTERMEDIATE_DUE: Duty.INTERMEDIATE_REPORT,
    Reporting.FINAL_DUE: Duty.FINAL_REPORT,
}


class IncidentStepError(PortcullisError):
    """A step does not follow the incident's state; the text names what would."""


@dataclass(frozen=True, slots=True)
class DutyState:
    """One duty: until when, and who has done it. Times in microseconds UTC."""

    duty: Duty
    due_us: int
    done_us: int | None = None
    done_by: str | None = None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as it stands; `scope` and `target` as in a command. Times in microseconds UTC."""

    incident_id: str
    scope: str
    target: str
    cause: Cause
    score: float | None
    opened_us: int
    partition: int
    log_index: int
    changed_us: int
    crossings: int = 0
    reporting: Reporting = Reporting.NONE
    duties: tuple[DutyState, ...] = field(default=())

    @property
    def pending(self) -> tuple[DutyState, ...]:
        """Return what is still to be done."""
        return tuple(duty for duty in self.duties if duty.done_us is None)

    @property
    def closed(self) -> bool:
        """Say whether nothing is left to be done."""
        return not self.pending

    def with_cause(self, cause: Cause, score: float | None, now_us: int) -> Incident:
        """Return the incident with one more cause: the worst counts, and the highest score."""
        order = tuple(Cause)
        scores = [one for one in (self.score, score) if one is not None]
        return replace(
            self,
            cause=max(self.cause, cause, key=order.index),
            score=max(scores) if scores else None,
            crossings=self.crossings + (cause is not Cause.MANUAL_KILL),
            changed_us=now_us,
        )

    def after(self, step: Step, person: str, now_us: int, rules: IncidentRules) -> Incident:
        """Return the incident after a person's step.

        Raises: IncidentStepError where the step does not follow.
        """
        reporting = REPORTING.get((self.reporting, step))
        if reporting is None:
            possible = ", ".join(s for r, s in REPORTING if r is self.reporting) or "nothing"
            raise IncidentStepError(f"stage: {possible} may follow {self.reporting}, is {step}")
        duties = self.duties
        if step in REPORTS:
            duties = _done(duties, Duty(step), person, now_us)
        else:
            duties = tuple(d for d in duties if d.done_us is not None or d.duty is Duty.POST_INCIDENT_AUDIT)
        due = _DUE.get(reporting)
        if due is not None:
            duties = tuple(d for d in duties if d.duty is not due or d.done_us is not None)
            duties += (DutyState(due, rules.due_us(due, self.opened_us, now_us)),)
        return replace(self, reporting=reporting, duties=duties, changed_us=now_us)

    def completed(self, person: str, now_us: int) -> Incident:
        """Return the incident with its audit done.

        Raises: IncidentStepError where it was done before.
        """
        if all(duty.duty is not Duty.POST_INCIDENT_AUDIT for duty in self.pending):
            raise IncidentStepError(f"incident_id: the audit of {self.incident_id} is done")
        return replace(self, duties=_done(self.duties, Duty.POST_INCIDENT_AUDIT, person, now_us), changed_us=now_us)

    def overdue(self, duty: Duty, now_us: int) -> Incident:
        """Return the incident with a duty's deadline passed."""
        duties = tuple(
            replace(one, overdue=True) if one.duty is duty and one.done_us is None else one for one in self.duties
        )
        return replace(self, duties=duties, changed_us=now_us)

    def to_row(self) -> list[Any]:
        """Return the incident as a list for a row of JSON."""
        duties = [[d.duty.value, d.due_us, d.done_us, d.done_by, d.overdue] for d in self.duties]
        return [
            ROW_VERSION,
            self.incident_id,
            self.scope,
            self.target,
            self.cause.value,
            self.score,
            self.opened_us,
            self.partition,
            self.log_index,
            self.changed_us,
            self.crossings,
            self.reporting.value,
            duties,
        ]

    @classmethod
    def from_row(cls, row: list[Any]) -> Incident:
        """Return the incident that `to_row` wrote."""
        return cls(
            incident_id=row[1],
            scope=row[2],
            target=row[3],
            cause=Cause(row[4]),
            score=row[5],
            opened_us=row[6],
            partition=row[7],
            log_index=row[8],
            changed_us=row[9],
            crossings=row[10],
            reporting=Reporting(row[11]),
            duties=tuple(DutyState(Duty(duty), *rest) for duty, *rest in row[12]),
        )


def opened(incident: Incident, rules: IncidentRules) -> Incident:
    """Return a new incident with the duty that each has."""
    audit = Duty.POST_INCIDENT_AUDIT
    return replace(incident, duties=(DutyState(audit, rules.due_us(audit, incident.opened_us, incident.opened_us)),))


def _done(duties: tuple[DutyState, ...], duty: Duty, person: str, now_us: int) -> tuple[DutyState, ...]:
    """Return the duties with the pending one of this kind done, or, where it was done before, done once more."""
    kept = tuple(one for one in duties if not (one.duty is duty and one.done_us is None))
    pending = next((one for one in duties if one.duty is duty and one.done_us is None), None)
    if pending is None:
        kept = tuple(one for one in duties if one.duty is not duty)
        pending = next(one for one in duties if one.duty is duty)
    return (*kept, replace(pending, done_us=now_us, done_by=person))
