"""The bots: reproducible plans, sound orders from good bots, every misdeed from the others."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from streams.core.orders import MsgType, OrdType, parse_decimal
from streams.core.policy import Policy, parse_policy
from streams.sim.bots import PlannedMessage, plan, revocations
from streams.sim.fleet import GOOD_HABITS, REGION, Habit, fleet, policies
from streams.sim.markets import VENUE_MIC, MarketError, markets_of
from streams.sim.mischief import Recipe
from streams.sim.tape import Tick
from tests.ticks import bundled_ticks

TICKS = bundled_ticks()
MARKETS = markets_of(TICKS)
NOW = datetime(2026, 3, 7, 22, 30, tzinfo=UTC)  # a Saturday, late
BOTS = fleet()
POLICIES = {agent: parse_policy(document) for agent, document in policies(BOTS, MARKETS, NOW).items()}
PLAN = tuple(plan(TICKS, BOTS, 3_000, 7))


def of(habit: Habit, messages: tuple[PlannedMessage, ...] = PLAN) -> list[PlannedMessage]:
    return [m for m in messages if m.habit is habit]


def price_e13(message: PlannedMessage) -> int:
    last = next(t for t in reversed(TICKS[: message.tick_index + 1]) if t.symbol in {message.order.symbol, "BTC_USDT"})
    return message.order.price_e13 or last.price_e13


def value_eur(message: PlannedMessage) -> float:
    market = MARKETS[message.order.symbol]
    return message.order.order_qty_e17 / 1e17 * price_e13(message) / 1e13 * market.eur_rate_e13 / 1e13


def breaks(message: PlannedMessage, policy: Policy) -> bool:
    order = message.order
    market = MARKETS.get(order.symbol)
    if market is None or order.order_qty_e17 <= 0 or (order.price_e13 is None) == (order.ord_type is OrdType.LIMIT):
        return True
    reference = next(t for t in reversed(TICKS[: message.tick_index + 1]) if t.symbol == order.symbol).price_e13
    return (
        order.symbol not in policy.allowed_markets
        or order.region not in policy.allowed_regions
        or order.ex_destination not in policy.allowed_venues
        or order.order_qty_e17 > policy.max_order_qty_e17[order.symbol]
        or order.order_qty_e17 % market.lot_size_e17 != 0
        or (order.price_e13 or 0) % market.tick_size_e13 != 0
        or value_eur(message) * 1e5 > policy.max_order_value_e5
        or abs((order.price_e13 or reference) - reference) * 10_000 > policy.price_collar_bps * reference
    )


def test_the_same_arguments_give_the_same_plan() -> None:
    assert tuple(plan(TICKS, BOTS, 3_000, 7)) == PLAN
    other = tuple(plan(TICKS, BOTS, 3_000, 8))
    assert other != PLAN
    assert not {m.order.cl_ord_id for m in other} & {m.order.cl_ord_id for m in PLAN}


@pytest.mark.parametrize("total", [0, 1, 19, 500, 20_000])
def test_a_plan_has_the_wanted_size_and_runs_along_the_tape(total: int) -> None:
    messages = list(plan(TICKS, BOTS, total, 1))
    assert [m.number for m in messages] == list(range(total))
    assert [m.tick_index for m in messages] == [n * len(TICKS) // total for n in range(total)]


def test_twenty_bots_show_every_habit_and_every_recipe() -> None:
    assert {bot.habit for bot in BOTS} == set(Habit)
    assert {m.habit for m in PLAN} == set(Habit)
    assert {m.recipe for m in PLAN} == set(Recipe)
    good = sum(m.habit in GOOD_HABITS for m in PLAN)
    assert 0.55 * len(PLAN) < good < 0.75 * len(PLAN)


def test_a_fleet_of_any_size_keeps_the_proportions() -> None:
    habits = Counter(bot.habit for bot in fleet(200))
    assert set(habits.values()) == {10}
    assert len({bot.agent_id for bot in fleet(200)}) == 200
    assert {bot.habit for bot in fleet(30, GOOD_HABITS)} == set(GOOD_HABITS)
    few = fleet(4)
    assert {m.habit for m in plan(TICKS, few, 100, 1)} == {bot.habit for bot in few}


@pytest.mark.parametrize("habit", GOOD_HABITS)
def test_good_bots_keep_to_their_policies(habit: Habit) -> None:
    messages = of(habit)
    assert len(messages) > 300
    for message in messages:
        policy = POLICIES[message.order.agent_id]
        assert message.recipe is Recipe.SIGNED
        assert message.key == message.order.agent_id
        assert message.age_us == 0
        assert not breaks(message, policy), message
        cancels = message.order.msg_type is not MsgType.NEW_ORDER_SINGLE
        assert (message.order.orig_cl_ord_id is not None) is cancels
    assert len({m.order.cl_ord_id for m in messages}) == len(messages)


def test_good_bots_stay_far_below_their_days_value() -> None:
    for habit in GOOD_HABITS:
        total = sum(value_eur(m) for m in of(habit))
        assert total * 1e5 * 100 < POLICIES[of(habit)[0].order.agent_id].max_daily_value_e5


def test_makers_cancel_and_replace_their_own_orders() -> None:
    sent: set[str | None] = set()
    kinds: Counter[MsgType] = Counter()
    for message in of(Habit.MAKER):
        kinds[message.order.msg_type] += 1
        assert message.order.orig_cl_ord_id is None or message.order.orig_cl_ord_id in sent
        sent.add(message.order.cl_ord_id)
    assert min(kinds[kind] for kind in MsgType) > 10


@pytest.mark.parametrize(
    "habit", [Habit.OVERSIZED, Habit.WRONG_MARKET, Habit.WRONG_PLACE, Habit.OFF_GRID, Habit.FAT_FINGER, Habit.RUNAWAY]
)
def test_bad_bots_break_their_policies_now_and_then(habit: Habit) -> None:
    broken = [breaks(m, POLICIES[m.order.agent_id]) for m in of(habit)]
    assert any(broken)
    assert not all(broken)


def test_each_misdeed_is_what_its_habit_says() -> None:
    ids = [m.order.cl_ord_id for m in of(Habit.REPEATER)]
    assert len(set(ids)) < len(ids)
    assert {m.recipe for m in of(Habit.FORGER)} == {Recipe.SIGNED, Recipe.FORGED, Recipe.UNSIGNED}
    corrupt = of(Habit.CORRUPT)
    assert any(m.recipe is Recipe.GARBAGE and m.payload for m in corrupt)
    assert all(m.key != m.order.agent_id for m in corrupt if m.recipe is Recipe.WRONG_KEY)
    day_us = 86_400_000_000
    assert {(m.age_us > day_us, m.age_us < -day_us) for m in of(Habit.STALE)} == {
        (True, False),
        (False, True),
        (False, False),
    }
    places = {(m.order.region == REGION, m.order.ex_destination == VENUE_MIC) for m in of(Habit.WRONG_PLACE)}
    assert places == {(True, True), (True, False), (False, True)}
    assert {m.order.symbol for m in of(Habit.WRONG_MARKET)} >= {"XMR_USDT", "DOGE_USDT"}
    assert sum(value_eur(m) for m in of(Habit.CAP_EXHAUSTER)) * 1e5 > POLICIES["cap-exhauster-01"].max_daily_value_e5
    assert len(of(Habit.OVERTRADER)) > POLICIES["overtrader-01"].execution_max


def test_the_runaway_sends_a_burst_in_one_piece() -> None:
    numbers = [m.number for m in of(Habit.RUNAWAY) if value_eur(m) > 10_000]
    assert numbers == list(range(numbers[0], numbers[0] + 180))
    assert len(numbers) > POLICIES["runaway-01"].message_rate_max_per_s


def test_revocations_come_at_half_of_the_plan() -> None:
    (revocation,) = revocations(BOTS, 3_000)
    numbers = [m.number for m in of(Habit.REVOKED)]
    assert revocation.agent_id == of(Habit.REVOKED)[0].order.agent_id
    assert min(numbers) < revocation.after_number < max(numbers)


@pytest.mark.parametrize("hour", range(24))
def test_policies_are_open_for_all_but_the_off_hours_bot(hour: int) -> None:
    now = NOW.replace(hour=hour, minute=59)
    now_us = int(now.timestamp()) * 1_000_000
    for agent_id, document in policies(BOTS, MARKETS, now).items():
        policy = parse_policy(document)
        assert policy.agent_id == agent_id
        assert policy.valid_from_us <= now_us < policy.valid_until_us
        closed = any(not policy.trading_hours.is_open(now_us + h * 3_600_000_000) for h in range(5))
        opened = any(policy.trading_hours.is_open(now_us + h * 3_600_000_000) for h in range(5))
        assert (closed, opened) == ((True, False) if agent_id.startswith("off-hours") else (False, True))
    assert "unknown-01" not in policies(BOTS, MARKETS, now)


def test_a_days_age_is_allowed_for_orders_signed_beforehand() -> None:
    documents = policies(BOTS, MARKETS, NOW, max_order_age_ms=86_400_000)
    assert {parse_policy(d).max_order_age_ms for d in documents.values()} == {86_400_000}


def tick(symbol: str, price: str, qty: str) -> Tick:
    return Tick(1_000_000, symbol, parse_decimal(price, 13), parse_decimal(qty, 17), TICKS[0].aggressor)


def test_a_markets_steps_are_the_finest_of_its_tape() -> None:
    btc = MARKETS["BTC_USDT"]
    assert (btc.tick_size_e13, btc.lot_size_e17) == (10**11, 10**12)
    assert btc.reference(5 * 10**13, 9).price_e13 == 5 * 10**13
    coins = markets_of([tick("APPC_BTC", "0.00000136", "335"), tick("APPC_BTC", "0.0000014", "0.5")])["APPC_BTC"]
    assert (coins.tick_size_e13, coins.lot_size_e17) == (10**5, 10**16)
    few = markets_of([tick("ABC_USDT", "3", "1000")])["ABC_USDT"]
    assert (few.tick_size_e13, few.lot_size_e17) == (10**11, 10**16)
    assert few.qty_for_eur(100, few.first_price_e13) == 363 * 10**16
    assert few.on_tick(1) == few.tick_size_e13


def test_a_market_without_an_eur_rate_is_refused() -> None:
    with pytest.raises(MarketError, match="ABC_XYZ: no EUR rate for XYZ"):
        markets_of([tick("ABC_XYZ", "3", "1")])
