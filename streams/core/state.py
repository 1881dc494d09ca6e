"""What the gate remembers of one bot, and its row in the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from streams.core.breaker import Signal, next_state
from streams.core.errors import PortcullisError
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.core.windows import RateCounter, WindowCounter

ROW_VERSION: Final = 1
_FIXED_COLUMNS: Final = 15
_REDUCING: Final = TradingState.REDUCING
_HALTED: Final = TradingState.HALTED


class StateRowError(PortcullisError):
    """A table row is not one that this version wrote."""


@dataclass(slots=True)
class BotState:
    """One registered bot as its partition's gate knows it. Times in microseconds UTC."""

    audit_seq: int = 0
    received_us: int = 0
    registered_policy: str | None = None
    trading_state: TradingState = TradingState.ACTIVE
    halt_reason: Reason | None = None
    breaker_open_until_us: int = 0
    breaker_score: float | None = None
    kill_command: str | None = None
    kill_issued_by: str | None = None
    revoked_at_us: int | None = None
    consecutive_failures: int = 0
    throttle_tripped_at: int = 0
    executions: WindowCounter = field(default_factory=WindowCounter)
    rate: RateCounter = field(default_factory=RateCounter)

    def received_at(self, append_us: int) -> int:
        """Return when the bot's message counts as received: its append time, but never before the one before it."""
        if append_us > self.received_us:
            return append_us
        return self.received_us

    def halt(self, signal: Signal, reason: Reason) -> None:
        """Let a signal that halts take effect; the first reason stays."""
        self.trading_state = next_state(self.trading_state, signal)
        if self.halt_reason is None:
            self.halt_reason = reason

    def open_breaker(self, until_us: int, score: float | None) -> None:
        """Open the breaker until a moment; a breaker that is open longer stays open longer."""
        self.trading_state = next_state(self.trading_state, Signal.SCORE_ABOVE_BREAKER)
        self.breaker_open_until_us = max(self.breaker_open_until_us, until_us)
        # A row of JSON holds no NaN: what is no score is not kept, so that a restart changes nothing.
        self.breaker_score = score if score is not None and 0.0 <= score <= 1.0 else None

    def cool_down(self, now_us: int) -> None:
        """Close the breaker if its time is over."""
        if self.trading_state is _REDUCING and now_us >= self.breaker_open_until_us:
            self.trading_state = next_state(self.trading_state, Signal.COOLDOWN_OVER)
            self.breaker_open_until_us, self.breaker_score = 0, None

    def kill(self, command_id: str, issued_by: str) -> None:
        """Engage the bot's own kill; further kills add their issuers to those who may not release."""
        if self.kill_command is None or self.kill_issued_by is None:
            self.kill_command, self.kill_issued_by = command_id, issued_by
        elif issued_by not in self.kill_issued_by.split():
            self.kill_issued_by = f"{self.kill_issued_by} {issued_by}"

    def may_release(self, person: str) -> bool:
        """Tell whether the person is none of those who issued a kill that is in force (RTS 6 Art. 15(3))."""
        return self.kill_issued_by is None or person not in self.kill_issued_by.split()

    def release(self) -> None:
        """Clear what a person's RELEASE clears: kill, halt, breaker, throttle and failures; never a revocation."""
        self.trading_state = next_state(self.trading_state, Signal.PERSON_RELEASE)
        self.halt_reason = None
        self.breaker_open_until_us, self.breaker_score = 0, None
        self.kill_command, self.kill_issued_by = None, None
        self.throttle_tripped_at = 0
        self.consecutive_failures = 0

    def to_row(self) -> list[Any]:
        """Return the state as a flat list of integers, floats, texts and None; the version leads."""
        return [
            ROW_VERSION,
            self.audit_seq,
            self.received_us,
            self.registered_policy,
            self.trading_state.value,
            None if self.halt_reason is None else self.halt_reason.value,
            self.breaker_open_until_us,
            self.breaker_score,
            self.kill_command,
            self.kill_issued_by,
            self.revoked_at_us,
            self.consecutive_failures,
            self.throttle_tripped_at,
            self.executions.start_us,
            self.executions.count,
            *self.rate.to_row(),
        ]

    @classmethod
    def from_row(cls, row: list[Any]) -> BotState:
        """Return the state that `to_row` wrote.

        Raises: StateRowError where the row is of another version or too short.
        """
        if len(row) <= _FIXED_COLUMNS or row[0] != ROW_VERSION:
            raise StateRowError(f"bot row: not version {ROW_VERSION} with over {_FIXED_COLUMNS} columns: {row[:1]}")
        return cls(
            audit_seq=row[1],
            received_us=row[2],
            registered_policy=row[3],
            trading_state=TradingState(row[4]),
            halt_reason=None if row[5] is None else Reason(row[5]),
            breaker_open_until_us=row[6],
            breaker_score=row[7],
            kill_command=row[8],
            kill_issued_by=row[9],
            revoked_at_us=row[10],
            consecutive_failures=row[11],
            throttle_tripped_at=row[12],
            executions=WindowCounter(row[13], row[14]),
            rate=RateCounter.from_row(row[15:]),
        )
