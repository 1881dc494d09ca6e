"""Deadlines of incidents against the calendar: DORA's clocks, months, weekends and holidays."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest

from streams.app import load_incident_rules
from streams.core.incident import Cause, Duty, Incident, IncidentStepError, Reporting, Step, opened
from streams.core.incident_rules import IncidentRulesError, parse_rules
from streams.resources import resource
from tests.gate_world import us

RULES = load_incident_rules()
WEDNESDAY = "2026-06-03T12:00:00+00:00"


def due(duty: Duty, aware: str, step: str) -> str:
    at_us = RULES.due_us(duty, us(aware), us(step))
    return datetime.fromtimestamp(at_us / 1_000_000, tz=UTC).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("duty", "aware", "step", "expected"),
    [
        (Duty.POST_INCIDENT_AUDIT, WEDNESDAY, WEDNESDAY, "2026-06-04T12:00+00:00"),
        # The audit is due on a Saturday too.
        (Duty.POST_INCIDENT_AUDIT, "2026-06-05T12:00+00:00", "2026-06-05T12:00+00:00", "2026-06-06T12:00+00:00"),
        # Four hours from the classification, but 24 from awareness at most ...
        (Duty.INITIAL_REPORT, WEDNESDAY, "2026-06-03T13:00:00+00:00", "2026-06-03T17:00+00:00"),
        (Duty.INITIAL_REPORT, WEDNESDAY, "2026-06-04T11:00:00+00:00", "2026-06-04T12:00+00:00"),
        # ... unless it was classified later than that.
        (Duty.INITIAL_REPORT, WEDNESDAY, "2026-06-04T13:00:00+00:00", "2026-06-04T17:00+00:00"),
        # A Friday evening becomes Monday noon, in Paris: two hours ahead in summer, one in winter.
        (Duty.INITIAL_REPORT, "2026-06-05T20:00+00:00", "2026-06-05T21:00+00:00", "2026-06-08T10:00+00:00"),
        (Duty.INITIAL_REPORT, "2026-01-09T22:00+00:00", "2026-01-09T22:30+00:00", "2026-01-12T11:00+00:00"),
        # Christmas, a Friday in 2026, and the weekend after it.
        (Duty.INTERMEDIATE_REPORT, "2026-12-22T09:00+00:00", "2026-12-22T09:00+00:00", "2026-12-28T11:00+00:00"),
        # 72 hours of the clock, across the hour that March takes away.
        (Duty.INTERMEDIATE_REPORT, "2026-03-27T12:00+00:00", "2026-03-27T12:00+00:00", "2026-03-30T12:00+00:00"),
        # A month later on the same day, or on the last there is.
        (Duty.FINAL_REPORT, WEDNESDAY, WEDNESDAY, "2026-07-03T12:00+00:00"),
        (Duty.FINAL_REPORT, "2027-01-29T10:00+00:00", "2027-01-29T10:00+00:00", "2027-03-01T11:00+00:00"),
        (Duty.FINAL_REPORT, "2026-11-30T10:00+00:00", "2026-11-30T10:00+00:00", "2026-12-30T10:00+00:00"),
    ],
)
def test_a_duty_is_due_when_the_calendar_says(duty: Duty, aware: str, step: str, expected: str) -> None:
    assert due(duty, aware, step) == expected


def document() -> dict[str, Any]:
    return tomllib.loads(resource("topology/incidents.toml").read_text())


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("duties", "FINAL_REPORT", "within"), "1 year", "within: a text of the form"),
        (("duties", "INITIAL_REPORT", "of_awareness"), 24, "of_awareness: a text of the form"),
        (("duties", "INITIAL_REPORT", "extra"), 1, "extra: no such field"),
        (("calendar", "tz"), "Mars/Olympus", "tz: a zone of the IANA"),
        (("calendar", "holidays"), ["2026-02-30"], "holidays: a date"),
        (("other",), 1, "other: no such field"),
    ],
)
def test_a_document_that_does_not_hold_is_refused(path: tuple[str, ...], value: object, problem: str) -> None:
    changed = document()
    target = changed
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    with pytest.raises(IncidentRulesError, match=problem):
        parse_rules(changed)


def test_every_duty_needs_its_rule() -> None:
    changed = document()
    del changed["duties"]["FINAL_REPORT"]
    with pytest.raises(IncidentRulesError, match="FINAL_REPORT"):
        parse_rules(changed)


def incident() -> Incident:
    fresh = Incident("0-7", "BOT", "bot", Cause.SCORE_ABOVE_BREAKER, 0.8, us(WEDNESDAY), 0, 7, us(WEDNESDAY))
    return opened(fresh, RULES)


def test_reports_follow_each_other_and_an_updated_intermediate_begins_the_month_anew() -> None:
    at_us, one = us(WEDNESDAY), incident()
    hour = 3_600_000_000
    one = one.after(Step.MAJOR, "a@b", at_us, RULES)
    one = one.after(Step.INITIAL_REPORT, "a@b", at_us + hour, RULES)
    one = one.after(Step.INTERMEDIATE_REPORT, "a@b", at_us + 2 * hour, RULES)
    first = one.pending[-1].due_us
    one = one.after(Step.INTERMEDIATE_REPORT, "c@d", at_us + 50 * hour, RULES)
    assert one.pending[-1].due_us > first
    assert [(d.duty, d.done_by) for d in one.duties if d.duty is Duty.INTERMEDIATE_REPORT] == [
        (Duty.INTERMEDIATE_REPORT, "c@d")
    ]
    one = one.after(Step.FINAL_REPORT, "a@b", at_us + 60 * hour, RULES)
    assert (one.reporting, [d.duty for d in one.pending]) == (Reporting.REPORTED, [Duty.POST_INCIDENT_AUDIT])
    assert Incident.from_row(one.to_row()) == one
    assert one.completed("a@b", at_us).closed


def test_what_turns_out_not_to_be_major_owes_no_reports() -> None:
    one = incident().after(Step.MAJOR, "a@b", us(WEDNESDAY), RULES)
    one = one.after(Step.NOT_MAJOR, "a@b", us(WEDNESDAY), RULES)
    assert (one.reporting, [d.duty for d in one.pending]) == (Reporting.NONE, [Duty.POST_INCIDENT_AUDIT])


@pytest.mark.parametrize("state", Reporting)
@pytest.mark.parametrize("step", Step)
def test_every_state_answers_every_step_or_says_what_may_follow(state: Reporting, step: Step) -> None:
    one = incident()
    way = [Step.MAJOR, Step.INITIAL_REPORT, Step.INTERMEDIATE_REPORT, Step.FINAL_REPORT]
    for taken in way[: list(Reporting).index(state)]:
        one = one.after(taken, "a@b", us(WEDNESDAY), RULES)
    assert one.reporting is state
    try:
        after = one.after(step, "a@b", us(WEDNESDAY), RULES)
    except IncidentStepError as error:
        assert f"may follow {state}" in str(error)  # noqa: PT017 - both outcomes are right
    else:
        due_now = {Reporting.INITIAL_DUE: 1, Reporting.INTERMEDIATE_DUE: 1, Reporting.FINAL_DUE: 1}
        assert len(after.pending) == 1 + due_now.get(after.reporting, 0)
