"""What the gate remembers of one bot, and its row in the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from streams.core.breaker import Breaker, Signal, breaker_fields
from streams.core.errors import PortcullisError
from streams.core.reasons import Reason
from streams.core.windows import RateCounter, WindowCounter

ROW_VERSION: Final = 2
_FIXED_COLUMNS: Final = 20


class StateRowError(PortcullisError):
    """A table row is not one that this version wrote."""


@dataclass(slots=True)
class BotState(Breaker):
    """One registered bot as its partition's gate knows it. Times in microseconds UTC."""

    audit_seq: int = 0
    received_us: int = 0
    registered_policy: str | None = None
    halt_reason: Reason | None = None
    kill_command: str | None = None
    suspended_at_us: int | None = None
    revoked_at_us: int | None = None
    consecutive_failures: int = 0
    throttle_tripped_at: int = 0
    heartbeat_us: int = 0
    heartbeat_sent_us: int = 0
    executions: WindowCounter = field(default_factory=WindowCounter)
    rate: RateCounter = field(default_factory=RateCounter)

    def received_at(self, append_us: int) -> int:
        """Return when the bot's message counts as received: its append time, but never before the one before it."""
        if append_us > self.received_us:
            return append_us
        return self.received_us

    def halt(self, signal: Signal, reason: Reason, person: str | None = None) -> None:
        """Let a signal that halts take effect; the first reason stays."""
        self.stop(signal, person)
        if self.halt_reason is None:
            self.halt_reason = reason

    def suspend(self, at_us: int) -> None:
        """Suspend the certificate until a person releases the bot or it is revoked; the first moment stays."""
        if self.suspended_at_us is None:
            self.suspended_at_us = at_us

    def revoke(self, at_us: int) -> None:
        """Revoke the certificate for good; the first moment stays."""
        if self.revoked_at_us is None:
            self.revoked_at_us = at_us

    def kill(self, command_id: str, person: str) -> None:
        """Engage the bot's own kill; further kills add their issuers to those who may not release."""
        self.halt(Signal.PERSON_HALT, Reason.KILL_SWITCH_ENGAGED, person)
        if self.kill_command is None:
            self.kill_command = command_id

    def release(self) -> None:
        """Clear what a person's RELEASE clears: kill, halt, breaker, suspension, throttle, failures; no revocation."""
        self.close()
        self.halt_reason = None
        self.kill_command = None
        self.suspended_at_us = None
        self.throttle_tripped_at = 0
        self.consecutive_failures = 0

    def to_row(self) -> list[Any]:
        """Return the state as a flat list of integers, floats, texts and None; the version leads."""
        return [
            ROW_VERSION,
            *self.breaker_row(),
            self.audit_seq,
            self.received_us,
            self.registered_policy,
            None if self.halt_reason is None else self.halt_reason.value,
            self.kill_command,
            self.suspended_at_us,
            self.revoked_at_us,
            self.consecutive_failures,
            self.throttle_tripped_at,
            self.heartbeat_us,
            self.heartbeat_sent_us,
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
            **breaker_fields(row[1:7]),
            audit_seq=row[7],
            received_us=row[8],
            registered_policy=row[9],
            halt_reason=None if row[10] is None else Reason(row[10]),
            kill_command=row[11],
            suspended_at_us=row[12],
            revoked_at_us=row[13],
            consecutive_failures=row[14],
            throttle_tripped_at=row[15],
            heartbeat_us=row[16],
            heartbeat_sent_us=row[17],
            executions=WindowCounter(row[18], row[19]),
            rate=RateCounter.from_row(row[20:]),
        )
