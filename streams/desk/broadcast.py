"""Pushing: four times a second each view's changes are worked out and encoded once, whoever looks on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.desk.deltas import TICK_S, delta, encode, snapshot, take_changes
from streams.desk.views import bot_detail, sees_bot

if TYPE_CHECKING:
    from streams.desk.deltas import Changes
    from streams.desk.feed import Feed
    from streams.desk.people import View

_QUEUED_MAX: Final = 8
_DETAIL_EVERY_TICKS: Final = 4

Pushed = tuple[str, str]  # event name, JSON


class Subscriber:
    """One open page, or its look at one bot."""

    def __init__(self, view: View, bot: str = "") -> None:
        self.view = view
        self.bot = bot
        self.queue: asyncio.Queue[Pushed] = asyncio.Queue(_QUEUED_MAX)
        self.behind = True
        """Whether it needs everything anew: at first, and where it was too slow."""

    def push(self, message: Pushed) -> None:
        """Queue a message; who is too slow gets everything anew instead."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.behind = True


class Broadcaster:
    """Turns the read model into messages for everybody who looks."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._subscribers: set[Subscriber] = set()
        self._tick = 0

    def join(self, subscriber: Subscriber) -> None:
        """Begin to push to somebody."""
        self._subscribers.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Stop pushing to somebody."""
        self._subscribers.discard(subscriber)

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """Work out what changed and push it."""
        self._tick += 1
        at_us, desk = now_us(), self._feed.desk
        deltas: dict[View, dict[str, Any]] = {}
        with self._feed.lock:
            changes = take_changes(desk)
            for view in {s.view for s in self._subscribers if not s.bot and not s.behind}:
                deltas[view] = delta(desk, view, changes, self._tick, at_us)
            due = [(s, self._message(s, changes, deltas, at_us)) for s in self._subscribers]
        encoded: dict[int, str] = {}
        for subscriber, message in due:
            if message is not None:
                name, body = message
                if id(body) not in encoded:
                    encoded[id(body)] = encode(body)
                subscriber.push((name, encoded[id(body)]))

    def _message(
        self, subscriber: Subscriber, changes: Changes, deltas: dict[View, dict[str, Any]], at_us: int
    ) -> tuple[str, dict[str, Any]] | None:
        """Return what a subscriber gets now: a bot's details, everything, what changed, or nothing."""
        desk = self._feed.desk
        if subscriber.bot:
            bot = desk.bots.get(subscriber.bot)
            due = subscriber.bot in changes.bots or self._tick % _DETAIL_EVERY_TICKS == 0
            seen = due and bot is not None and sees_bot(subscriber.view, bot)
            return ("bot", bot_detail(desk, bot, at_us)) if seen and bot is not None else None
        if not subscriber.behind:
            return "delta", deltas[subscriber.view]
        if not subscriber.queue.empty():
            return None
        subscriber.behind = False
        return "snapshot", snapshot(desk, subscriber.view, at_us)
