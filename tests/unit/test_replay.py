from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streams.core.policy import Policy, parse_policy
from streams.core.reasons import Reason
from streams.names import Topic
from streams.replay.course import Course, Retried
from streams.replay.history import FileHistory, HistoryError, write_leaf
from streams.replay.tally import Tally
from streams.replay.trying import try_on
from streams.sim.bots import plan
from streams.sim.signing import to_wire
from streams.wire.commands import Action, Scope
from tests.sim_world import PARTITIONS, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a world in which all habits traded, a bot was killed and released, and another revoked."""
    made = World(tmp_path_factory.mktemp("pki"))
    made.prices()
    made.register_all()
    made.run(500)
    made.command(Action.KILL, Scope.BOT, "taker-01", "ceo@acme")
    made.command(Action.KILL, Scope.MARKET, "ETH_USDT", "cfo@acme")
    made.run(160, seed=2)
    made.command(Action.RELEASE, Scope.BOT, "taker-01", "cfo@acme")
    made.command(Action.RELEASE, Scope.MARKET, "ETH_USDT", "ceo@acme")
    made.run(160, seed=3)
    made.now_us += 120_000_000  # prices are stale now
    for message in plan(made.ticks, made.bots, 60, 4, markets=made.markets):
        made.send(to_wire(message, made.keys, made.now_us))
    made.decide()
    return made


def leaves(world: World, lane: int) -> list[bytes]:
    return [r.value or b"" for r in world.records if r.topic == Topic.AUDIT_EVENTS and r.partition == lane]


def tried(world: World, policy: Policy, *, every: bool = False) -> list[Retried]:
    found = []
    for lane in range(PARTITIONS):
        course, marker = Course(policy, every=every), policy.agent_id.encode()
        own = (leaf for leaf in leaves(world, lane) if every or marker in leaf[:60])
        found += [retried for leaf in own if (retried := course.take(leaf)) is not None]
    return found


def policy_of(world: World, agent_id: str, **changes: object) -> Policy:
    return replace(parse_policy(world.documents[agent_id]), **changes)  # type: ignore[arg-type]


def test_the_policy_that_was_in_force_changes_nothing(world: World) -> None:
    reasons: set[Reason] = set()
    for agent_id in world.documents:
        again = tried(world, policy_of(world, agent_id))
        assert again
        assert [(r.cl_ord_id, r.before.reason, r.after.reason) for r in again if r.changed] == []
        assert [r.after.failures for r in again if not r.estimated] == [
            r.before.failures for r in again if not r.estimated
        ]
        reasons |= {failure.reason for retried in again for failure in retried.before.failures}
    # Or it would show little: what the log gave, and what was worked out anew.
    assert reasons >= {
        *(Reason.SIGNATURE_INVALID, Reason.CERTIFICATE_REVOKED, Reason.KILL_SWITCH_ENGAGED, Reason.TRADING_HALTED),
        *(Reason.CIRCUIT_BREAKER_ACTIVE, Reason.DAILY_VALUE_LIMIT_EXCEEDED, Reason.DUPLICATE_ORDER, Reason.STALE_ORDER),
        *(Reason.EXECUTION_THROTTLE_TRIPPED, Reason.INVALID_QUANTITY, Reason.PRICE_COLLAR_EXCEEDED),
        *(Reason.MAX_ORDER_VALUE_EXCEEDED, Reason.REFERENCE_PRICE_UNAVAILABLE, Reason.MESSAGE_RATE_EXCEEDED),
    }


def test_a_lower_limit_refuses_what_is_above_it_and_nothing_else(world: World) -> None:
    values = sorted(r.after.value_e5 or 0 for r in tried(world, policy_of(world, "maker-01")) if r.after.approved)
    limit_e5 = values[len(values) // 2]
    policy = policy_of(world, "maker-01", max_order_value_e5=limit_e5, max_consecutive_failures=10**9)
    again = tried(world, policy)
    changed = [retried for retried in again if retried.changed]
    assert changed
    for retried in again:
        assert retried.agent_id == "maker-01"
        too_much = retried.before.order_value_e5 is not None and retried.before.order_value_e5 > limit_e5
        assert retried.changed is (too_much and retried.before.approved), retried


def test_verdicts_lead_on_to_others(world: World) -> None:
    """A bot that would have been halted sooner is refused for that ever after."""
    policy = policy_of(world, "oversized-01", max_consecutive_failures=1)
    again = tried(world, policy)
    first = next(place for place, r in enumerate(again) if r.after.reason is Reason.MAX_ORDER_VALUE_EXCEEDED)
    later = {retried.after.reason for retried in again[first + 1 :]}
    assert later <= {Reason.TRADING_HALTED, Reason.SIGNATURE_INVALID, Reason.KILL_SWITCH_ENGAGED}
    assert Reason.TRADING_HALTED in later


def test_what_the_log_does_not_value_is_estimated_and_said(world: World) -> None:
    bot = next(r.agent_id for a in world.documents for r in tried(world, policy_of(world, a)) if r.estimated)
    again = tried(world, policy_of(world, bot, reference_max_age_ms=86_400_000, max_order_age_ms=86_400_000))
    freed = [r for r in again if r.changed and r.before.reason is Reason.REFERENCE_PRICE_UNAVAILABLE]
    assert freed
    assert all(retried.estimated and retried.after.value_e5 for retried in freed)


def test_everybody_may_be_tried_and_strangers_stay_refused(world: World) -> None:
    again = tried(world, policy_of(world, "maker-01"), every=True)
    orders = [r for r in world.records if r.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
    assert len(again) == len(orders)
    strangers = [retried for retried in again if retried.before.policy_sha256 is None]
    assert strangers
    assert not any(retried.changed for retried in strangers)


def test_lanes_are_counted_together(world: World, tmp_path: Path) -> None:
    history = FileHistory(tmp_path, parallel=False)
    policy = policy_of(world, "maker-01", max_order_value_e5=1)
    with pytest.raises(HistoryError, match="no log"):
        try_on(history, "a folder", policy, every=False, orders=None)
    for lane in range(PARTITIONS):
        history.path(lane).write_bytes(b"".join(map(write_leaf, leaves(world, lane))))
    trial = try_on(history, "a folder", policy, every=True, orders=None)
    expected = Tally()
    for retried in tried(world, policy, every=True):
        expected.add(0, retried)
    assert trial.tally.changes == expected.changes
    assert trial.tally.bots == expected.bots
    result = json.loads(json.dumps(trial.as_dict()))
    assert result["orders"] == expected.orders
    assert result["changed"] == sum(row["orders"] for row in result["changes"]) > 0
    assert try_on(history, "a folder", policy, every=True, orders=101).tally.orders == 101
    history.path(0).write_bytes(write_leaf(leaves(world, 0)[0])[:-1])
    with pytest.raises(HistoryError, match="ends within a leaf"):
        try_on(history, "a folder", policy, every=True, orders=None)
