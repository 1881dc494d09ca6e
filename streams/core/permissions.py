"""Checks 1 to 16: who sends, whether anything forbids the bot to trade, and where and when it may."""

from __future__ import annotations

from typing import Final

from streams.core.exposure import reduces
from streams.core.orders import Failure, Order, TradingState
from streams.core.reasons import Reason
from streams.core.situation import Applies, Check, Facts, Situation
from streams.core.texts import names_text, shown, time_text

_ACTIVE: Final = TradingState.ACTIVE
_REDUCING: Final = TradingState.REDUCING
_HALTED: Final = TradingState.HALTED


def not_registered(order: Order) -> Failure:
    """Return check 1's failure: then there is nothing to hold the message against."""
    return Failure(Reason.ALGO_NOT_AUTHORISED, "registered", shown(order.agent_id), "TEXT")


def _of_identity(situation: Situation, reason: Reason) -> Failure | None:
    for failure in situation.identity:
        if failure.reason is reason:
            return failure
    return None


def _registered(_order: Order, situation: Situation, _facts: Facts) -> Failure | None:
    return _of_identity(situation, Reason.ALGO_NOT_AUTHORISED) if situation.identity else None


def _signature(_order: Order, situation: Situation, _facts: Facts) -> Failure | None:
    found = _of_identity(situation, Reason.SIGNATURE_INVALID) if situation.identity else None
    if found is None and not situation.authenticated:
        return Failure(Reason.SIGNATURE_INVALID, "valid", "invalid", "TEXT")
    return found


def _certificate_trusted(_order: Order, situation: Situation, _facts: Facts) -> Failure | None:
    return _of_identity(situation, Reason.CERTIFICATE_INVALID) if situation.identity else None


def _certificate_in_time(_order: Order, situation: Situation, facts: Facts) -> Failure | None:
    if situation.not_before_us <= facts.received_us <= situation.not_after_us:
        return None
    early = facts.received_us < situation.not_before_us
    bound_us = situation.not_before_us if early else situation.not_after_us
    return Failure(Reason.CERTIFICATE_EXPIRED, time_text(bound_us), time_text(facts.received_us), "TIME")


def _certificate_not_revoked(_order: Order, situation: Situation, facts: Facts) -> Failure | None:
    if facts.bot.revoked_at_us is not None:
        return Failure(Reason.CERTIFICATE_REVOKED, "not revoked", time_text(facts.bot.revoked_at_us), "TIME")
    return _of_identity(situation, Reason.CERTIFICATE_REVOKED) if situation.identity else None


def _certificate_not_suspended(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    if facts.bot.suspended_at_us is None:
        return None
    return Failure(Reason.CERTIFICATE_SUSPENDED, "not suspended", time_text(facts.bot.suspended_at_us), "TIME")


def _policy_in_force(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    policy = facts.policy
    if policy.valid_from_us <= facts.received_us < policy.valid_until_us:
        return None
    early = facts.received_us < policy.valid_from_us
    bound_us = policy.valid_from_us if early else policy.valid_until_us
    return Failure(Reason.POLICY_NOT_IN_FORCE, time_text(bound_us), time_text(facts.received_us), "TIME")


def _tested(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    plan = facts.policy.testing
    if facts.received_us < plan.tested_until_us:
        return None
    due = plan.soonest
    return Failure(Reason.TESTING_OVERDUE, f"{due.exercise} by {due.day}", f"passed {due.last_passed}", "TEXT")


def _no_kill(order: Order, situation: Situation, facts: Facts) -> Failure | None:
    if situation.kill is None and facts.bot.kill_command is None:
        return None
    kill = situation.kill if situation.kill is not None else f"BOT {shown(order.agent_id)}"
    return Failure(Reason.KILL_SWITCH_ENGAGED, "none", kill, "STATE")


def _not_halted(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    if facts.bot.trading_state is not _HALTED:
        return None
    return Failure(Reason.TRADING_HALTED, _ACTIVE.value, _HALTED.value, "STATE")


def _breaker_closed(order: Order, situation: Situation, facts: Facts) -> Failure | None:
    failure = _raising_forbidden(situation, facts)
    if failure is None or (_lowering_allowed(situation, facts) and reduces(order, situation.exposure)):
        return None
    return failure


def _raising_forbidden(situation: Situation, facts: Facts) -> Failure | None:
    """Return why an order may not raise the bot's exposure, or None where it may."""
    policy, score, bot, now_us = facts.policy, situation.score, facts.bot, situation.now_us
    threshold = policy.breaker_threshold
    if score is None:
        if situation.authenticated:
            return _score_failure(threshold, "missing")
    elif not score <= threshold:  # so that a score that is no number fails too
        return _score_failure(threshold, str(score))
    if now_us < bot.breaker_open_until_us:
        if bot.breaker_score is None:
            return _state_failure(bot.trading_state)
        return _score_failure(threshold, str(bot.breaker_score))
    if bot.trading_state is _REDUCING and score is not None and not score <= policy.breaker_reset:
        return _score_failure(policy.breaker_reset, str(score))
    return None if situation.market_state is _ACTIVE else _state_failure(situation.market_state)


def _lowering_allowed(situation: Situation, facts: Facts) -> bool:
    score = situation.score
    return score is not None and score <= facts.policy.kill_threshold and situation.market_state is not _HALTED


def _score_failure(limit: float, observed: str) -> Failure:
    return Failure(Reason.CIRCUIT_BREAKER_ACTIVE, str(limit), observed, "SCORE")


def _state_failure(state: TradingState) -> Failure:
    return Failure(Reason.CIRCUIT_BREAKER_ACTIVE, _ACTIVE.value, state.value, "STATE")


def _not_restricted(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    if order.symbol not in facts.policy.restricted_markets:
        return None
    return Failure(Reason.INSTRUMENT_RESTRICTED, "not restricted", shown(order.symbol), "TEXT")


def _market_allowed(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    allowed = facts.policy.allowed_markets
    if order.symbol in allowed:
        return None
    return Failure(Reason.MARKET_NOT_ALLOWED, names_text(allowed), shown(order.symbol), "TEXT")


def _region_allowed(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    allowed = facts.policy.allowed_regions
    if order.region in allowed:
        return None
    return Failure(Reason.REGION_NOT_ALLOWED, names_text(allowed), shown(order.region), "TEXT")


def _venue_allowed(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    allowed = facts.policy.allowed_venues
    if order.ex_destination in allowed:
        return None
    return Failure(Reason.VENUE_NOT_ALLOWED, names_text(allowed), shown(order.ex_destination), "TEXT")


def _in_trading_hours(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    hours = facts.policy.trading_hours
    if hours.is_open(facts.received_us):
        return None
    return Failure(Reason.OUTSIDE_TRADING_HOURS, hours.text(), hours.local_text(facts.received_us), "TIME")


PERMISSION_CHECKS: Final[tuple[Check, ...]] = (
    (Reason.ALGO_NOT_AUTHORISED, Applies.ALL, _registered),
    (Reason.SIGNATURE_INVALID, Applies.ALL, _signature),
    (Reason.CERTIFICATE_INVALID, Applies.ALL, _certificate_trusted),
    (Reason.CERTIFICATE_EXPIRED, Applies.ALL, _certificate_in_time),
    (Reason.CERTIFICATE_REVOKED, Applies.ALL, _certificate_not_revoked),
    (Reason.CERTIFICATE_SUSPENDED, Applies.ENTERING, _certificate_not_suspended),
    (Reason.POLICY_NOT_IN_FORCE, Applies.ENTERING, _policy_in_force),
    (Reason.TESTING_OVERDUE, Applies.ENTERING, _tested),
    (Reason.KILL_SWITCH_ENGAGED, Applies.ENTERING, _no_kill),
    (Reason.TRADING_HALTED, Applies.ENTERING, _not_halted),
    (Reason.CIRCUIT_BREAKER_ACTIVE, Applies.ENTERING, _breaker_closed),
    (Reason.INSTRUMENT_RESTRICTED, Applies.ENTERING, _not_restricted),
    (Reason.MARKET_NOT_ALLOWED, Applies.ENTERING, _market_allowed),
    (Reason.REGION_NOT_ALLOWED, Applies.ENTERING, _region_allowed),
    (Reason.VENUE_NOT_ALLOWED, Applies.ENTERING, _venue_allowed),
    (Reason.OUTSIDE_TRADING_HOURS, Applies.ENTERING, _in_trading_hours),
)
