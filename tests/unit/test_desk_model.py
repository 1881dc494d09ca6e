"""The desk's read model: facts in, one picture out."""

from __future__ import annotations

import pytest

from streams.desk.bots import HISTORY_STEPS, usages
from streams.desk.lanes import SILENT_US, STALLED_US, Lane, Pulse
from streams.wire.commands import Action, Scope
from tests.desk_world import S_US, START_US, World


def used(world: World, agent_id: str) -> dict[str, tuple[str, str, float]]:
    found = usages(world.desk.bots[agent_id], world.now_us)
    return {usage.name: (usage.used, usage.limit, usage.share) for usage in found}


def holds(world: World) -> list[tuple[str, bool]]:
    return [(kill.command.target, kill.complete) for kill in world.desk.stops.in_force]


def test_every_limit_of_the_policy_is_shown_with_its_use() -> None:
    world = World()
    world.registered("bot-a")
    for _ in range(3):
        world.decided("bot-a", value_e5=200_00000, daily_e5=500_000_00000)
    world.decided("bot-a", "MAX_ORDER_VALUE_EXCEEDED", value_e5=900_000_00000, daily_e5=500_000_00000)
    shown = used(world, "bot-a")
    assert shown["Approved value today"] == ("500000", "1000000", 0.5)
    assert shown["Largest order"] == ("200", "50000", 0.004)
    assert shown["Messages in a second"][0] == "4"
    assert shown["Approvals in 60 s"][0] == "3"
    assert shown["Failures in a row"][:2] == ("1", "3")
    assert shown["Largest quantity BTC_USDT"][0] == "0.1"
    assert set(shown) >= {"Score against breaker", "Score against halt", "Largest quantity ETH_USDT"}


def test_yesterdays_value_is_no_use_of_todays_limit() -> None:
    world = World()
    world.registered("bot-a")
    world.decided("bot-a")
    world.now_us += 86_400 * S_US
    assert used(world, "bot-a")["Approved value today"][0] == "0"
    assert world.desk.bots["bot-a"].daily_share(world.now_us) == 0


def test_a_value_that_the_desk_has_not_seen_is_unknown_and_not_nothing() -> None:
    world = World()
    world.registered("bot-a")
    assert world.desk.bots["bot-a"].daily_share(world.now_us) is None


def test_an_event_that_comes_twice_counts_once() -> None:
    world = World()
    fact = world.decided("bot-a")
    world.desk.on_event(fact, world.now_us)
    assert world.desk.bots["bot-a"].approved == 1
    assert world.desk.pulse.approved == 1


def test_scores_are_kept_as_the_highest_of_each_step_and_forgotten_after_five_minutes() -> None:
    world = World()
    world.decided("bot-a", score=0.2)
    world.decided("bot-a", score=0.9)
    world.decided("bot-a", score=0.3)
    history = world.desk.bots["bot-a"].history
    assert [score for _, score in history] == [0.9]
    for _ in range(HISTORY_STEPS + 5):
        world.now_us += 5 * S_US
        world.decided("bot-a", score=0.1)
    assert len(history) == HISTORY_STEPS
    assert max(score for _, score in history) == 0.1


def test_a_state_change_is_shown_with_its_cause_and_a_later_topic_record_does_not_undo_it() -> None:
    world = World()
    until = world.now_us + 60 * S_US
    before_us = world.now_us
    world.changed("bot-a", "REDUCING", open_until_us=until)
    bot = world.desk.bots["bot-a"]
    assert (bot.state, bot.state_by, bot.open_until_us) == ("REDUCING", "anomaly-agent", until)
    older = {"scope": "BOT", "target": "bot-a", "state": "ACTIVE", "reason": "NONE", "issued_by": "cfo@acme"}
    world.desk.on_breaker(older | {"event_time": before_us, "score": None, "features": {}})
    assert bot.state == "REDUCING"


def test_open_orders_end_with_the_venues_last_report() -> None:
    world = World()
    order = world.decided("bot-a")
    world.executed(order, "PARTIAL_FILL")
    assert len(world.desk.bots["bot-a"].open_orders) == 1
    world.executed(order)
    assert not world.desk.bots["bot-a"].open_orders
    (known,) = (known for _, known in world.desk.find_orders(order.cl_ord_id))
    assert len(known.executed) == 2


def test_a_kill_is_followed_to_its_last_lane_and_what_it_refused_is_counted() -> None:
    world = World()
    world.registered("bot-a", "bot-b")
    world.decided("bot-a")
    order = world.decided("bot-b", lane=1)
    kill = world.command(Action.KILL, Scope.ALL)
    followed = world.desk.stops.followed[kill.command_id]
    assert (followed.wanted, followed.open_before, holds(world)) == (2, 2, [])
    world.answered(kill, 0)
    assert holds(world) == [("", False)]
    world.decided("bot-a", "KILL_SWITCH_ENGAGED")
    world.decided("bot-b", lane=1)  # lane 1 has not heard of it
    assert (followed.refused, followed.approved) == (1, 0)
    answer = world.answered(kill, 1)
    assert holds(world) == [("", True)]
    assert followed.effect_us == answer.place.at_us - kill.issued_at_us
    world.decided("bot-b", "KILL_SWITCH_ENGAGED", lane=1)
    world.executed(order, "CANCELED")
    assert (followed.refused, followed.approved, followed.cancelled) == (2, 0, 1)


def test_an_approval_after_a_kill_is_in_force_would_be_seen() -> None:
    world = World()
    world.registered("bot-a")
    kill = world.command(Action.KILL, Scope.BOT, "bot-a")
    world.answered(kill)
    world.decided("bot-a")
    assert world.desk.stops.followed[kill.command_id].approved == 1


@pytest.mark.parametrize(
    ("scope", "target", "hits"),
    [
        (Scope.BOT, "bot-a", 1),
        (Scope.MARKET, "BTC_USDT", 2),
        (Scope.OPERATOR, "acme_trading_ltd", 1),
        (Scope.ALL, "", 3),
    ],
)
def test_a_kill_counts_in_its_scope_alone(scope: Scope, target: str, hits: int) -> None:
    world = World()
    world.registered("bot-a")
    world.registered("bot-b", "bot-c", operator="other_ltd")
    kill = world.command(Action.KILL, scope, target)
    world.answered(kill)
    world.decided("bot-a", "KILL_SWITCH_ENGAGED")
    world.decided("bot-b", "KILL_SWITCH_ENGAGED")
    world.decided("bot-c", "KILL_SWITCH_ENGAGED", symbol="ETH_USDT")
    assert world.desk.stops.followed[kill.command_id].refused == hits


def test_a_release_lifts_the_kills_of_its_scope_and_names_who_gave_it() -> None:
    world = World()
    world.registered("bot-a")
    kill = world.command(Action.KILL, Scope.BOT, "bot-a")
    world.answered(kill)
    other = world.command(Action.KILL, Scope.MARKET, "BTC_USDT")
    world.answered(other, 0)
    refused = world.command(Action.RELEASE, Scope.BOT, "bot-a")
    world.answered(refused, applied=False, text="somebody else must release")
    assert [f.command.target for f in world.desk.stops.in_force] == ["BTC_USDT", "bot-a"]
    assert world.desk.bots["bot-a"].state == "HALTED"
    release = world.command(Action.RELEASE, Scope.BOT, "bot-a", by="ceo@acme")
    world.answered(release)
    assert [f.command.target for f in world.desk.stops.in_force] == ["BTC_USDT"]
    assert world.desk.stops.followed[kill.command_id].lifted_by == "ceo@acme"
    assert world.desk.bots["bot-a"].state == "ACTIVE"


def test_an_acknowledgement_marks_what_was_raised_before_it_in_its_scope() -> None:
    world = World()
    world.registered("bot-a", "bot-b")
    mine, others = world.alert("BREAKER_HALTED", "bot-a"), world.alert("BREAKER_HALTED", "bot-b")
    seen = world.command(Action.ACKNOWLEDGE, Scope.BOT, "bot-a")
    late = world.alert("BREAKER_HALTED", "bot-a", message="again")
    world.answered(seen)
    alerts = world.desk.alerts.by_id
    assert [alerts[key].acknowledged_by for key in (mine, others, late)] == ["cfo@acme", "", ""]


def test_lanes_that_tell_of_one_cause_make_one_alert() -> None:
    world = World()
    record = {"severity": "CRITICAL", "kind": "COMMAND_KILL", "agent_id": "", "symbol": "", "message": "all stopped"}
    for lane in range(2):
        world.desk.on_alert(record | {"alert_id": f"{lane}-7", "raised_at": START_US + lane, "cause_time": START_US})
    assert list(world.desk.alerts.by_id) == ["0-7"]


def test_a_lane_whose_orders_wait_without_a_decision_is_stalled_until_one_comes() -> None:
    lane = Lane(0)
    lane.on_ends(100, 200, START_US)
    assert (lane.waiting, lane.stalled_us(START_US + 10 * S_US)) == (0, 0)
    lane.on_ends(105, 200, START_US + S_US)
    assert lane.waiting == 5
    late_us = START_US + STALLED_US + S_US
    assert lane.stalled_us(late_us) == late_us - START_US
    lane.on_request_answered(102, late_us)
    assert (lane.waiting, lane.stalled_us(late_us + S_US)) == (2, 0)


def test_silence_of_the_cluster_is_told_with_its_age() -> None:
    pulse = Pulse(began_us=START_US)
    pulse.answered_us = START_US + S_US
    assert pulse.silent_us(START_US + 2 * S_US) == 0
    assert pulse.silent_us(START_US + S_US + SILENT_US + 1) == SILENT_US + 1
