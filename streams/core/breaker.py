"""A bot's circuit breaker as a table: which state follows which signal."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

from streams.core.orders import TradingState


@unique
class Signal(StrEnum):
    """What can move a bot's trading state."""

    SCORE_ABOVE_BREAKER = "SCORE_ABOVE_BREAKER"
    SCORE_ABOVE_KILL = "SCORE_ABOVE_KILL"
    FAILURES = "FAILURES"
    PERSON_HALT = "PERSON_HALT"
    PERSON_RELEASE = "PERSON_RELEASE"
    COOLDOWN_OVER = "COOLDOWN_OVER"


_ACTIVE, _REDUCING, _HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED

# An open breaker is REDUCING: nothing but cancellations passes until the cool-down is over. Out of HALTED leads one
# way only, a person's release (RTS 6 Art. 15(3)): no score, however low, and no passing of time.
TRANSITIONS: Final[dict[tuple[TradingState, Signal], TradingState]] = {
    (_ACTIVE, Signal.SCORE_ABOVE_BREAKER): _REDUCING,
    (_ACTIVE, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_ACTIVE, Signal.FAILURES): _HALTED,
    (_ACTIVE, Signal.PERSON_HALT): _HALTED,
    (_ACTIVE, Signal.PERSON_RELEASE): _ACTIVE,
    (_ACTIVE, Signal.COOLDOWN_OVER): _ACTIVE,
    (_REDUCING, Signal.SCORE_ABOVE_BREAKER): _REDUCING,
    (_REDUCING, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_REDUCING, Signal.FAILURES): _HALTED,
    (_REDUCING, Signal.PERSON_HALT): _HALTED,
    (_REDUCING, Signal.PERSON_RELEASE): _ACTIVE,
    (_REDUCING, Signal.COOLDOWN_OVER): _ACTIVE,
    (_HALTED, Signal.SCORE_ABOVE_BREAKER): _HALTED,
    (_HALTED, Signal.SCORE_ABOVE_KILL): _HALTED,
    (_HALTED, Signal.FAILURES): _HALTED,
    (_HALTED, Signal.PERSON_HALT): _HALTED,
    (_HALTED, Signal.PERSON_RELEASE): _ACTIVE,
    (_HALTED, Signal.COOLDOWN_OVER): _HALTED,
}


def next_state(state: TradingState, signal: Signal) -> TradingState:
    """Return the state that follows."""
    return TRANSITIONS[state, signal]


def score_signal(score: float, *, breaker_threshold: float, kill_threshold: float) -> Signal | None:
    """Return what a score signals: nothing at or below the breaker's threshold. A score that is no number kills."""
    if score <= breaker_threshold:
        return None
    return Signal.SCORE_ABOVE_BREAKER if score <= kill_threshold else Signal.SCORE_ABOVE_KILL
