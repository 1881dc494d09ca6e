"""What holds for every message, every order of messages and every state: the gate's promises."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.exposure import Exposure, reduces
from streams.core.gate import CHECKS, Situation, apply, counted_value_e5, decide, is_entering, remembered_id
from streams.core.orders import (
    Failure,
    MsgType,
    Order,
    OrdType,
    ReferencePrice,
    Side,
    TimeInForce,
    TradingState,
)
from streams.core.reasons import FAILURES, Reason
from streams.core.state import BotState
from streams.core.windows import RATE_BUCKET_US, RateCounter, WindowCounter, day_start_us
from tests.gate_world import (
    AGENT,
    MS_US,
    NOON,
    POLICY,
    S_US,
    Desk,
    eur,
    make_order,
    make_policy,
    make_situation,
    qty,
    us,
)

ORDER_OF_CHECKS = [reason for reason, _, _ in CHECKS]
ALWAYS_OPEN: tuple[tuple[str, Any], ...] = (
    ("scope.trading_hours.start", "00:00"),
    ("scope.trading_hours.end", "00:00"),
    ("scope.trading_hours.exclude_weekends", False),
    ("risk_controls.max_consecutive_failures", 1000),
    ("testing.last_passed.scenario.day", "2027-05-01"),
)

# Totality: any order, any state.


def few_changes(strategies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.lists(st.sampled_from(sorted(strategies)), max_size=2, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: strategies[name] for name in chosen}))


LONG = st.integers(-(2**63), 2**63 - 1)
CLOCK = st.integers(0, 2**62) | st.integers(NOON - 20 * S_US, NOON + 20 * S_US)
DECIMAL38 = st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-5, 5) | st.just(qty("0.1"))
TEXT = st.text(max_size=80) | st.sampled_from([AGENT, "BTC_USDT", "XOFF", "eu-west-1", "a-1", ""])
# Half of the messages and situations are in order but for a few fields, so that the far end is reached too.
ORDER_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "agent_id": TEXT,
    "cl_ord_id": TEXT,
    "orig_cl_ord_id": st.none() | TEXT,
    "msg_type": st.sampled_from(MsgType),
    "symbol": TEXT,
    "ex_destination": TEXT,
    "region": TEXT,
    "side": st.sampled_from(Side),
    "ord_type": st.sampled_from(OrdType),
    "time_in_force": st.sampled_from(TimeInForce),
    "order_qty_e17": DECIMAL38,
    "price_e13": st.none() | DECIMAL38,
    "transact_time_us": LONG | CLOCK,
    "expire_time_us": st.none() | LONG | CLOCK,
}
ORDERS = (
    st.builds(Order, **ORDER_FIELDS)
    | few_changes(ORDER_FIELDS).map(lambda changes: make_order(**changes))
    | st.builds(make_order)
)
REFERENCES = st.builds(
    ReferencePrice,
    symbol=TEXT,
    price_e13=DECIMAL38,
    price_time_us=LONG | CLOCK,
    quote_currency=st.just("USDT"),
    eur_rate_e13=DECIMAL38,
    tick_size_e13=DECIMAL38,
    lot_size_e17=DECIMAL38,
    base_dti=st.just("4H95J0R2X"),
    mic=st.just("XOFF"),
    source=st.just("test"),
)
IDENTITIES = st.lists(
    st.sampled_from([Reason.SIGNATURE_INVALID, Reason.CERTIFICATE_INVALID, Reason.CERTIFICATE_REVOKED]), max_size=3
).map(lambda reasons: tuple(Failure(reason, "valid", "invalid", "TEXT") for reason in reasons))


@st.composite
def bots(draw: st.DrawFn) -> BotState:
    bot = BotState(
        received_us=draw(CLOCK),
        trading_state=draw(st.sampled_from(TradingState)),
        halt_reason=draw(st.none() | st.sampled_from(Reason)),
        breaker_open_until_us=draw(CLOCK),
        breaker_score=draw(st.none() | st.floats(0, 1)),
        kill_command=draw(st.none() | st.just("command-1")),
        suspended_at_us=draw(st.sampled_from([None, None, 7])),
        revoked_at_us=draw(st.none() | LONG),
        consecutive_failures=draw(st.integers(0, 5)),
        throttle_tripped_at=draw(st.sampled_from([0, 0, 7])),
        executions=WindowCounter(draw(CLOCK), draw(st.integers(0, 2000))),
    )
    for _ in range(draw(st.integers(0, 60))):
        bot.rate.add(bot.received_us)
    return bot


SITUATION_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "now_us": CLOCK,
    "received_us": LONG | CLOCK,
    "policy": st.none() | st.just(POLICY),
    "not_before_us": LONG,
    "not_after_us": LONG,
    "identity": IDENTITIES,
    "authenticated": st.booleans(),
    "bot": st.none() | bots(),
    "kill": st.none() | st.just("ALL"),
    "market_state": st.sampled_from(TradingState),
    "reference": st.none() | REFERENCES,
    "reference_live": st.booleans(),
    "daily_value_e5": st.integers(0, 10**18),
    "seen": st.booleans(),
    "score": st.none() | st.floats(),
    "exposure": st.builds(Exposure, st.integers(-(10**20), 10**20), st.integers(0, 10**19) | st.just(0), st.just(0)),
}
SITUATIONS = (
    st.builds(Situation, **SITUATION_FIELDS)
    | few_changes(SITUATION_FIELDS).map(lambda changes: make_situation(**changes))
    | st.builds(make_situation)
)


def row_of(situation: Situation) -> str:
    return json.dumps(situation.bot.to_row()) if situation.bot is not None else "none"


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ORDERS, SITUATIONS)
def test_every_message_gets_a_decision_that_explains_itself(order: Order, situation: Situation) -> None:
    before = row_of(situation)
    decision = decide(order, situation)
    assert row_of(situation) == before, "deciding changed the state"
    assert decide(order, situation) == decision
    assert decision.approved is (decision.failures == ())
    assert decision.reason is (decision.failures[0].reason if decision.failures else Reason.NONE)
    places = [ORDER_OF_CHECKS.index(failure.reason) for failure in decision.failures]
    assert places == sorted(set(places))
    for failure in decision.failures:
        written = f"{failure.limit}{failure.observed}{failure.unit}"
        assert written.isascii()
        assert written.isprintable()
        assert len(failure.observed) <= 400
    assert decision.value_e5 is None or 0 < decision.value_e5 < 10**38


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ORDERS, SITUATIONS)
def test_every_decision_can_be_applied_and_written_down(order: Order, situation: Situation) -> None:
    before = row_of(situation)
    decision = decide(order, situation)
    apply(order, situation, decision)
    bot = situation.bot
    if bot is None or situation.policy is None or not situation.authenticated:
        assert row_of(situation) == before
        assert remembered_id(order, situation) is None
        assert counted_value_e5(order, decision) == 0
        return
    row = bot.to_row()
    assert all(not isinstance(cell, int) or -(2**63) <= cell < 2**63 for cell in row)
    assert BotState.from_row(json.loads(json.dumps(row))).to_row() == row
    if decision.approved and is_entering(order):
        assert counted_value_e5(order, decision) > 0
        assert situation.daily_value_e5 + counted_value_e5(order, decision) <= POLICY.max_daily_value_e5
        assert bot.consecutive_failures == 0
    else:
        assert counted_value_e5(order, decision) == 0
    if decision.reason in FAILURES and bot.consecutive_failures >= POLICY.max_consecutive_failures:
        assert bot.trading_state is TradingState.HALTED


@settings(max_examples=300, deadline=None)
@given(ORDERS, SITUATIONS)
def test_nothing_enters_while_any_stop_is_in_force(order: Order, situation: Situation) -> None:
    decision = decide(order, situation)
    bot = situation.bot
    may_not_raise = bot is not None and (
        situation.now_us < bot.breaker_open_until_us
        or situation.market_state is not TradingState.ACTIVE
        or situation.score is None
        or not situation.score <= POLICY.breaker_threshold
        or (bot.trading_state is TradingState.REDUCING and not situation.score <= POLICY.breaker_reset)
    )
    stopped = (
        situation.policy is None
        or bot is None
        or not situation.authenticated
        or situation.identity != ()
        or bot.revoked_at_us is not None
        or (
            is_entering(order)
            and (
                situation.kill is not None
                or bot.kill_command is not None
                or bot.trading_state is TradingState.HALTED
                or bot.throttle_tripped_at > 0
                or bot.suspended_at_us is not None
                or situation.market_state is TradingState.HALTED
                or not situation.reference_live
                or situation.score is None
                or not situation.score <= POLICY.kill_threshold
                or (may_not_raise and not reduces(order, situation.exposure))
            )
        )
    )
    assert not (stopped and decision.approved)


# Sequences of one bot's messages.


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 40) | st.integers(0, 1500), max_size=120),
    st.integers(1, 12),
    st.integers(0, RATE_BUCKET_US - 1),
)
def test_the_rate_is_never_exceeded_in_any_second(gaps_ms: list[int], limit: int, phase_us: int) -> None:
    desk = Desk(make_policy(("risk_controls.message_rate_max_per_s", limit), *ALWAYS_OPEN))
    at_us, passed = NOON + phase_us, []
    for number, gap_ms in enumerate(gaps_ms):
        at_us += gap_ms * MS_US
        if desk.send(
            make_order(cl_ord_id=f"r-{number}", transact_time_us=at_us, order_qty_e17=qty("0.001")), at_us
        ).approved:
            passed.append(at_us)
        if number % 7 == 0:
            desk.bot = BotState.from_row(json.loads(json.dumps(desk.bot.to_row())))
    for place, end_us in enumerate(passed):
        assert sum(1 for one_us in passed[: place + 1] if one_us > end_us - S_US) <= limit


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30) | st.integers(0, 300), max_size=80), st.integers(0, 20))
def test_the_rate_counter_equals_a_count_of_buckets(gaps: list[int], ahead: int) -> None:
    counter, bucket, counts = RateCounter(), 0, Counter[int]()
    for gap in gaps:
        bucket += gap
        counter.add(bucket * RATE_BUCKET_US + gap)
        counts[bucket] += 1
        expected = sum(counts[bucket + ahead - back] for back in range(11))
        assert counter.count_at((bucket + ahead) * RATE_BUCKET_US) == expected


STEPS = st.tuples(
    st.sampled_from(["new", "replace", "market", "cancel", "forged", "elsewhere", "restart"]),
    st.integers(1, 90_000),
    st.integers(-2_000, 4_000_000),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(1, 5))
def test_the_days_value_is_never_exceeded_by_any_interleaving(steps: list[tuple[str, int, int]], cap: int) -> None:
    cap_e5 = eur(str(cap * 20_000))
    desk = Desk(make_policy(("scope.max_daily_value_eur", str(cap * 20_000)), *ALWAYS_OPEN))
    at_us = us("2026-06-03T20:00:00+00:00")
    spent: Counter[int] = Counter()
    for number, (kind, lots, gap_ms) in enumerate(steps):
        at_us += gap_ms * MS_US
        if kind == "restart":
            desk.bot = BotState.from_row(json.loads(json.dumps(desk.bot.to_row())))
            continue
        received_us = desk.bot.received_at(at_us)
        order = make_order(cl_ord_id=f"d-{number}", order_qty_e17=lots * qty("0.00001"), transact_time_us=received_us)
        if kind in {"replace", "cancel"}:
            msg_type = MsgType.ORDER_CANCEL_REQUEST if kind == "cancel" else MsgType.ORDER_CANCEL_REPLACE_REQUEST
            order = replace(order, msg_type=msg_type, orig_cl_ord_id="d-0")
        if kind == "market":
            order = replace(order, ord_type=OrdType.MARKET, price_e13=None)
        if kind == "elsewhere":
            order = replace(order, region="mars")
        decision = desk.send(order, at_us, authenticated=kind != "forged")
        if decision.approved and kind != "cancel":
            assert decision.value_e5 is not None
            spent[day_start_us(received_us)] += decision.value_e5
    assert all(value <= cap_e5 for value in spent.values())
    assert {day: value for day, value in desk.daily_value_e5.items() if value} == dict(spent)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30_000), max_size=80), st.integers(1, 5), st.booleans())
def test_the_throttle_never_lets_more_than_its_number_through_a_window(
    gaps_ms: list[int],
    limit: int,
    released: bool,  # noqa: FBT001
) -> None:
    desk = Desk(make_policy(("risk_controls.execution_max", limit), *ALWAYS_OPEN))
    at_us, windows = NOON, Counter[int]()
    tripped = False
    for number, gap_ms in enumerate(gaps_ms):
        at_us += gap_ms * MS_US
        decision = desk.send(
            make_order(cl_ord_id=f"t-{number}", transact_time_us=at_us, order_qty_e17=qty("0.001")), at_us
        )
        assert not (tripped and decision.approved)
        windows[at_us // (60 * S_US)] += decision.approved
        tripped = decision.reason is Reason.EXECUTION_THROTTLE_TRIPPED
        if tripped and released:
            desk.bot.release()
            tripped = False
    assert all(count <= limit for count in windows.values())
