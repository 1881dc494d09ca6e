"""A circuit breaker, of a bot or of a market, as a table: which state follows which signal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from streams.core.orders import TradingState


@unique
class Signal(StrEnum):
    """What can move a trading state."""

    SCORE_ABOVE_BREAKER = "SCORE_ABOVE_BREAKER"
    SCORE_ABOVE_KILL = "SCORE_ABOVE_KILL"
    FAILURES = "FAILURES"
    HEARTBEAT_LOST = "HEARTBEAT_LOST"
    PERSON_REDUCE = "PERSON_REDUCE"
    PERSON_HALT = "PERSON_HALT"
    PERSON_RELEASE = "PERSON_RELEASE"
    PROBES_CALM = "PROBES_CALM"


_ACTIVE, _REDUCING, _HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED

# An open breaker is REDUCING: exposure may only fall, until calm probes after the cool-down close it. Out of HALTED
# leads one way only, a person's release (RTS 6 Art. 15(3)): no score, however low, and no passing of time.
TRANSITIONS: Final[dict[tuple[TradingState, Signal], TradingState]] = {
    (_ACTIVE, Signal.SCORE_ABOVE_BREAKER): _REDUCING,
    (_ACTIVE, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_ACTIVE, Signal.FAILURES): _HALTED,
    (_ACTIVE, Signal.HEARTBEAT_LOST): _HALTED,
    (_ACTIVE, Signal.PERSON_REDUCE): _REDUCING,
    (_ACTIVE, Signal.PERSON_HALT): _HALTED,
    (_ACTIVE, Signal.PERSON_RELEASE): _ACTIVE,
    (_ACTIVE, Signal.PROBES_CALM): _ACTIVE,
    (_REDUCING, Signal.SCORE_ABOVE_BREAKER): _REDUCING,
    (_REDUCING, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_REDUCING, Signal.FAILURES): _HALTED,
    (_REDUCING, Signal.HEARTBEAT_LOST): _HALTED,
    (_REDUCING, Signal.PERSON_REDUCE): _REDUCING,
    (_REDUCING, Signal.PERSON_HALT): _HALTED,
    (_REDUCING, Signal.PERSON_RELEASE): _ACTIVE,
    (_REDUCING, Signal.PROBES_CALM): _ACTIVE,
    (_HALTED, Signal.SCORE_ABOVE_BREAKER): _HALTED,
    (_HALTED, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_HALTED, Signal.FAILURES): _HALTED,
    (_HALTED, Signal.HEARTBEAT_LOST): _HALTED,
    (_HALTED, Signal.PERSON_REDUCE): _HALTED,
    (_HALTED, Signal.PERSON_HALT): _HALTED,
    (_HALTED, Signal.PERSON_RELEASE): _ACTIVE,
    (_HALTED, Signal.PROBES_CALM): _HALTED,
}

HELD_US: Final = 2**63 - 1
"""Open until a person closes it: no cool-down ends it."""

_FIELDS: Final = ("breaker_open_until_us", "breaker_score", "breaker_trips", "breaker_probes", "stopped_by")
_DOUBLINGS_MAX: Final = 5
_COOLDOWN_US_MAX: Final = 86_400_000_000


def next_state(state: TradingState, signal: Signal) -> TradingState:
    """Return the state that follows."""
    return TRANSITIONS[state, signal]


def score_signal(score: float, *, breaker_threshold: float, kill_threshold: float) -> Signal | None:
    """Return what a score signals: nothing at or below the breaker's threshold. A score that is no number kills."""
    if score <= breaker_threshold:
        return None
    return Signal.SCORE_ABOVE_BREAKER if score <= kill_threshold else Signal.SCORE_ABOVE_KILL


def strictest(one: TradingState, other: TradingState) -> TradingState:
    """Return the state that allows less."""
    order = (_ACTIVE, _REDUCING, _HALTED)
    return max(one, other, key=order.index)


@dataclass(slots=True)
class Breaker:
    """One breaker: its state, until when it is open at least, and who may not close it. Times in microseconds UTC.

    After its time it is half-open: still REDUCING, but a bounded number of orders may probe. So many calm ones close
    it; another crossing opens it again for twice as long.
    """

    trading_state: TradingState = TradingState.ACTIVE
    breaker_open_until_us: int = 0
    breaker_score: float | None = None
    breaker_trips: int = 0
    breaker_probes: int = 0
    stopped_by: str | None = None

    def trip(self, now_us: int, cooldown_us: int, score: float | None) -> None:
        """Open for a score; out of half-open for twice as long as the time before, while open from now again."""
        if self.breaker_trips == 0 or self.is_half_open(now_us):
            self.breaker_trips += 1
        self.trading_state = next_state(self.trading_state, Signal.SCORE_ABOVE_BREAKER)
        lasts_us = min(cooldown_us << min(self.breaker_trips - 1, _DOUBLINGS_MAX), _COOLDOWN_US_MAX)
        self.breaker_open_until_us = max(self.breaker_open_until_us, now_us + lasts_us)
        self.breaker_probes = 0
        # A row of JSON holds no NaN: what is no score is not kept, so that a restart changes nothing.
        self.breaker_score = score if score is not None and 0.0 <= score <= 1.0 else None

    def is_half_open(self, now_us: int) -> bool:
        """Tell whether the breaker's time is over and probes are due."""
        return self.trading_state is _REDUCING and now_us >= self.breaker_open_until_us

    def probe(self, calm_orders: int) -> None:
        """Count a calm order that passed half-open; the last of `calm_orders` closes the breaker."""
        self.breaker_probes += 1
        if self.breaker_probes >= calm_orders:
            self.trading_state = next_state(self.trading_state, Signal.PROBES_CALM)
            self._forget()

    def stop(self, signal: Signal, person: str | None = None) -> None:
        """Halt or reduce until a person releases; each who ordered it is one more who may not."""
        self.trading_state = next_state(self.trading_state, signal)
        if signal is Signal.PERSON_REDUCE:
            self.breaker_open_until_us = HELD_US
            self.breaker_score = None
        if person is not None and person not in self.stoppers():
            self.stopped_by = " ".join((*self.stoppers(), person))

    def stoppers(self) -> tuple[str, ...]:
        """Return the people who ordered a stop that is in force; their names hold no space."""
        return tuple((self.stopped_by or "").split())

    def may_release(self, person: str) -> bool:
        """Tell whether the person is none of those who stopped it (RTS 6 Art. 15(3))."""
        return person not in self.stoppers()

    def close(self) -> None:
        """Let a person's release take effect."""
        self.trading_state = next_state(self.trading_state, Signal.PERSON_RELEASE)
        self.stopped_by = None
        self._forget()

    def _forget(self) -> None:
        self.breaker_open_until_us, self.breaker_score, self.breaker_trips, self.breaker_probes = 0, None, 0, 0

    def breaker_row(self) -> list[Any]:
        """Return the breaker as a flat list for a row of JSON."""
        return [
            self.trading_state.value,
            self.breaker_open_until_us,
            self.breaker_score,
            self.breaker_trips,
            self.breaker_probes,
            self.stopped_by,
        ]


def breaker_fields(row: list[Any]) -> dict[str, Any]:
    """Return the fields of the breaker that `breaker_row` wrote, by name."""
    return {"trading_state": TradingState(row[0])} | dict(zip(_FIELDS, row[1:], strict=True))
