"""The desk's picture of one bot: its state, its score over time, its use of each limit. Pure: facts in, figures out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.core.orders import MONEY_SCALE, QTY_SCALE, TradingState, decimal_text
from streams.core.reasons import FAILURES
from streams.core.windows import RateCounter, WindowCounter, day_start_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.core.policy import Policy
    from streams.desk.facts import Changed, Decided, Executed

HISTORY_STEP_US: Final = 5_000_000
HISTORY_STEPS: Final = 60
_RECENT_MAX: Final = 40
_OPEN_MAX: Final = 5_000
_FAILURES: Final = frozenset(str(reason) for reason in FAILURES)


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used: amounts as text in the unit, and the share of the limit (1 is all of it)."""

    name: str
    used: str
    limit: str
    unit: str
    share: float


@dataclass(slots=True)
class Bot:
    """One bot as the log shows it since the desk began to read. Times in microseconds UTC."""

    agent_id: str
    operator: str = ""
    policy: Policy | None = None
    state: str = TradingState.ACTIVE.value
    state_since_us: int = 0
    state_reason: str = ""
    state_by: str = ""
    open_until_us: int = 0
    revoked_us: int = 0
    approved: int = 0
    refused: int = 0
    last_us: int = 0
    last_reason: str = ""
    score: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    daily_e5: int | None = None
    daily_us: int = 0
    largest_e5: int = 0
    largest_e17: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    rate: RateCounter = field(default_factory=RateCounter)
    executions: WindowCounter = field(default_factory=WindowCounter)
    open_orders: dict[str, str] = field(default_factory=dict)
    """ClOrdID → market of what was approved and has not ended."""
    history: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=HISTORY_STEPS))
    """(number of a five-second step since the epoch, highest score in it)."""
    recent: deque[Decided] = field(default_factory=lambda: deque(maxlen=_RECENT_MAX))

    def on_decided(self, fact: Decided) -> None:
        """Take in a verdict."""
        self._move(fact.state, fact.place.at_us, fact.reason, "gate")
        self.last_us, self.last_reason = fact.place.at_us, fact.reason
        self.recent.append(fact)
        self.rate.add(fact.requested_us)
        if fact.score is not None:
            self._on_score(fact.score, fact.features, fact.place.at_us)
        if fact.daily_e5 is not None:
            self.daily_e5, self.daily_us = fact.daily_e5, fact.requested_us
        if fact.approved:
            self.approved += 1
            if fact.entering:
                self._on_entered(fact)
        else:
            self.refused += 1
            if fact.reason in _FAILURES:
                self.failures += 1

    def on_executed(self, fact: Executed) -> bool:
        """Take in a venue's report; say whether it ended an order that was open here."""
        return fact.ends_order and self.open_orders.pop(fact.cl_ord_id, None) is not None

    def on_changed(self, fact: Changed) -> None:
        """Take in a change of state, or a registration."""
        self._move(fact.state, fact.place.at_us, fact.reason, fact.issued_by)
        self.open_until_us = fact.open_until_us if fact.state == TradingState.REDUCING else 0

    def on_breaker(self, state: str, reason: str, issued_by: str, at_us: int) -> None:
        """Take in what `risk.circuit-breakers` says, unless the log has said something later."""
        if at_us >= self.state_since_us:
            self.state, self.state_since_us = state, at_us
            self.state_reason, self.state_by = reason, issued_by

    def _move(self, state: str, at_us: int, reason: str, issued_by: str) -> None:
        if state != self.state:
            self.state, self.state_since_us = state, at_us
            self.state_reason, self.state_by = reason, issued_by
            if state == TradingState.ACTIVE:
                self.failures, self.open_until_us = 0, 0

    def _on_score(self, score: float, features: Mapping[str, float], at_us: int) -> None:
        self.score, self.features = score, features
        step = at_us // HISTORY_STEP_US
        if self.history and self.history[-1][0] >= step:
            last, highest = self.history[-1]
            self.history[-1] = (last, max(highest, score))
        else:
            self.history.append((step, score))

    def _on_entered(self, fact: Decided) -> None:
        self.failures = 0
        self.largest_e5 = max(self.largest_e5, fact.value_e5 or 0)
        self.largest_e17[fact.symbol] = max(self.largest_e17.get(fact.symbol, 0), fact.qty_e17)
        if self.policy is not None:
            self.executions.add(fact.requested_us, self.policy.execution_window_s * 1_000_000)
        if len(self.open_orders) < _OPEN_MAX:
            self.open_orders[fact.cl_ord_id] = fact.symbol

    def daily_share(self, now_us: int) -> float | None:
        """Return the share of the day's value limit that is used; None where the desk has not seen it."""
        if self.policy is None or self.daily_e5 is None:
            return None
        used_e5 = self.daily_e5 if day_start_us(now_us) <= self.daily_us else 0
        return used_e5 / self.policy.max_daily_value_e5


def usages(bot: Bot, now_us: int) -> list[Usage]:
    """Return the use of every limit of the bot's policy, as the log shows it since the desk began to read."""
    policy = bot.policy
    if policy is None:
        return []
    window_us = policy.execution_window_s * 1_000_000
    daily = bot.daily_share(now_us)
    daily_e5 = 0 if bot.daily_e5 is None or daily == 0 else bot.daily_e5
    found = [
        _money("Approved value today", daily_e5, policy.max_daily_value_e5),
        _money("Largest order", bot.largest_e5, policy.max_order_value_e5),
        _count("Messages in a second", bot.rate.count_at(now_us), policy.message_rate_max_per_s, "messages"),
        _count(
            f"Approvals in {policy.execution_window_s} s",
            bot.executions.count_at(now_us, window_us),
            policy.execution_max,
            "orders",
        ),
        _count("Failures in a row", bot.failures, policy.max_consecutive_failures, "orders"),
    ]
    for threshold, name in ((policy.breaker_threshold, "breaker"), (policy.kill_threshold, "halt")):
        score = bot.score or 0.0
        found.append(Usage(f"Score against {name}", f"{score:.2f}", f"{threshold:.2f}", "", score / threshold))
    for symbol, limit_e17 in sorted(policy.max_order_qty_e17.items()):
        used_e17 = bot.largest_e17.get(symbol, 0)
        used, limit = decimal_text(used_e17, QTY_SCALE), decimal_text(limit_e17, QTY_SCALE)
        found.append(Usage(f"Largest quantity {symbol}", used, limit, symbol.partition("_")[0], used_e17 / limit_e17))
    return found


def _money(name: str, used_e5: int, limit_e5: int) -> Usage:
    used, limit = decimal_text(used_e5, MONEY_SCALE), decimal_text(limit_e5, MONEY_SCALE)
    return Usage(name, used, limit, "EUR", used_e5 / limit_e5)


def _count(name: str, used: int, limit: int, unit: str) -> Usage:
    return Usage(name, str(used), str(limit), unit, used / limit)
