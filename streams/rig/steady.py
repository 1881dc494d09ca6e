"""A steady load: the bots' messages, signed as they are sent, for as long as a run lasts."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.names import Topic
from streams.rig.background import Background
from streams.sim.bots import plan
from streams.sim.signing import to_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.rig.exchange import Exchange
    from streams.rig.stage import Stage
    from streams.sim.bots import PlannedMessage
    from streams.sim.tape import Tick

# Bots do not wait for each other, but what is lost when this thread had no CPU is not made up for: a burst would be the
# rig's own doing.
_CATCH_UP_S: Final = 0.02
# One thread stands for many bots: what it sends within so many milliseconds is one request.
_LINGER_MS: Final = 10
_BEHIND_KEPT: Final = 100_000
# A plan runs once along the tape; then comes the next, of the next seed, so that no identifier comes again.
_PLAN_MESSAGES: Final = 6_000


class SteadyLoad:
    """Sends messages in a thread at a rate, whatever happens to the broker; the tape moves along."""

    def __init__(self, stage: Stage, exchange: Exchange, ticks: Sequence[Tick], *, seed: int, rate: int) -> None:
        self._stage, self._exchange, self._ticks = stage, exchange, ticks
        self._seed, self.rate = seed, rate
        self._sender = stage.sender(linger_ms=_LINGER_MS)
        self._background = Background("load", self._send_all)
        self._lasted_s = 0.0
        self.sent = 0
        self.behind_ms: deque[float] = deque(maxlen=_BEHIND_KEPT)
        """How late each of the last messages was sent, against one every 1/rate seconds."""

    @property
    def reached_per_s(self) -> float:
        """Return the rate that was reached."""
        return self.sent / self._lasted_s if self._lasted_s else 0.0

    @property
    def acknowledged(self) -> int:
        """Return how many messages the broker has acknowledged."""
        return self._sender.acknowledged

    def start(self) -> None:
        """Begin to send."""
        self._background.start()

    def stop(self) -> None:
        """Stop sending; everything sent is acknowledged. Raises: whatever ended the thread before."""
        self._background.stop()
        self._sender.flush()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        self._background.check()

    def _send_all(self) -> None:
        topic, keys = self._stage.topic(Topic.ORDERS_REQUESTED), self._stage.keys
        started_s = due_s = time.monotonic()
        for message in self._messages():
            wire = to_wire(message, keys, now_us())
            self._sender.send(topic, wire.key, wire.value, wire.headers)
            self.sent += 1
            now_s = time.monotonic()
            self._lasted_s = now_s - started_s
            self.behind_ms.append(max(now_s - due_s, 0.0) * 1_000)
            due_s = max(due_s, now_s - _CATCH_UP_S) + 1 / self.rate
            stopping = self._background.stopping
            if stopping.wait(due_s - now_s) if due_s > now_s else stopping.is_set():
                return

    def _messages(self) -> Iterator[PlannedMessage]:
        stage, number = self._stage, 0
        while True:
            seen = -1
            for message in plan(self._ticks, stage.bots, _PLAN_MESSAGES, self._seed + number, markets=stage.markets):
                while seen < message.tick_index:
                    seen += 1
                    self._exchange.on_tick(self._ticks[seen])
                yield message
            number += 1
