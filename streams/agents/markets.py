"""Market breakers of a partition: opened by a market's score or by people, here, and published for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streams.agents.alerts import CRITICAL, WARNING
from streams.agents.breakers import ISSUER, breaker_details
from streams.core.alert_kinds import AlertKind
from streams.core.breaker import Breaker, Signal, breaker_fields, score_signal, strictest
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.wire.commands import Scope

if TYPE_CHECKING:
    from streams.agents.lane import Cause, Lane
    from streams.engine.tables import PartitionTable
    from streams.wire.decisions import ScoreDetail

_PREFIX: Final = "BREAKER "
_ACTIVE: Final = TradingState.ACTIVE

# The seed guide's thresholds, which for a bot its policy sets.
MARKET_BREAKER_THRESHOLD: Final = 0.75
MARKET_KILL_THRESHOLD: Final = 0.85
MARKET_COOLDOWN_US: Final = 60_000_000
MARKET_PROBES: Final = 20


class MarketsAgent:
    """Keeps a breaker for each market that has one open here; what other lanes published counts beside it."""

    def __init__(self, lane: Lane, table: PartitionTable[list[Any]]) -> None:
        self._lane = lane
        self._table = table
        self._open = {
            key.removeprefix(_PREFIX): Breaker(**breaker_fields(row))
            for key, row in table.items()
            if key.startswith(_PREFIX)
        }

    def state(self, symbol: str) -> TradingState:
        """Return what a market's breakers allow now; half-open, this lane's own lets probes pass."""
        lane = self._lane
        published = lane.references.market_state(symbol, lane.partition)
        own = self._open.get(symbol) if self._open else None
        if own is None or own.is_half_open(lane.now_us):
            return published
        return strictest(published, own.trading_state)

    def on_score(self, record: Cause, symbol: str, score: ScoreDetail) -> None:
        """Take a market's score; above a threshold it opens the market's breaker, or halts the market."""
        signal = score_signal(
            score.value, breaker_threshold=MARKET_BREAKER_THRESHOLD, kill_threshold=MARKET_KILL_THRESHOLD
        )
        if signal is None:
            return
        breaker = self._of(symbol)
        before = breaker.trading_state
        if signal is Signal.SCORE_ABOVE_KILL:
            breaker.stop(signal)
        breaker.trip(self._lane.now_us, MARKET_COOLDOWN_US, score.value)
        self._changed(record, symbol, breaker, before, ISSUER, score)

    def on_approval(self, record: Cause, symbol: str) -> None:
        """Count an approved order of a market whose breaker is half-open here as a calm probe."""
        breaker = self._open.get(symbol) if self._open else None
        if breaker is None or not breaker.is_half_open(self._lane.now_us):
            return
        before = breaker.trading_state
        breaker.probe(MARKET_PROBES)
        self._changed(record, symbol, breaker, before, ISSUER, None)

    def stop(self, record: Cause, symbol: str, signal: Signal, person: str) -> str:
        """Halt or reduce a market because a person orders it."""
        breaker = self._of(symbol)
        before = breaker.trading_state
        breaker.stop(signal, person)
        self._changed(record, symbol, breaker, before, person, None)
        return f"MARKET {symbol} is {breaker.trading_state}"

    def stoppers(self, symbol: str) -> tuple[str, ...] | None:
        """Return who may not release a market's breaker, or None where none is open here."""
        breaker = self._open.get(symbol)
        return None if breaker is None else breaker.stoppers()

    def release(self, record: Cause, symbol: str, person: str) -> None:
        """Close a market's breaker because a person orders it."""
        breaker = self._of(symbol)
        before = breaker.trading_state
        breaker.close()
        self._changed(record, symbol, breaker, before, person, None)

    def _of(self, symbol: str) -> Breaker:
        return self._open.setdefault(symbol, Breaker())

    def _changed(
        self,
        record: Cause,
        symbol: str,
        breaker: Breaker,
        before: TradingState,
        by: str,
        score: ScoreDetail | None,
    ) -> None:
        """Write a breaker down; a closed one leaves no row. A new state is logged, published and told."""
        lane, after = self._lane, breaker.trading_state
        if after is _ACTIVE:
            self._open.pop(symbol, None)
            self._table.delete(_PREFIX + symbol)
        else:
            self._table.put(_PREFIX + symbol, breaker.breaker_row())
        reason = Reason.NONE if after is _ACTIVE else Reason.CIRCUIT_BREAKER_ACTIVE
        lane.record_event(
            record,
            "BREAKER_CHANGED",
            "",
            None,
            score=score,
            state_before=before.value,
            outcome=reason,
            details=breaker_details(breaker, by) | {"market": symbol, "state": after.value},
        )
        if after is before:
            return
        lane.breakers.publish(Scope.MARKET, symbol, before, after, reason, issued_by=by, score=score)
        if after is TradingState.HALTED and by == ISSUER:
            cause_id = str(lane.journal.next_index - 1)
            lane.breakers.mass_cancel(Scope.MARKET, symbol, reason, by, cause_id)
        severity = CRITICAL if after is TradingState.HALTED else WARNING
        message = f"market {symbol}: {before} to {after}, by {by}"
        cause_us = record.timestamp * 1000
        lane.alerts.raise_alert(severity, AlertKind(f"MARKET_{after}"), message, symbol=symbol, cause_us=cause_us)
