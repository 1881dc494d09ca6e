"""What is told to whom and when: repetitions, limits, retries. Pure: the clock is an argument, sending is not here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streams.notify.routes import NotifySettings, Route

_BACKOFF_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_MINUTE_S: Final = 60.0
_REMEMBERED_MAX: Final = 10_000
_TOGETHER_MAX: Final = 20

Place = tuple[int, int]
"""Partition and offset of an alert."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as `risk.alerts` has it."""

    alert_id: str
    severity: str
    kind: str
    agent_id: str
    symbol: str
    message: str


@dataclass(slots=True)
class Item:
    """An alert on its way to one route; `more` is how many were left out before it for the route's limit."""

    place: Place
    alert: Alert
    since_s: float
    tries: int = 0
    next_s: float = 0.0
    more: int = 0


@dataclass(slots=True)
class _Line:
    """One route's queue."""

    route: Route
    waiting: deque[Item] = field(default_factory=deque)
    sent_s: deque[float] = field(default_factory=deque)
    left_out: int = 0
    sending: int = 0
    """How many of the first ones are on their way."""


class Dispatcher:
    """Keeps a queue for each route; an alert counts as done when no queue has it any more."""

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._lines = {route.name: _Line(route) for route in settings.routes}
        self._told_s: dict[tuple[str, str, str, str], float] = {}
        self._ids: set[str] = set()
        self.repeated = self.limited = self.given_up = self.sent = 0

    def take(self, alert: Alert, place: Place, now_s: float) -> None:
        """Queue an alert for each route that takes it, unless it was told, or one like it just was."""
        key = (alert.severity, alert.kind, alert.agent_id, alert.symbol)
        told_s = self._told_s.get(key)
        if alert.alert_id in self._ids or (told_s is not None and now_s - told_s < self._settings.repeat_after_s):
            self.repeated += 1
            return
        if len(self._ids) >= _REMEMBERED_MAX:
            self._ids.clear()
            self._told_s.clear()
        self._ids.add(alert.alert_id)
        self._told_s[key] = now_s
        for line in self._lines.values():
            if line.route.takes(alert.severity, alert.kind):
                line.waiting.append(Item(place, alert, now_s))

    def due(self, now_s: float) -> list[tuple[Route, tuple[Item, ...]]]:
        """Return what is to be sent now, to each route one message; report each with `done` or `failed`.

        What gathered while the message before was on its way goes in one: however many there are, none waits for long.
        """
        found = []
        for line in self._lines.values():
            while line.sent_s and now_s - line.sent_s[0] >= _MINUTE_S:
                line.sent_s.popleft()
            self._leave_out(line)
            if line.sending:
                continue
            items = tuple(takewhile(lambda item: item.next_s <= now_s, islice(line.waiting, _TOGETHER_MAX)))
            if items:
                items[0].more, line.sending = line.left_out, len(items)
                found.append((line.route, items))
        return found

    def _leave_out(self, line: _Line) -> None:
        """Drop what is above the route's limit, but for what is critical: the next one sent says how many."""
        if line.sending or len(line.sent_s) < line.route.per_minute:
            return
        kept: deque[Item] = deque()
        for item in line.waiting:
            if item.alert.severity == "CRITICAL" or item.tries:
                kept.append(item)
            else:
                line.left_out += 1
                self.limited += 1
        line.waiting = kept

    def done(self, route: Route, now_s: float) -> None:
        """Take note that a route's message was delivered."""
        line = self._lines[route.name]
        for _ in range(line.sending):
            line.waiting.popleft()
        self.sent += line.sending
        line.sending = line.left_out = 0
        line.sent_s.append(now_s)

    def failed(self, route: Route, now_s: float) -> int:
        """Take note that it was not; return how many of its alerts are given up."""
        line = self._lines[route.name]
        items, line.sending = tuple(islice(line.waiting, line.sending)), 0
        next_s = now_s + _BACKOFF_S[min(items[0].tries, len(_BACKOFF_S) - 1)]
        given_up = 0
        for item in items:  # the oldest first
            item.next_s = next_s
            item.tries += 1
            if now_s - item.since_s >= self._settings.give_up_after_s:
                line.waiting.popleft()
                given_up += 1
        self.given_up += given_up
        return given_up

    def oldest(self, partition: int) -> int | None:
        """Return the offset of a partition's oldest alert that some route still waits for, or None."""
        waiting = [
            item.place[1] for line in self._lines.values() for item in line.waiting if item.place[0] == partition
        ]
        return min(waiting, default=None)
