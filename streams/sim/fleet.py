"""The bots of a simulation: who they are, what habit each has, and the policy that fits it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import QTY_SCALE, decimal_text
from streams.sim.markets import VENUE_MIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.sim.markets import Market

REGION: Final = "eu-west-1"
OPERATOR: Final = "acme_trading_ltd"
# Nobody's: no LEI begins with these letters, but its check digits hold (ISO 17442).
OPERATOR_LEI: Final = "PORTCULLISDEMO000038"
_DAY_MS: Final = 86_400_000


@unique
class Habit(StrEnum):
    """What a bot does: the first five keep to their policies, each of the others breaks one rule every now and then."""

    MAKER = "maker"
    TAKER = "taker"
    MOMENTUM = "momentum"
    MEAN_REVERTING = "mean-reverting"
    SLICER = "slicer"
    OVERSIZED = "oversized"
    WRONG_MARKET = "wrong-market"
    WRONG_PLACE = "wrong-place"
    OFF_HOURS = "off-hours"
    FORGER = "forger"
    REVOKED = "revoked"
    REPEATER = "repeater"
    OFF_GRID = "off-grid"
    FAT_FINGER = "fat-finger"
    CAP_EXHAUSTER = "cap-exhauster"
    OVERTRADER = "overtrader"
    STALE = "stale"
    UNKNOWN = "unknown"
    CORRUPT = "corrupt"
    RUNAWAY = "runaway"


GOOD_HABITS: Final = (Habit.MAKER, Habit.TAKER, Habit.MOMENTUM, Habit.MEAN_REVERTING, Habit.SLICER)
# A small fleet takes the first ones: good and bad in turn.
_ORDER: Final = (
    Habit.MAKER,
    Habit.TAKER,
    Habit.OVERSIZED,
    Habit.MOMENTUM,
    Habit.RUNAWAY,
    Habit.MEAN_REVERTING,
    Habit.FORGER,
    Habit.SLICER,
    Habit.REVOKED,
    Habit.FAT_FINGER,
    Habit.REPEATER,
    Habit.CORRUPT,
    Habit.WRONG_MARKET,
    Habit.WRONG_PLACE,
    Habit.OFF_HOURS,
    Habit.OFF_GRID,
    Habit.CAP_EXHAUSTER,
    Habit.OVERTRADER,
    Habit.STALE,
    Habit.UNKNOWN,
)
# A runaway is busy before it runs away: the anomaly score must know what is usual for it.
_WEIGHTS: Final = {**dict.fromkeys(GOOD_HABITS, 12), Habit.RUNAWAY: 6}


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot of the fleet; `weight` is its share of the messages."""

    agent_id: str
    habit: Habit
    operator: str
    weight: int

    @property
    def registered(self) -> bool:
        """Say whether the bot has a policy and a certificate."""
        return self.habit is not Habit.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a policy allows: generous unless the bot's habit is to run into it."""

    order_value_eur: int = 50_000
    daily_value_eur: int = 20_000_000
    order_qty_eur: int = 100_000
    failures: int = 1_000
    collar_bps: int = 1_000
    messages_per_s: int = 100_000
    executions: int = 100_000_000
    restricted: tuple[str, ...] = ()


_LIMITS: Final = {
    Habit.OVERSIZED: _Limits(order_value_eur=5_000, order_qty_eur=2_500, failures=3),
    Habit.WRONG_MARKET: _Limits(restricted=("XMR_USDT",)),
    Habit.FAT_FINGER: _Limits(failures=5, collar_bps=300),
    Habit.CAP_EXHAUSTER: _Limits(daily_value_eur=6_000),
    Habit.OVERTRADER: _Limits(executions=3),
    Habit.RUNAWAY: _Limits(order_value_eur=5_000, messages_per_s=150),
}
_GOOD: Final = _Limits(failures=10)


def fleet(count: int = 20, habits: tuple[Habit, ...] = _ORDER) -> tuple[Bot, ...]:
    """Return `count` bots whose habits repeat in the given order; twenty show every habit once."""
    seen: dict[Habit, int] = {}
    bots = []
    for number in range(count):
        habit = habits[number % len(habits)]
        seen[habit] = seen.get(habit, 0) + 1
        bots.append(Bot(f"{habit.value}-{seen[habit]:02d}", habit, OPERATOR, _WEIGHTS.get(habit, 2)))
    return tuple(bots)


def policies(
    bots: Iterable[Bot], markets: Mapping[str, Market], now: datetime, *, max_order_age_ms: int = 60_000
) -> dict[str, bytes]:
    """Return the policy document of every registered bot, in force at `now`.

    Good bots may trade at any hour; the off-hours bot's window opens six hours after `now`. Orders that are signed long
    before they are sent, as benchmarks do, need a larger `max_order_age_ms` (a day at most).
    """
    return {
        bot.agent_id: json.dumps(_document(bot, markets, now.astimezone(UTC), max_order_age_ms), indent=1).encode()
        for bot in bots
        if bot.registered
    }


def _document(bot: Bot, markets: Mapping[str, Market], now: datetime, max_order_age_ms: int) -> dict[str, Any]:
    limits = _LIMITS.get(bot.habit, _GOOD if bot.habit in GOOD_HABITS else _Limits())
    return {
        "agent_id": bot.agent_id,
        "operator": bot.operator,
        "operator_regulator_id": OPERATOR_LEI,
        "valid_from": _moment(now - timedelta(days=1)),
        "valid_until": _moment(now + timedelta(days=364)),
        "scope": {
            "max_order_value_eur": str(limits.order_value_eur),
            "max_daily_value_eur": str(limits.daily_value_eur),
            "max_order_qty": {
                symbol: decimal_text(market.qty_for_eur(limits.order_qty_eur, market.first_price_e13), QTY_SCALE)
                for symbol, market in markets.items()
            },
            "allowed_markets": list(markets),
            "restricted_markets": list(limits.restricted),
            "allowed_regions": [REGION],
            "allowed_venues": [VENUE_MIC],
            "trading_hours": _hours(bot, now),
        },
        "risk_controls": {
            "kill_switch_manual": True,
            "kill_switch_automatic": "0.85",
            "circuit_breaker_threshold": "0.75",
            "circuit_breaker_cooldown_s": 60,
            "max_consecutive_failures": limits.failures,
            "price_collar_bps": limits.collar_bps,
            "message_rate_max_per_s": limits.messages_per_s,
            "execution_max": limits.executions,
            "execution_window_s": 60,
            "max_order_age_ms": max_order_age_ms,
            "reference_max_age_ms": max(60_000, min(max_order_age_ms, _DAY_MS)),
            "duplicate_window_s": 600,
            "manual_kill_by": ["ceo@acme", "cfo@acme", "compliance_lead@acme"],
        },
        "testing": {
            "fitness_test_due": _day(now + timedelta(days=300)),
            "scenario_testing": "quarterly",
            "penetration_testing": "annual",
            "last_passed": {name: _test_passed(bot, name, now) for name in ("fitness", "scenario", "penetration")},
        },
        "governance": _governance(bot, now),
    }


def _test_passed(bot: Bot, name: str, now: datetime) -> dict[str, str]:
    record = hashlib.sha256(f"{name} test of {bot.agent_id}".encode()).hexdigest()
    return {"day": _day(now - timedelta(days=30)), "record_sha256": record}


def _hours(bot: Bot, now: datetime) -> dict[str, Any]:
    start, end = "00:00", "00:00"  # the whole day
    if bot.habit is Habit.OFF_HOURS:
        start, end = (f"{now + timedelta(hours=hours):%H:00}" for hours in (6, 8))
    return {"start": start, "end": end, "tz": "UTC", "exclude_weekends": False, "holidays": []}


def _governance(bot: Bot, now: datetime) -> dict[str, Any]:
    reviews = {"last_review": _day(now - timedelta(days=30)), "next_review": _day(now + timedelta(days=335))}
    title = f"Description of {bot.agent_id}: {bot.habit.value}"
    document = {
        "title": title,
        "author": "quant_lead@acme",
        "approver": "ceo@acme",
        "sha256": hashlib.sha256(title.encode()).hexdigest(),
    }
    return {
        "documented_by": "compliance_team@acme",
        "approved_by": "ceo@acme",
        **reviews,
        "documents": [document | reviews],
        "board_resolution": {
            "passed": reviews["last_review"],
            "approved_by": ["ceo@acme", "cfo@acme", "compliance_lead@acme"],
            "resolution": f"Authorise deployment of {bot.agent_id} within its policy",
        },
    }


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d")
