"""The testing schedule's watch: says once a day which bots have a test that is due soon, or overdue.

The gate refuses what is overdue by itself; this is so that people hear of it before, and of bots that send nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.agents.alerts import CRITICAL, WARNING
from streams.core.alert_kinds import AlertKind
from streams.core.testing import days_left
from streams.core.windows import DAY_US

if TYPE_CHECKING:
    from streams.agents.lane import Lane
    from streams.core.testing import Due
    from streams.wire.registration import Registration

_TOLD_DAYS_BEFORE: Final = 14


class ScheduleWatch:
    """Knows which alerts were written on this day of the worker's life."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._day = 0
        self._told: set[tuple[str, Due]] = set()

    def begin(self) -> None:
        """Look at every bot that this worker knows, with the first micro-batch of a day."""
        day = self._lane.now_us // DAY_US
        if day > self._day:
            self._day = day
            self._told.clear()
            for registration in self._lane.registry.in_force():
                self.look(registration)

    def look(self, registration: Registration) -> None:
        """Write an alert where the bot's next test is due within two weeks, or overdue."""
        lane, due = self._lane, registration.policy.testing.soonest
        left = days_left(due, lane.now_us)
        told = registration.agent_id, due
        if left > _TOLD_DAYS_BEFORE or told in self._told:
            return
        self._told.add(told)
        kind, severity = (AlertKind.TESTING_OVERDUE, CRITICAL) if left < 0 else (AlertKind.TESTING_DUE, WARNING)
        effect = ", so it does not trade" if left < 0 else ""
        message = f"{registration.agent_id}: {due.exercise} test by {due.day}, passed {due.last_passed}{effect}"
        lane.alerts.raise_alert(severity, kind, message, agent_id=registration.agent_id, cause_us=lane.now_us)
