"""Trading hours at their boundary seconds: over midnight, weekends, holidays and the turns of summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.hours import TradingHours
from tests.gate_world import EPOCH, us


def hours(
    start: str, end: str, tz: str = "UTC", *, exclude_weekends: bool = False, holidays: tuple[str, ...] = ()
) -> TradingHours:
    days = frozenset(date.fromisoformat(day) for day in holidays)
    return TradingHours(time.fromisoformat(start), time.fromisoformat(end), ZoneInfo(tz), exclude_weekends, days)


DAY = hours("08:00", "17:00")
NIGHT = hours("22:00", "06:00")
WEEK_NIGHT = hours("22:00", "06:00", exclude_weekends=True)
BERLIN = hours("08:00", "17:00", "Europe/Berlin", exclude_weekends=True)
NEW_YORK = hours("09:30", "16:00", "America/New_York", exclude_weekends=True, holidays=("2026-07-03",))
NIGHT_HOLIDAY = hours("22:00", "06:00", holidays=("2026-12-25",))


@pytest.mark.parametrize(
    ("when", "moment", "is_open"),
    [
        (DAY, "2026-06-03T07:59:59.999999+00:00", False),
        (DAY, "2026-06-03T08:00:00+00:00", True),
        (DAY, "2026-06-03T16:59:59.999999+00:00", True),
        (DAY, "2026-06-03T17:00:00+00:00", False),
        (DAY, "2026-06-06T12:00:00+00:00", True),
        # The seed guide's hours know no weekend: these do. Friday, Saturday, Sunday, Monday.
        (hours("00:00", "00:00", exclude_weekends=True), "2026-06-05T23:59:59.999999+00:00", True),
        (hours("00:00", "00:00", exclude_weekends=True), "2026-06-06T00:00:00+00:00", False),
        (hours("00:00", "00:00", exclude_weekends=True), "2026-06-07T23:59:59.999999+00:00", False),
        (hours("00:00", "00:00", exclude_weekends=True), "2026-06-08T00:00:00+00:00", True),
        # Equal start and end are the whole calendar day, whatever the hour.
        (hours("13:00", "13:00", holidays=("2026-06-03",)), "2026-06-03T23:59:59.999999+00:00", False),
        (hours("13:00", "13:00", holidays=("2026-06-03",)), "2026-06-04T00:00:00+00:00", True),
        (NIGHT, "2026-06-03T21:59:59.999999+00:00", False),
        (NIGHT, "2026-06-03T22:00:00+00:00", True),
        (NIGHT, "2026-06-04T00:00:00+00:00", True),
        (NIGHT, "2026-06-04T05:59:59.999999+00:00", True),
        (NIGHT, "2026-06-04T06:00:00+00:00", False),
        # Friday's night runs into Saturday; none begins on Saturday or Sunday; Monday's morning was Sunday's night.
        (WEEK_NIGHT, "2026-06-06T05:59:59.999999+00:00", True),
        (WEEK_NIGHT, "2026-06-06T22:00:00+00:00", False),
        (WEEK_NIGHT, "2026-06-07T23:00:00+00:00", False),
        (WEEK_NIGHT, "2026-06-08T05:00:00+00:00", False),
        (WEEK_NIGHT, "2026-06-08T22:00:00+00:00", True),
        # A night belongs to the day on which it began, for holidays too.
        (NIGHT_HOLIDAY, "2026-12-25T05:59:59+00:00", True),
        (NIGHT_HOLIDAY, "2026-12-25T22:00:00+00:00", False),
        (NIGHT_HOLIDAY, "2026-12-26T05:59:59+00:00", False),
        # Berlin is at +01:00 until 2026-03-29T01:00Z and again from 2026-10-25T01:00Z.
        (BERLIN, "2026-03-27T06:59:59.999999+00:00", False),
        (BERLIN, "2026-03-27T07:00:00+00:00", True),
        (BERLIN, "2026-03-30T05:59:59.999999+00:00", False),
        (BERLIN, "2026-03-30T06:00:00+00:00", True),
        (BERLIN, "2026-03-30T14:59:59.999999+00:00", True),
        (BERLIN, "2026-03-30T15:00:00+00:00", False),
        (BERLIN, "2026-10-26T06:59:59.999999+00:00", False),
        (BERLIN, "2026-10-26T07:00:00+00:00", True),
        # The day is the zone's, not UTC's: Sunday evening in UTC is Monday in Berlin.
        (hours("00:00", "08:00", "Europe/Berlin", exclude_weekends=True), "2026-06-07T22:00:00+00:00", True),
        (hours("00:00", "08:00", "Europe/Berlin", exclude_weekends=True), "2026-06-07T21:59:59.999999+00:00", False),
        # The hour that does not exist, and the hour that exists twice.
        (hours("02:00", "03:00", "Europe/Berlin"), "2026-03-29T00:59:59.999999+00:00", False),
        (hours("02:00", "03:00", "Europe/Berlin"), "2026-03-29T01:00:00+00:00", False),
        (hours("02:00", "03:00", "Europe/Berlin"), "2026-10-25T00:00:00+00:00", True),
        (hours("02:00", "03:00", "Europe/Berlin"), "2026-10-25T01:59:59.999999+00:00", True),
        (hours("02:00", "03:00", "Europe/Berlin"), "2026-10-25T02:00:00+00:00", False),
        (NEW_YORK, "2026-03-06T14:29:59.999999+00:00", False),
        (NEW_YORK, "2026-03-06T14:30:00+00:00", True),
        (NEW_YORK, "2026-03-09T13:30:00+00:00", True),
        (NEW_YORK, "2026-03-09T20:00:00+00:00", False),
        (NEW_YORK, "2026-07-03T15:00:00+00:00", False),
        # A zone with a quarter of an hour in its offset.
        (hours("09:00", "10:00", "Asia/Kathmandu"), "2026-06-03T03:14:59.999999+00:00", False),
        (hours("09:00", "10:00", "Asia/Kathmandu"), "2026-06-03T03:15:00+00:00", True),
    ],
)
def test_a_moment_is_inside_or_outside(when: TradingHours, moment: str, is_open: bool) -> None:  # noqa: FBT001
    assert when.is_open(us(moment)) is is_open


@pytest.mark.parametrize("at_us", [-1, -(2**62), 2**62, 10**40, us("9999-12-31T23:59:59+00:00")])
def test_a_moment_that_no_calendar_holds_is_outside(at_us: int) -> None:
    always = hours("00:00", "00:00", "Pacific/Kiritimati")
    assert not always.is_open(at_us)
    assert str(at_us) in always.local_text(at_us)


def test_a_verdict_names_the_hours_and_the_local_time() -> None:
    assert BERLIN.text() == "08:00-17:00 Europe/Berlin, no weekends"
    assert NIGHT_HOLIDAY.text() == "22:00-06:00 UTC, no holidays"
    assert DAY.local_text(us("2026-06-03T07:59:59.000001+00:00")) == "2026-06-03T07:59:59.000001+00:00 Wed"
    assert BERLIN.local_text(us("2026-03-30T05:00:00+00:00")) == "2026-03-30T07:00:00.000000+02:00 Mon"


MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
MINUTES = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))


@given(MOMENTS, MINUTES, MINUTES, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_hours_and_their_reverse_share_the_day_between_them(moment: datetime, one: time, other: time, tz: str) -> None:
    at_us = (moment - EPOCH) // timedelta(microseconds=1)
    inside = TradingHours(one, other, ZoneInfo(tz), exclude_weekends=False, holidays=frozenset())
    outside = TradingHours(other, one, ZoneInfo(tz), exclude_weekends=False, holidays=frozenset())
    both = (inside.is_open(at_us), outside.is_open(at_us))
    assert both == (True, True) if one == other else both in {(True, False), (False, True)}
