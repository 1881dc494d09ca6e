"""The deadlines of incidents, read from their document: clocks, months, weekends and holidays. Pure."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from streams.core.documents import DocumentReader
from streams.core.errors import PortcullisError
from streams.core.incident import Duty

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION: Final = re.compile(r"([1-9]\d{0,2}) (min|h|d|month)")
_UNITS: Final = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_SATURDAY: Final = 5
_HOLIDAYS_MAX: Final = 1_000


class IncidentRulesError(PortcullisError):
    """The document of deadlines does not hold; the text names every problem."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of time; months are the calendar's."""

    months: int
    rest: timedelta

    def after(self, at: datetime) -> datetime:
        """Return the moment so much later; a day that the month does not have is its last."""
        if self.months:
            month = at.month - 1 + self.months
            year, month = at.year + month // 12, month % 12 + 1
            at = at.replace(year=year, month=month, day=min(at.day, calendar.monthrange(year, month)[1]))
        return (at.astimezone(UTC) + self.rest).astimezone(at.tzinfo)  # hours of the clock, across its changes


@dataclass(frozen=True, slots=True)
class DutyRule:
    """When a duty is due: so long after the step before it; `aware`: and at most so long after the incident was known.

    `working_day`: where that falls on a weekend or holiday, at `IncidentRules.hour` of the next working day.
    """

    within: Duration
    aware: Duration | None
    working_day: bool


@dataclass(frozen=True, slots=True)
class IncidentRules:
    """All deadlines. Source: Reg. (EU) 2025/301 Art. 5."""

    duties: Mapping[Duty, DutyRule]
    zone: ZoneInfo
    hour: time
    holidays: frozenset[date]

    def due_us(self, duty: Duty, aware_us: int, step_us: int) -> int:
        """Return until when a duty must be done, microseconds UTC: `step_us` is when the step before it was taken."""
        rule = self.duties[duty]
        step, aware = self._local(step_us), self._local(aware_us)
        due = rule.within.after(step)
        if rule.aware is not None and (latest := rule.aware.after(aware)) > step:
            due = min(due, latest)  # classified later than that: its own clock alone counts
        if rule.working_day and self._is_off(due.date()):
            due = self._next_working_day(due)
        return (due - _EPOCH) // timedelta(microseconds=1)

    def _local(self, at_us: int) -> datetime:
        return (_EPOCH + timedelta(microseconds=at_us)).astimezone(self.zone)

    def _is_off(self, day: date) -> bool:
        return day.weekday() >= _SATURDAY or day in self.holidays

    def _next_working_day(self, at: datetime) -> datetime:
        day = at.date()
        while self._is_off(day):
            day += timedelta(days=1)
        return datetime.combine(day, self.hour, self.zone)


def parse_rules(document: Mapping[str, Any]) -> IncidentRules:
    """Read the parsed document.

    Raises: IncidentRulesError naming everything that does not hold.
    """
    reader = DocumentReader(document, "", [])
    duties, days = reader.child("duties"), reader.child("calendar")
    rules = IncidentRules(
        duties={duty: _duty(duties.child(duty)) for duty in Duty},
        zone=days.zone("tz"),
        hour=days.minute("hour"),
        holidays=days.days("holidays", _HOLIDAYS_MAX),
    )
    for part in (duties, days, reader):
        part.finish()
    if reader.problems:
        raise IncidentRulesError("incident deadlines refused: " + "; ".join(reader.problems))
    return rules


def _duty(reader: DocumentReader) -> DutyRule:
    rule = DutyRule(
        within=_duration(reader.text("within", _DURATION)),
        aware=_duration(reader.text("of_awareness", _DURATION)) if reader.has("of_awareness") else None,
        working_day=reader.flag("working_day"),
    )
    reader.finish()
    return rule


def _duration(text: str) -> Duration:
    found = _DURATION.fullmatch(text)
    if found is None:
        return Duration(0, timedelta(0))
    count, unit = int(found[1]), found[2]
    return Duration(count, timedelta(0)) if unit == "month" else Duration(0, count * _UNITS[unit])
