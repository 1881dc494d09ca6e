"""The oracle's own rules: `topology/gate.md` again, in decimals and plain lists, sharing no code with the gate."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from streams.sim.oracle_case import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams.sim.oracle_case import Case

_DAY_US: Final = 86_400_000_000
_BUCKET_US: Final = 100_000
_BUCKETS_BEFORE: Final = 10
_CENT_OF_CENT: Final = Decimal("0.0001")
_SHOWN: Final = 60
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._-]{1,50}", re.ASCII)
_ZERO: Final = Decimal(0)

# The first reasons that count as the bot's own failure.
_OWN_DOING: Final = (
    "POLICY_NOT_IN_FORCE",
    "INSTRUMENT_RESTRICTED",
    "MARKET_NOT_ALLOWED",
    "REGION_NOT_ALLOWED",
    "VENUE_NOT_ALLOWED",
    "OUTSIDE_TRADING_HOURS",
    "INVALID_FIELD",
    "INVALID_QUANTITY",
    "INVALID_PRICE_INCREMENT",
    "MAX_ORDER_VALUE_EXCEEDED",
    "MAX_ORDER_VOLUME_EXCEEDED",
    "PRICE_COLLAR_EXCEEDED",
    "DAILY_VALUE_LIMIT_EXCEEDED",
    "MESSAGE_RATE_EXCEEDED",
    "DUPLICATE_ORDER",
)


def decide_again(case: Case) -> tuple[Finding, ...]:
    """Return every check that must fail, in the order of the page."""
    checks = _ALL if not case.asked.entering else _ENTERING
    return tuple(finding for check in checks for finding in check(case))


def remember(case: Case, reason: str) -> None:
    """Take a decision into the bot's past; only the bot's own messages count."""
    asked, past, rules, received_us = case.asked, case.past, case.past.rules, case.received_us
    if not case.genuine:
        return
    past.received_us = received_us
    past.messages[received_us // _BUCKET_US] += 1
    if _IDENTIFIER.fullmatch(asked.cl_ord_id) and not _seen(case):
        past.first_use_us[asked.cl_ord_id] = received_us
    if asked.entering:
        _score(case)
    if reason == "NONE":
        if asked.entering:
            _probe(case)
            past.approved_value[received_us // _DAY_US] = past.daily_value(received_us) + (case.value or _ZERO)
            past.approved_count[received_us // (rules.execution_window_s * 1_000_000)] += 1
            past.failures = 0
    elif reason in _OWN_DOING:
        past.failures += 1
        past.halted = past.halted or past.failures >= rules.failures_max
    elif reason == "EXECUTION_THROTTLE_TRIPPED":
        past.tripped_at = past.tripped_at or _executions(case)


def _score(case: Case) -> None:
    """Open the breaker for a score above its threshold: twice as long each time that it was half-open before."""
    asked, past, rules = case.asked, case.past, case.past.rules
    if not _crosses(asked.score, rules.breaker_score):
        return
    if past.half_open(asked.now_us) or not past.trips:
        past.trips += 1
    past.reducing, past.calm = True, 0
    lasts_us = min(rules.cooldown_s * 1_000_000 * 2 ** min(past.trips - 1, 5), _DAY_US)
    past.open_until_us = max(past.open_until_us, asked.now_us + lasts_us)
    if _crosses(asked.score, rules.kill_score):
        past.halted = past.suspended = True


def _probe(case: Case) -> None:
    """Count an approved order that was calm while the breaker was half-open; enough of them close it."""
    asked, past, rules = case.asked, case.past, case.past.rules
    if past.half_open(asked.now_us) and asked.score is not None and asked.score <= rules.calm_score:
        past.calm += 1
        if past.calm >= rules.probes:
            past.reducing, past.open_until_us, past.trips, past.calm = False, 0, 0, 0


def _crosses(score: float | None, threshold: float) -> bool:
    return score is not None and not score <= threshold


def _seen(case: Case) -> bool:
    first_us = case.past.first_use_us.get(case.asked.cl_ord_id)
    return first_us is not None and case.received_us - first_us < case.past.rules.duplicate_window_s * 1_000_000


def _executions(case: Case) -> int:
    """Return the orders approved in the message's window, and one."""
    return case.past.approved_count[case.received_us // (case.past.rules.execution_window_s * 1_000_000)] + 1


def _text(value: Decimal | int) -> str:
    return f"{Decimal(value).normalize():f}"


def _milliseconds(age_us: int) -> str:
    return _text(Decimal(age_us).scaleb(-3))


def _shown(text: str) -> str:
    """Return a message's own text as a verdict shows it."""
    return ascii(text[:_SHOWN])[1:-1] + ("..." if len(text) > _SHOWN else "")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(sorted(names))


def _identity(case: Case) -> Iterator[Finding]:
    if case.identity:
        yield Finding("SIGNATURE_INVALID", "valid", case.identity)
    not_before_us, not_after_us = case.past.valid_us
    if not not_before_us <= case.received_us <= not_after_us:
        yield Finding("CERTIFICATE_EXPIRED")
    if case.past.revoked:
        yield Finding("CERTIFICATE_REVOKED")
    if case.past.suspended and case.asked.entering:
        yield Finding("CERTIFICATE_SUSPENDED")


def _standing(case: Case) -> Iterator[Finding]:
    past, rules, now_us = case.past, case.past.rules, case.asked.now_us
    if not rules.valid_from_us <= case.received_us < rules.valid_until_us:
        yield Finding("POLICY_NOT_IN_FORCE")
    if not rules.is_tested(case.received_us):
        yield Finding("TESTING_OVERDUE", rules.test_due_text, rules.test_passed_text)
    if case.killed or past.killed:
        yield Finding("KILL_SWITCH_ENGAGED", "none")
    if past.halted:
        yield Finding("TRADING_HALTED", "ACTIVE", "HALTED")
    score, market = case.asked.score, case.market_state
    no_score = score is None and case.genuine
    half_open_not_calm = past.half_open(now_us) and _crosses(score, rules.calm_score)
    open_now = now_us < past.open_until_us or half_open_not_calm or market != "ACTIVE"
    if no_score or _crosses(score, rules.breaker_score) or open_now:
        may_lower = score is not None and score <= rules.kill_score and market != "HALTED"
        if not (may_lower and case.lowers):
            yield Finding("CIRCUIT_BREAKER_ACTIVE")


def _scope(case: Case) -> Iterator[Finding]:
    asked, rules = case.asked, case.past.rules
    if asked.symbol in rules.restricted_markets:
        yield Finding("INSTRUMENT_RESTRICTED", "not restricted", _shown(asked.symbol))
    if asked.symbol not in rules.allowed_markets:
        yield Finding("MARKET_NOT_ALLOWED", _listed(rules.allowed_markets), _shown(asked.symbol))
    if asked.region not in rules.allowed_regions:
        yield Finding("REGION_NOT_ALLOWED", _listed(rules.allowed_regions), _shown(asked.region))
    if asked.venue not in rules.allowed_venues:
        yield Finding("VENUE_NOT_ALLOWED", _listed(rules.allowed_venues), _shown(asked.venue))
    if not rules.is_open(case.received_us):
        yield Finding("OUTSIDE_TRADING_HOURS")


def _form(case: Case) -> Iterator[Finding]:
    asked = case.asked
    wrong = not _IDENTIFIER.fullmatch(asked.cl_ord_id)
    if asked.entering and not asked.replacing:
        wrong |= asked.orig_cl_ord_id is not None
    else:
        wrong |= asked.orig_cl_ord_id is None or not _IDENTIFIER.fullmatch(asked.orig_cl_ord_id)
    if asked.entering:
        wrong |= asked.qty <= 0 or asked.limit == (asked.price is None)
        wrong |= asked.price is not None and asked.price <= 0
    if wrong:
        yield Finding("INVALID_FIELD")


def _grid(case: Case) -> Iterator[Finding]:
    asked, quote = case.asked, case.quote
    if quote is None:
        return
    if asked.qty > 0 and quote.lot > 0 and asked.qty % quote.lot:
        yield Finding("INVALID_QUANTITY", _text(quote.lot), _text(asked.qty))
    if asked.price is not None and asked.price > 0 and quote.tick > 0 and asked.price % quote.tick:
        yield Finding("INVALID_PRICE_INCREMENT", _text(quote.tick), _text(asked.price))


def _size(case: Case) -> Iterator[Finding]:
    asked, rules, value = case.asked, case.past.rules, case.value
    if value is not None and value > rules.max_order_value:
        yield Finding("MAX_ORDER_VALUE_EXCEEDED", _text(rules.max_order_value), _text(value))
    qty_max = rules.max_order_qty.get(asked.symbol, _ZERO)
    if asked.qty > qty_max:
        yield Finding("MAX_ORDER_VOLUME_EXCEEDED", _text(qty_max), _text(asked.qty))
    if case.usable and case.quote is not None and asked.limit and asked.price is not None:
        distance = abs(asked.price - case.quote.price) * 10_000
        if distance > rules.collar_bps * case.quote.price:
            observed = (distance / case.quote.price).quantize(_CENT_OF_CENT, ROUND_CEILING)
            yield Finding("PRICE_COLLAR_EXCEEDED", _text(rules.collar_bps), _text(observed))
    if value is not None:
        total = case.past.daily_value(case.received_us) + value
        if total > rules.max_daily_value:
            yield Finding("DAILY_VALUE_LIMIT_EXCEEDED", _text(rules.max_daily_value), _text(total))


def _rate(case: Case) -> Iterator[Finding]:
    bucket = case.received_us // _BUCKET_US
    count = sum(case.past.messages[earlier] for earlier in range(bucket - _BUCKETS_BEFORE, bucket + 1))
    count += case.genuine
    if count > case.past.rules.messages_per_s:
        yield Finding("MESSAGE_RATE_EXCEEDED", _text(case.past.rules.messages_per_s), _text(count))


def _repetition(case: Case) -> Iterator[Finding]:
    past, rules = case.past, case.past.rules
    count = past.tripped_at or _executions(case)
    if past.tripped_at or count > rules.executions_max:
        yield Finding("EXECUTION_THROTTLE_TRIPPED", _text(rules.executions_max), _text(count))
    if past.failures >= rules.failures_max:
        yield Finding("CONSECUTIVE_FAILURES_EXCEEDED", _text(rules.failures_max), _text(past.failures))


def _age(case: Case) -> Iterator[Finding]:
    asked, received_us = case.asked, case.received_us
    if _seen(case):
        yield Finding("DUPLICATE_ORDER", None, _shown(asked.cl_ord_id))
    age_ms = case.past.rules.order_age_ms
    waited_us, sent_us = asked.now_us - received_us, received_us - asked.transact_us
    if max(waited_us, abs(sent_us)) > age_ms * 1000:
        observed_us = waited_us if waited_us > age_ms * 1000 else sent_us
        yield Finding("STALE_ORDER", _text(age_ms), _milliseconds(observed_us))
    elif asked.expire_us is not None and asked.now_us > asked.expire_us:
        yield Finding("STALE_ORDER", None, None)


def _reference(case: Case) -> Iterator[Finding]:
    if case.usable:
        return
    quote, limit_ms = case.quote, case.past.rules.reference_age_ms
    if quote is None:
        observed = "missing"
    elif case.reader_behind:
        observed = "reader not caught up"
    elif min(quote.price, quote.eur_rate, quote.tick, quote.lot) <= 0:
        observed = "not above zero"
    else:
        observed = _milliseconds(case.asked.now_us - quote.time_us)
    yield Finding("REFERENCE_PRICE_UNAVAILABLE", _text(limit_ms), observed)


_ENTERING: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    _identity,
    _standing,
    _scope,
    _form,
    _grid,
    _size,
    _rate,
    _repetition,
    _age,
    _reference,
)
_ALL: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (_identity, _form, _rate, _age)
