"""The gate: every check in its fixed order, the decision, and what a decision changes. See topology/gate.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.breaker import Signal, score_signal
from streams.core.limits import LIMIT_CHECKS, is_well_formed_id
from streams.core.orders import TradingState
from streams.core.permissions import PERMISSION_CHECKS, not_registered
from streams.core.reasons import FAILURES, Reason
from streams.core.situation import Applies, Check, CheckFunction, Facts, Situation, is_entering

if TYPE_CHECKING:
    from streams.core.orders import Failure, Order
    from streams.core.policy import Policy
    from streams.core.state import BotState

__all__ = [
    "CHECKS",
    "Applies",
    "CheckFunction",
    "Decision",
    "Situation",
    "apply",
    "counted_value_e5",
    "decide",
    "is_entering",
    "remembered_id",
]

CHECKS: Final[tuple[Check, ...]] = PERMISSION_CHECKS + LIMIT_CHECKS

_ENTERING_CHECKS: Final[tuple[CheckFunction, ...]] = tuple(check for _, _, check in CHECKS)
_CANCEL_CHECKS: Final[tuple[CheckFunction, ...]] = tuple(
    check for _, applies, check in CHECKS if applies is Applies.ALL
)
_NONE: Final = Reason.NONE
_REDUCING: Final = TradingState.REDUCING
_THROTTLE: Final = Reason.EXECUTION_THROTTLE_TRIPPED
_VALUE_MAX_E5: Final = 10**38 - 1  # what the verdict's decimal holds


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one message: the first failure's reason and all failures in check order."""

    approved: bool
    reason: Reason
    failures: tuple[Failure, ...]
    value_e5: int | None


def decide(order: Order, situation: Situation) -> Decision:
    """Decide one message; never raises, whatever the message holds, and changes nothing.

    Source: RTS 6 Art. 15; topology/gate.md.
    """
    policy, bot = situation.policy, situation.bot
    if policy is None or bot is None:
        return _rejected((not_registered(order),), None)
    facts = Facts(order, situation, policy, bot)
    entering = is_entering(order)
    failures = []
    for check in _ENTERING_CHECKS if entering else _CANCEL_CHECKS:
        failure = check(order, situation, facts)
        if failure is not None:
            failures.append(failure)
    value_e5 = facts.value_e5 if entering else None
    if not failures:
        return Decision(approved=True, reason=_NONE, failures=(), value_e5=value_e5)
    return _rejected(tuple(failures), value_e5)


def _rejected(failures: tuple[Failure, ...], value_e5: int | None) -> Decision:
    if value_e5 is not None and value_e5 > _VALUE_MAX_E5:
        value_e5 = None
    return Decision(approved=False, reason=failures[0].reason, failures=failures, value_e5=value_e5)


def apply(order: Order, situation: Situation, decision: Decision) -> None:
    """Change the bot's state as the decision demands; a message that is not the bot's own changes nothing."""
    policy, bot = situation.policy, situation.bot
    if policy is None or bot is None or not situation.authenticated:
        return
    received_us = bot.received_us = bot.received_at(situation.received_us)
    bot.rate.add(received_us)
    entering = is_entering(order)
    if entering and situation.score is not None and not situation.score <= policy.breaker_threshold:
        _act_on_score(situation.score, situation.now_us, policy, bot)
    if decision.approved:
        if entering:
            if bot.trading_state is _REDUCING and bot.is_half_open(situation.now_us):
                _probe(situation.score, policy, bot)
            bot.executions.add(received_us, policy.execution_window_s * 1_000_000)
            bot.consecutive_failures = 0
    elif decision.reason in FAILURES:
        bot.consecutive_failures += 1
        if bot.consecutive_failures >= policy.max_consecutive_failures:
            bot.halt(Signal.FAILURES, Reason.CONSECUTIVE_FAILURES_EXCEEDED)
    elif decision.reason is _THROTTLE and not bot.throttle_tripped_at:
        width_us = policy.execution_window_s * 1_000_000
        bot.throttle_tripped_at = bot.executions.count_at(received_us, width_us) + 1


def _act_on_score(score: float, now_us: int, policy: Policy, bot: BotState) -> None:
    signal = score_signal(score, breaker_threshold=policy.breaker_threshold, kill_threshold=policy.kill_threshold)
    if signal is Signal.SCORE_ABOVE_KILL:
        bot.halt(signal, Reason.CIRCUIT_BREAKER_ACTIVE)
        bot.suspend(now_us)
    bot.trip(now_us, policy.breaker_cooldown_s * 1_000_000, score)


def _probe(score: float | None, policy: Policy, bot: BotState) -> None:
    """Count an approved order while half-open; one that only lowers exposure may be less than calm: it says nothing."""
    if score is not None and score <= policy.breaker_reset:
        bot.probe(policy.breaker_probe_orders)


def counted_value_e5(order: Order, decision: Decision) -> int:
    """Return by how much the bot's approved value of the day grows. EUR at scale 5."""
    return decision.value_e5 or 0 if decision.approved and is_entering(order) else 0


def remembered_id(order: Order, situation: Situation) -> str | None:
    """Return the ClOrdID to remember from this message: the first authenticated, well-formed use of it, else None."""
    authentic = situation.authenticated and situation.policy is not None and situation.bot is not None
    return order.cl_ord_id if authentic and not situation.seen and is_well_formed_id(order.cl_ord_id) else None
