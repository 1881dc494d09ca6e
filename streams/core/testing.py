"""The testing schedule of a policy: which tests a bot must pass, how often, and when it last did.

A test that is overdue stops the bot: what was not tested in time does not trade. A day is a UTC day, and the day by
which a test is due still counts. Source: RTS 6 Art. 9 (yearly), 10 and 14(4); 18(4) for the penetration test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from streams.core import documents as form
from streams.core.windows import DAY_US

if TYPE_CHECKING:
    from streams.core.documents import DocumentReader

# The longest time between two tests, in days.
INTERVAL_DAYS: Final = {"monthly": 31, "quarterly": 92, "half_yearly": 184, "annual": 366}
_EPOCH: Final = date(1970, 1, 1)


@unique
class Exercise(StrEnum):
    """What is tested: the seed guide's "Article 72" plan."""

    FITNESS = "fitness"
    SCENARIO = "scenario"
    PENETRATION = "penetration"


@dataclass(frozen=True, slots=True)
class Passed:
    """When a test was last passed, and the SHA-256 of its signed record."""

    day: date
    record_sha256: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """A test that is to be passed again by the end of a day."""

    exercise: Exercise
    day: date
    last_passed: date


@dataclass(frozen=True, slots=True)
class FitnessPlan:
    """When the bot is tested: the day by which the yearly fitness test is due, how often the rest, and what it passed.

    `soonest` is the test that is due first; from `tested_until_us` (microseconds UTC) on it is overdue.
    """

    fitness_test_due: date
    scenario_testing: str
    penetration_testing: str
    last_passed: dict[Exercise, Passed]
    soonest: Due
    tested_until_us: int


def read_plan(reader: DocumentReader) -> FitnessPlan:
    """Read the `testing` part of a policy; problems are noted in the reader."""
    fitness_due = reader.day("fitness_test_due")
    scenario = reader.choice("scenario_testing", ("monthly", "quarterly"))
    penetration = reader.choice("penetration_testing", tuple(INTERVAL_DAYS))
    passed_reader = reader.child("last_passed")
    passed = {exercise: _passed(passed_reader.child(exercise)) for exercise in Exercise}
    passed_reader.finish()
    last_fitness = passed[Exercise.FITNESS].day
    if last_fitness > date.min and fitness_due > _next(last_fitness, "annual"):
        reader.note("fitness_test_due", "a year after last_passed.fitness.day at most", fitness_due.isoformat())
    days = {
        Exercise.FITNESS: fitness_due,
        Exercise.SCENARIO: _next(passed[Exercise.SCENARIO].day, scenario),
        Exercise.PENETRATION: _next(passed[Exercise.PENETRATION].day, penetration),
    }
    soonest = min((Due(exercise, day, passed[exercise].day) for exercise, day in days.items()), key=lambda due: due.day)
    reader.finish()
    return FitnessPlan(fitness_due, scenario, penetration, passed, soonest, _end_us(soonest.day))


def days_left(due: Due, now_us: int) -> int:
    """Return how many days are left for a test, 0 on the last one, below 0 where it is overdue."""
    return (due.day - _EPOCH).days - now_us // DAY_US


def passed_later(plan: FitnessPlan, at_us: int) -> list[tuple[Exercise, date]]:
    """Return the tests that are said to have been passed on a day after a moment in microseconds UTC."""
    today = at_us // DAY_US
    passed_on = [(exercise, passed.day) for exercise, passed in plan.last_passed.items()]
    return [(exercise, day) for exercise, day in passed_on if (day - _EPOCH).days > today]


def _passed(reader: DocumentReader) -> Passed:
    passed = Passed(reader.day("day"), bytes.fromhex(reader.text("record_sha256", form.SHA256)))
    reader.finish()
    return passed


def _next(day: date, interval: str) -> date:
    try:
        return day + timedelta(days=INTERVAL_DAYS.get(interval, 0))
    except OverflowError:
        return date.max


def _end_us(day: date) -> int:
    return ((day - _EPOCH).days + 1) * DAY_US
