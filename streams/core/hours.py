"""Trading hours: when, on the wall clock of a zone, a bot may enter orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from streams.core.texts import TIME_END_US, time_text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Local hours `[start, end)` in `zone`; `start == end` means the whole day; `start > end` spans midnight.

    A session belongs to the local day on which it began: Friday's night session runs into Saturday, and none begins
    on Sunday where weekends are excluded. Hours are whole minutes of the wall clock, so where the clock is put back
    the repeated hour counts twice, and where it is put forward the missing one does not exist.
    """

    start: time
    end: time
    zone: ZoneInfo
    exclude_weekends: bool
    holidays: frozenset[date]
    _answers: dict[int, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def is_open(self, at_us: int) -> bool:
        """Tell whether the moment lies in a session; a moment that no calendar holds does not."""
        second = at_us // 1_000_000
        known = self._answers.get(second)
        if known is None:
            # A busy bot asks many times a second, and the calendar takes as long as ten checks.
            self._answers.clear()
            known = self._answers[second] = self._is_open(at_us, second)
        return known

    def _is_open(self, at_us: int, second: int) -> bool:
        if not 0 <= at_us < TIME_END_US:
            return False
        local = datetime.fromtimestamp(second, self.zone)
        clock, start, end = local.time(), self.start, self.end
        began_yesterday = False
        if start < end:
            if not start <= clock < end:
                return False
        elif start > end and clock < start:
            if clock >= end:
                return False
            began_yesterday = True
        if not (self.exclude_weekends or self.holidays):
            return True
        day = local.date() - _DAY if began_yesterday else local.date()
        return not (self.exclude_weekends and day.weekday() >= _SATURDAY) and day not in self.holidays

    def text(self) -> str:
        """Write the hours as a verdict names them."""
        weekends = ", no weekends" if self.exclude_weekends else ""
        holidays = ", no holidays" if self.holidays else ""
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone.key}{weekends}{holidays}"

    def local_text(self, at_us: int) -> str:
        """Write the moment on the zone's clock, with its offset and the day of the week."""
        if not 0 <= at_us < TIME_END_US:
            return time_text(at_us)
        local = datetime.fromtimestamp(at_us // 1_000_000, self.zone).replace(microsecond=at_us % 1_000_000)
        return f"{local.isoformat(timespec='microseconds')} {local:%a}"
