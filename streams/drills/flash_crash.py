"""Flash crash: the market falls 30 % in five seconds; one bot panics, one quotes old prices, one sells too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.drills.common import approved_after, count, opened_by_score, shown
from streams.drills.ground import pause
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, bot

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes

_SYMBOL: Final = "BTC_USDT"
_QUOTER, _PANICKER, _OVERSIZED = "quoter-01", "panicker-01", "oversized-01"
_SECONDS: Final = 5.0
_STEPS: Final = 100
_FALL_PERCENT: Final = 30
_STEPS_BEHIND: Final = 20
_PANIC_EUR: Final = 20_000
_OVER_LIMIT_EUR: Final = 20_000


def _play(ground: Ground, notes: Notes) -> None:
    bots = [ground.trader(name) for name in (_QUOTER, _PANICKER, _OVERSIZED)]
    quoter, panicker, oversized = bots
    ground.calm([bot.agent_id for bot in bots], _SYMBOL, rounds=40, gap_s=0.015)
    first_e13 = ground.last(_SYMBOL)
    path = [first_e13 * (100 * _STEPS - _FALL_PERCENT * step) // (100 * _STEPS) for step in range(_STEPS + 1)]
    began_us = notes.moments_us["crash"] = now_us()
    for step in range(1, _STEPS + 1):
        ground.trade(_SYMBOL, path[step], Side.SELL)
        panicker.worth(Side.SELL, _SYMBOL, _PANIC_EUR, path[step])
        if step > _STEPS_BEHIND and step % 4 == 0:
            notes.add("old quotes", quoter.rest(Side.BUY, _SYMBOL, 100, path[step - _STEPS_BEHIND]))
        if step % 10 == 0:
            notes.add("oversized", oversized.worth(Side.SELL, _SYMBOL, _OVER_LIMIT_EUR, path[step]))
        pause(began_us / 1e6 + _SECONDS * step / _STEPS - now_us() / 1e6)
    notes.figures["fall_percent"] = round(100 - 100 * ground.last(_SYMBOL) / first_e13, 1)
    notes.figures["fall_seconds"] = round((now_us() - began_us) / 1e6, 1)


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    return [_breaker(evidence, notes), _limits(evidence, notes), _collar(evidence, notes)]


def _breaker(evidence: Evidence, notes: Notes) -> Check:
    """Check the seed guide's first line: the breaker is open from the first score above its threshold."""
    opened = opened_by_score(evidence, _PANICKER)
    threshold = evidence.policies[_PANICKER].breaker_threshold
    passed_above = [t for t in evidence.approved(_PANICKER) if (t.verdict.score or 0.0) > threshold]
    sold = approved_after(evidence, _PANICKER, notes.moments_us["crash"])
    where = ", ".join(f"log {place} score {score:.3f}" for place, score in opened) or "never opened"
    text = f"{where}; approved above {threshold}: {len(passed_above)}; panic orders approved: {len(sold)}"
    return Check("circuit_breaker_activated", bool(opened) and not passed_above, text)


def _limits(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["oversized"])
    over = [t for t in told if Reason.MAX_ORDER_VALUE_EXCEEDED in t.reasons]
    return Check("oversized_orders_refused", len(over) == len(told) > 0, f"{len(over)} of {len(told)} over the limit")


def _collar(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["old quotes"])
    collared = [t for t in told if Reason.PRICE_COLLAR_EXCEEDED in t.reasons]
    halted = [event["state"] for event in evidence.market_breakers if event["state"] != "ACTIVE"]
    text = f"collar named for {len(collared)} of {len(told)} old quotes ({shown(count(told))}); market: {halted or '-'}"
    return Check("collar_or_market_breaker_acted", bool(collared or halted), text)


PLAN: Final = DrillPlan(
    name=DrillName.FLASH_CRASH,
    source="seed guide Art. 72; RTS 6 Art. 10, 15(1)(a)",
    bots=(bot(_QUOTER), bot(_PANICKER), bot(_OVERSIZED)),
    limits={
        _QUOTER: {"risk_controls": {"price_collar_bps": 300, "max_consecutive_failures": 1_000}},
        _OVERSIZED: {
            "scope": {"max_order_value_eur": "5000"},
            "risk_controls": {"max_consecutive_failures": 1_000},
        },
    },
    instruments=(Instrument(_SYMBOL, "55000.01"),),
    play=_play,
    judge=_judge,
)
