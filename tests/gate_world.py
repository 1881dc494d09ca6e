"""A bot that is in order in every respect, for tests that then put one thing wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.core.exposure import FLAT
from streams.core.gate import Decision, Situation, apply, counted_value_e5, decide, remembered_id
from streams.core.orders import (
    MsgType,
    Order,
    OrdType,
    ReferencePrice,
    Side,
    TimeInForce,
    TradingState,
    parse_decimal,
)
from streams.core.policy import Policy, parse_policy
from streams.core.state import BotState
from streams.core.windows import day_start_us

AGENT = "trading_bot_eu_v2"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
S_US = 1_000_000
MS_US = 1_000

DOCUMENT: dict[str, Any] = {
    "agent_id": AGENT,
    "operator": "acme_trading_ltd",
    "operator_regulator_id": "ESMA-001234",
    "valid_from": "2026-05-01T00:00:00Z",
    "valid_until": "2027-05-01T00:00:00Z",
    "scope": {
        "max_order_value_eur": "50000",
        "max_daily_value_eur": "1000000",
        "max_order_qty": {"BTC_USDT": "2", "ETH_USDT": "40"},
        "allowed_markets": ["BTC_USDT", "ETH_USDT"],
        "restricted_markets": [],
        "allowed_regions": ["eu-west-1"],
        "allowed_venues": ["XOFF"],
        "trading_hours": {
            "start": "08:00",
            "end": "17:00",
            "tz": "UTC",
            "exclude_weekends": True,
            "holidays": ["2026-12-25"],
        },
    },
    "risk_controls": {
        "kill_switch_manual": True,
        "kill_switch_automatic": "0.85",
        "circuit_breaker_threshold": "0.75",
        "circuit_breaker_cooldown_s": 60,
        "max_consecutive_failures": 3,
        "price_collar_bps": 500,
        "message_rate_max_per_s": 50,
        "execution_max": 1000,
        "execution_window_s": 60,
        "max_order_age_ms": 10000,
        "reference_max_age_ms": 10000,
        "duplicate_window_s": 600,
        "manual_kill_by": ["ceo@acme", "cfo@acme", "compliance_lead@acme"],
    },
    "testing": {
        "fitness_test_due": "2027-06-01",
        "scenario_testing": "quarterly",
        "penetration_testing": "annual",
        "last_passed": {
            "fitness": {"day": "2026-06-01", "record_sha256": "01" * 32},
            "scenario": {"day": "2026-06-01", "record_sha256": "02" * 32},
            "penetration": {"day": "2026-06-01", "record_sha256": "03" * 32},
        },
    },
    "governance": {
        "documented_by": "compliance_team@acme",
        "approved_by": "ceo@acme",
        "last_review": "2026-05-01",
        "next_review": "2027-05-01",
        "documents": [
            {
                "title": "Algorithm description",
                "author": "quant_lead@acme",
                "approver": "ceo@acme",
                "sha256": "ab" * 32,
                "last_review": "2026-05-01",
                "next_review": "2027-05-01",
            }
        ],
        "board_resolution": {
            "passed": "2026-05-01",
            "approved_by": ["ceo@acme", "cfo@acme", "compliance_lead@acme"],
            "resolution": "Authorise deployment of trading_bot_eu_v2 with EUR 50,000 scope",
        },
    },
}


def us(text: str) -> int:
    """Return an ISO moment in microseconds since the epoch."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


NOON = us("2026-06-03T12:00:00+00:00")  # a Wednesday


def qty(text: str) -> int:
    return parse_decimal(text, 17)


def price(text: str) -> int:
    return parse_decimal(text, 13)


def eur(text: str) -> int:
    return parse_decimal(text, 5)


def document(*changes: tuple[str, Any]) -> dict[str, Any]:
    """Return a policy document with fields changed, each named by its path (`scope.trading_hours.tz`)."""
    result = deepcopy(DOCUMENT)
    for path, value in changes:
        *parents, last = path.split(".")
        target = result
        for part in parents:
            target = target[part]
        target[last] = value
    return result


def make_policy(*changes: tuple[str, Any]) -> Policy:
    return parse_policy(json.dumps(document(*changes)).encode())


POLICY = make_policy()
REFERENCE = ReferencePrice(
    symbol="BTC_USDT",
    price_e13=price("60000"),
    price_time_us=NOON,
    quote_currency="USDT",
    eur_rate_e13=price("0.9"),
    tick_size_e13=price("0.01"),
    lot_size_e17=qty("0.00001"),
    base_dti="4H95J0R2X",
    mic="XOFF",
    source="test",
)
ORDER = Order(
    agent_id=AGENT,
    cl_ord_id="a-1",
    orig_cl_ord_id=None,
    msg_type=MsgType.NEW_ORDER_SINGLE,
    symbol="BTC_USDT",
    ex_destination="XOFF",
    region="eu-west-1",
    side=Side.BUY,
    ord_type=OrdType.LIMIT,
    time_in_force=TimeInForce.DAY,
    order_qty_e17=qty("0.1"),
    price_e13=price("60000"),
    transact_time_us=NOON,
)


def make_order(**changes: Any) -> Order:
    return replace(ORDER, **changes)


def make_cancel(**changes: Any) -> Order:
    return replace(ORDER, **{"msg_type": MsgType.ORDER_CANCEL_REQUEST, "orig_cl_ord_id": "a-0"} | changes)


def make_situation(**changes: Any) -> Situation:
    """Return what the gate knows of a bot in order; the reference is as fresh as `now_us`."""
    base = Situation(
        now_us=NOON,
        received_us=NOON,
        policy=POLICY,
        not_before_us=us("2026-01-01T00:00:00+00:00"),
        not_after_us=us("2027-01-01T00:00:00+00:00"),
        identity=(),
        authenticated=True,
        bot=BotState(),
        kill=None,
        market_state=TradingState.ACTIVE,
        reference=REFERENCE,
        reference_live=True,
        daily_value_e5=0,
        seen=False,
        score=0.1,
        exposure=FLAT,
    )
    return replace(base, **changes)


class Desk:
    """Decides a bot's messages one after the other and keeps what the gate's caller keeps: day values and ids."""

    def __init__(self, policy: Policy = POLICY, reference: ReferencePrice = REFERENCE) -> None:
        self.policy = policy
        self.reference = reference
        self.bot = BotState()
        self.daily_value_e5: dict[int, int] = {}
        self.ids: dict[str, int] = {}

    def send(self, order: Order, at_us: int, **changes: Any) -> Decision:
        """Decide a message that is received and decided at one moment, and apply the decision."""
        received_us = self.bot.received_at(at_us)
        day = day_start_us(received_us)
        first_us = self.ids.get(order.cl_ord_id)
        seen = first_us is not None and received_us - first_us < self.policy.duplicate_window_s * S_US
        situation = make_situation(
            now_us=at_us,
            received_us=at_us,
            policy=self.policy,
            bot=self.bot,
            reference=replace(self.reference, price_time_us=at_us),
            daily_value_e5=self.daily_value_e5.get(day, 0),
            seen=seen,
        )
        situation = replace(situation, **changes)
        decision = decide(order, situation)
        apply(order, situation, decision)
        self.daily_value_e5[day] = self.daily_value_e5.get(day, 0) + counted_value_e5(order, decision)
        if (remembered := remembered_id(order, situation)) is not None:
            self.ids[remembered] = received_us
        return decision
