"""The plan of a chaos run follows from its seed alone, and few rounds show what matters."""

from hypothesis import given
from hypothesis import strategies as st

from streams.rig.faults import Fault, plan_rounds

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.integers(1, 40), st.integers(0, 40))
def test_a_seed_plans_the_same_rounds_however_many(seed: int, count: int, more: int) -> None:
    assert plan_rounds(seed, count + more)[:count] == plan_rounds(seed, count)


def test_seeds_differ() -> None:
    assert plan_rounds(1, 3) != plan_rounds(2, 3)


@given(SEEDS)
def test_three_rounds_kill_a_worker_and_the_broker_and_make_a_worker_join(seed: int) -> None:
    firsts = set().union(*(planned.faults for planned in plan_rounds(seed, 3)))
    assert {Fault.KILL_WORKER, Fault.KILL_BROKER, Fault.JOIN_THEN_STOP} <= firsts


@given(SEEDS)
def test_ten_rounds_show_everything_that_can_happen_to_workers_and_brokers(seed: int) -> None:
    happened = set().union(*(planned.faults for planned in plan_rounds(seed, 10)))
    assert happened >= set(Fault) - {Fault.KILL_WAREHOUSE, Fault.STOP_WAREHOUSE, Fault.REPLACE_WORKER}


@given(SEEDS)
def test_workers_may_end_themselves_only_where_they_or_the_broker_were_away(seed: int) -> None:
    away = {Fault.KILL_BROKER, Fault.FREEZE_BROKER, Fault.FREEZE_WORKER}
    for planned in plan_rounds(seed, 20):
        assert planned.upsets == bool(planned.faults & away)


@given(SEEDS)
def test_steps_come_in_order_within_two_seconds_and_one_worker_joins_at_most(seed: int) -> None:
    for planned in plan_rounds(seed, 30):
        times = [step.at_s for step in planned.steps]
        assert times == sorted(times)
        assert all(0 <= at_s <= 2 for at_s in times)
        joins = [step for step in planned.steps if step.fault in (Fault.JOIN_THEN_KILL, Fault.JOIN_THEN_STOP)]
        assert len(joins) <= 1
        assert all(step.lasts_s <= 9 for step in planned.steps)


def test_a_round_says_what_it_does() -> None:
    text = str(plan_rounds(1, 1)[0])
    assert text.startswith("round 1: at ")
    assert " s: " in text


@given(SEEDS, st.sampled_from(list(Fault)), st.integers(1, 9))
def test_one_fault_alone_meets_one_after_the_other(seed: int, fault: Fault, count: int) -> None:
    rounds = plan_rounds(seed, count, fault)
    assert [[(step.fault, step.target) for step in planned.steps] for planned in rounds] == [
        [(fault, number)] for number in range(count)
    ]
