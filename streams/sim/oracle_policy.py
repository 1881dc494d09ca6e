"""The oracle's own reading of a policy: plain JSON, `decimal.Decimal` and `datetime`, nothing shared with the gate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SATURDAY: Final = 5
_DAYS: Final = {"monthly": 31, "quarterly": 92, "half_yearly": 184, "annual": 366}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a policy says, in units of its names; times in microseconds UTC."""

    digest: bytes
    operator: str
    valid_from_us: int
    valid_until_us: int
    max_order_value: Decimal
    max_daily_value: Decimal
    max_order_qty: dict[str, Decimal]
    allowed_markets: tuple[str, ...]
    restricted_markets: tuple[str, ...]
    allowed_regions: tuple[str, ...]
    allowed_venues: tuple[str, ...]
    start: time
    end: time
    zone: ZoneInfo
    exclude_weekends: bool
    holidays: tuple[date, ...]
    breaker_score: float
    kill_score: float
    calm_score: float
    probes: int
    grace_s: int
    heartbeat_ms: int
    cooldown_s: int
    failures_max: int
    collar_bps: Decimal
    messages_per_s: int
    executions_max: int
    execution_window_s: int
    order_age_ms: int
    reference_age_ms: int
    duplicate_window_s: int
    test_due: date
    test_due_text: str
    test_passed_text: str

    def is_tested(self, at_us: int) -> bool:
        """Say whether no test is overdue at a moment; the day by which it is due counts."""
        return (_EPOCH + timedelta(microseconds=at_us)).date() <= self.test_due

    def is_open(self, at_us: int) -> bool:
        """Say whether a moment lies in the trading hours; hours that span midnight belong to the day they began."""
        local = (_EPOCH + timedelta(microseconds=at_us)).astimezone(self.zone)
        day, clock = local.date(), local.time()
        if self.start < self.end:
            if not self.start <= clock < self.end:
                return False
        elif self.start > self.end and clock < self.start:
            if clock >= self.end:
                return False
            day -= timedelta(days=1)
        return day not in self.holidays and not (self.exclude_weekends and day.weekday() >= _SATURDAY)


def read_rules(document: bytes) -> Rules:
    """Read a policy document that the gate has accepted."""
    body = json.loads(document, parse_float=Decimal)
    scope, risk = body["scope"], body["risk_controls"]
    hours = scope["trading_hours"]
    return Rules(
        digest=hashlib.sha256(document).digest(),
        operator=body["operator"],
        valid_from_us=_moment_us(body["valid_from"]),
        valid_until_us=_moment_us(body["valid_until"]),
        max_order_value=Decimal(scope["max_order_value_eur"]),
        max_daily_value=Decimal(scope["max_daily_value_eur"]),
        max_order_qty={market: Decimal(qty) for market, qty in scope["max_order_qty"].items()},
        allowed_markets=tuple(scope["allowed_markets"]),
        restricted_markets=tuple(scope["restricted_markets"]),
        allowed_regions=tuple(scope["allowed_regions"]),
        allowed_venues=tuple(scope["allowed_venues"]),
        start=time.fromisoformat(hours["start"]),
        end=time.fromisoformat(hours["end"]),
        zone=ZoneInfo(hours["tz"]),
        exclude_weekends=hours["exclude_weekends"],
        holidays=tuple(date.fromisoformat(day) for day in hours["holidays"]),
        breaker_score=float(risk["circuit_breaker_threshold"]),
        kill_score=float(risk["kill_switch_automatic"]),
        calm_score=_calm_score(risk),
        probes=risk.get("circuit_breaker_probe_orders", 5),
        grace_s=risk.get("kill_grace_s", 300),
        heartbeat_ms=risk.get("heartbeat_interval_ms", 0),
        **_numbers(risk),
        **_next_test(body["testing"]),
    )


def _next_test(testing: dict[str, Any]) -> dict[str, Any]:
    """Return the test that is due first, and the texts that a refusal for it shows."""
    passed = {name: date.fromisoformat(last["day"]) for name, last in testing["last_passed"].items()}
    due = {
        "fitness": date.fromisoformat(testing["fitness_test_due"]),
        "scenario": passed["scenario"] + timedelta(days=_DAYS[testing["scenario_testing"]]),
        "penetration": passed["penetration"] + timedelta(days=_DAYS[testing["penetration_testing"]]),
    }
    name = min(due, key=lambda name: due[name])
    return {
        "test_due": due[name],
        "test_due_text": f"{name} by {due[name]}",
        "test_passed_text": f"passed {passed[name]}",
    }


def _calm_score(risk: dict[str, Any]) -> float:
    """Return the score up to which a probe is calm: four fifths of the threshold, cut to four decimals, unless said."""
    default = (Decimal(risk["circuit_breaker_threshold"]) * 4 / 5).quantize(Decimal("0.0001"), ROUND_FLOOR)
    return float(risk.get("circuit_breaker_reset", default))


def _numbers(risk: dict[str, Any]) -> dict[str, Any]:
    return {
        "cooldown_s": risk["circuit_breaker_cooldown_s"],
        "failures_max": risk["max_consecutive_failures"],
        "collar_bps": Decimal(risk["price_collar_bps"]),
        "messages_per_s": risk["message_rate_max_per_s"],
        "executions_max": risk["execution_max"],
        "execution_window_s": risk["execution_window_s"],
        "order_age_ms": risk["max_order_age_ms"],
        "reference_age_ms": risk["reference_max_age_ms"],
        "duplicate_window_s": risk["duplicate_window_s"],
    }


def _moment_us(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
