"""Checks 17 to 29: whether the message is well formed and within every limit of the policy."""

from __future__ import annotations

import re
from typing import Final

from streams.core.orders import (
    MONEY_SCALE,
    PRICE_SCALE,
    QTY_SCALE,
    Failure,
    MsgType,
    Order,
    OrdType,
    decimal_text,
)
from streams.core.reasons import Reason
from streams.core.situation import Applies, Check, Facts, Situation, is_entering
from streams.core.texts import shown, time_text

ID_RULE: Final = "1 to 50 of A-Z a-z 0-9 . _ -"
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,50}")
_NEW: Final = MsgType.NEW_ORDER_SINGLE
_LIMIT: Final = OrdType.LIMIT


def is_well_formed_id(cl_ord_id: str) -> bool:
    """Tell whether a ClOrdID has the form that the gate remembers: 1 to 50 characters of `[A-Za-z0-9._-]`."""
    return _ID.fullmatch(cl_ord_id) is not None


def _bad_identifier(order: Order) -> tuple[str, str] | None:
    if _ID.fullmatch(order.cl_ord_id) is None:
        return ID_RULE, f"cl_ord_id={shown(order.cl_ord_id)}"
    original = order.orig_cl_ord_id
    if order.msg_type is _NEW:
        return None if original is None else ("none for a new order", f"orig_cl_ord_id={shown(original)}")
    if original is None or _ID.fullmatch(original) is None:
        return ID_RULE, f"orig_cl_ord_id={'none' if original is None else shown(original)}"
    return None


def _bad_amount(order: Order) -> tuple[str, str] | None:
    if order.order_qty_e17 <= 0:
        return "above 0", f"order_qty={decimal_text(order.order_qty_e17, QTY_SCALE)}"
    price_e13 = order.price_e13
    if order.ord_type is _LIMIT:
        if price_e13 is None:
            return "a price for LIMIT", "price=none"
        return None if price_e13 > 0 else ("above 0", f"price={decimal_text(price_e13, PRICE_SCALE)}")
    return None if price_e13 is None else ("none for MARKET", f"price={decimal_text(price_e13, PRICE_SCALE)}")


def _well_formed(order: Order, _situation: Situation, _facts: Facts) -> Failure | None:
    bad = _bad_identifier(order)
    if bad is None and is_entering(order):
        bad = _bad_amount(order)
    return None if bad is None else Failure(Reason.INVALID_FIELD, bad[0], bad[1], "TEXT")


def _whole_lots(order: Order, situation: Situation, _facts: Facts) -> Failure | None:
    reference, qty_e17 = situation.reference, order.order_qty_e17
    if reference is None or qty_e17 <= 0 or reference.lot_size_e17 <= 0 or qty_e17 % reference.lot_size_e17 == 0:
        return None
    lot = decimal_text(reference.lot_size_e17, QTY_SCALE)
    return Failure(Reason.INVALID_QUANTITY, lot, decimal_text(qty_e17, QTY_SCALE), "UNIT")


def _whole_ticks(order: Order, situation: Situation, _facts: Facts) -> Failure | None:
    reference, price_e13 = situation.reference, order.price_e13
    if price_e13 is None or reference is None or price_e13 <= 0 or reference.tick_size_e13 <= 0:
        return None
    if price_e13 % reference.tick_size_e13 == 0:
        return None
    tick = decimal_text(reference.tick_size_e13, PRICE_SCALE)
    return Failure(Reason.INVALID_PRICE_INCREMENT, tick, decimal_text(price_e13, PRICE_SCALE), "QUOTE")


def _order_value(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    value_e5, limit_e5 = facts.value_e5, facts.policy.max_order_value_e5
    if value_e5 is None or value_e5 <= limit_e5:
        return None
    limit, observed = decimal_text(limit_e5, MONEY_SCALE), decimal_text(value_e5, MONEY_SCALE)
    return Failure(Reason.MAX_ORDER_VALUE_EXCEEDED, limit, observed, "EUR")


def _order_volume(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    limit_e17 = facts.policy.max_order_qty_e17.get(order.symbol, 0)
    if order.order_qty_e17 <= limit_e17:
        return None
    limit, observed = decimal_text(limit_e17, QTY_SCALE), decimal_text(order.order_qty_e17, QTY_SCALE)
    return Failure(Reason.MAX_ORDER_VOLUME_EXCEEDED, limit, observed, "UNIT")


def _price_collar(order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    reference, price_e13 = facts.reference, order.price_e13
    if reference is None or price_e13 is None or order.ord_type is not _LIMIT:
        return None
    distance, bps = abs(price_e13 - reference.price_e13) * 10_000, facts.policy.price_collar_bps
    if distance <= bps * reference.price_e13:
        return None
    observed_e4 = -(-distance * 10_000 // reference.price_e13)
    return Failure(Reason.PRICE_COLLAR_EXCEEDED, str(bps), decimal_text(observed_e4, 4), "BPS")


def _daily_value(_order: Order, situation: Situation, facts: Facts) -> Failure | None:
    if facts.value_e5 is None:
        return None
    sum_e5, limit_e5 = situation.daily_value_e5 + facts.value_e5, facts.policy.max_daily_value_e5
    if sum_e5 <= limit_e5:
        return None
    limit, observed = decimal_text(limit_e5, MONEY_SCALE), decimal_text(sum_e5, MONEY_SCALE)
    return Failure(Reason.DAILY_VALUE_LIMIT_EXCEEDED, limit, observed, "EUR")


def _message_rate(_order: Order, situation: Situation, facts: Facts) -> Failure | None:
    count = facts.bot.rate.count_at(facts.received_us) + situation.authenticated
    limit = facts.policy.message_rate_max_per_s
    if count <= limit:
        return None
    return Failure(Reason.MESSAGE_RATE_EXCEEDED, str(limit), str(count), "MSG_PER_S")


def _executions_with_this(facts: Facts) -> int:
    """Return the orders approved in the throttle's window, this one included; once tripped, the count that tripped."""
    bot = facts.bot
    if bot.throttle_tripped_at:
        return bot.throttle_tripped_at
    return bot.executions.count_at(facts.received_us, facts.policy.execution_window_s * 1_000_000) + 1


def _execution_throttle(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    count, limit = _executions_with_this(facts), facts.policy.execution_max
    if count <= limit and not facts.bot.throttle_tripped_at:
        return None
    return Failure(Reason.EXECUTION_THROTTLE_TRIPPED, str(limit), str(count), "ORDERS")


def _consecutive_failures(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    count, limit = facts.bot.consecutive_failures, facts.policy.max_consecutive_failures
    if count < limit:
        return None
    return Failure(Reason.CONSECUTIVE_FAILURES_EXCEEDED, str(limit), str(count), "ORDERS")


def _not_duplicate(order: Order, situation: Situation, facts: Facts) -> Failure | None:
    if not situation.seen:
        return None
    return Failure(Reason.DUPLICATE_ORDER, f"{facts.policy.duplicate_window_s} s", shown(order.cl_ord_id), "TEXT")


def _not_stale(order: Order, situation: Situation, facts: Facts) -> Failure | None:
    limit_ms = facts.policy.max_order_age_ms
    limit_us = limit_ms * 1_000
    waited_us = situation.now_us - facts.received_us
    age_us = facts.received_us - order.transact_time_us
    if waited_us <= limit_us and -limit_us <= age_us <= limit_us:
        return _not_expired(order, situation)
    observed_us = waited_us if waited_us > limit_us else age_us
    return Failure(Reason.STALE_ORDER, str(limit_ms), decimal_text(observed_us, 3), "MS")


def _not_expired(order: Order, situation: Situation) -> Failure | None:
    expires_us = order.expire_time_us
    if expires_us is None or situation.now_us <= expires_us:
        return None
    return Failure(Reason.STALE_ORDER, time_text(expires_us), time_text(situation.now_us), "TIME")


def _reference_available(_order: Order, _situation: Situation, facts: Facts) -> Failure | None:
    problem = facts.reference_problem
    if problem is None:
        return None
    return Failure(Reason.REFERENCE_PRICE_UNAVAILABLE, str(facts.policy.reference_max_age_ms), problem, "MS")


LIMIT_CHECKS: Final[tuple[Check, ...]] = (
    (Reason.INVALID_FIELD, Applies.ALL, _well_formed),
    (Reason.INVALID_QUANTITY, Applies.ENTERING, _whole_lots),
    (Reason.INVALID_PRICE_INCREMENT, Applies.ENTERING, _whole_ticks),
    (Reason.MAX_ORDER_VALUE_EXCEEDED, Applies.ENTERING, _order_value),
    (Reason.MAX_ORDER_VOLUME_EXCEEDED, Applies.ENTERING, _order_volume),
    (Reason.PRICE_COLLAR_EXCEEDED, Applies.ENTERING, _price_collar),
    (Reason.DAILY_VALUE_LIMIT_EXCEEDED, Applies.ENTERING, _daily_value),
    (Reason.MESSAGE_RATE_EXCEEDED, Applies.ALL, _message_rate),
    (Reason.EXECUTION_THROTTLE_TRIPPED, Applies.ENTERING, _execution_throttle),
    (Reason.CONSECUTIVE_FAILURES_EXCEEDED, Applies.ENTERING, _consecutive_failures),
    (Reason.DUPLICATE_ORDER, Applies.ALL, _not_duplicate),
    (Reason.STALE_ORDER, Applies.ALL, _not_stale),
    (Reason.REFERENCE_PRICE_UNAVAILABLE, Applies.ENTERING, _reference_available),
)
