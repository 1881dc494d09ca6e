"""What each role is shown, and above all what it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.core.incident import Cause, Duty, DutyState, Incident
from streams.desk.deltas import delta, encode, snapshot, take_changes
from streams.desk.people import MAY, DeskRole, Identity, Method, NotAllowedError, View
from streams.desk.views import ALERT_FIELDS, BOT_FIELDS
from streams.wire.commands import Action, Scope
from tests.desk_world import OPERATOR, World

RISK = View(DeskRole.RISK)
MINE = View(DeskRole.OPERATOR, OPERATOR)


def told(world: World, view: View) -> str:
    return encode(snapshot(world.desk, view, world.now_us))


def identity(role: DeskRole, operator: str = "") -> Identity:
    return Identity("somebody@acme", role, operator, Method.PASSWORD)


def test_a_row_has_a_value_for_each_field() -> None:
    world = World()
    world.registered("bot-a")
    world.alert("BREAKER_HALTED", "bot-a")
    message = json.loads(told(world, RISK))
    assert [len(row) for row in message["bots"]] == [len(BOT_FIELDS)]
    assert [len(row) for row in message["alerts"]] == [len(ALERT_FIELDS)]


def test_an_operator_sees_its_own_bots_only() -> None:
    world = World()
    world.registered("bot-a")
    world.registered("bot-x", operator="other_ltd")
    world.decided("bot-x")
    world.decided("stranger", "ALGO_NOT_AUTHORISED")
    assert "bot-x" in told(world, RISK)
    assert "stranger" in told(world, RISK)
    mine = told(world, MINE)
    assert "bot-a" in mine
    assert "bot-x" not in mine
    assert "stranger" not in mine
    assert "bot-a" not in told(world, View(DeskRole.OPERATOR))  # an operator without a name owns nothing


@pytest.mark.parametrize("kind", ["MARKET_ABUSE_SUSPECTED", "SURVEILLANCE_WASH_TRADE", "STOR_DRAFTED", "ANYTHING_NEW"])
def test_nothing_of_an_investigation_reaches_the_suspects_operator(kind: str) -> None:
    world = World()
    world.registered("bot-a")
    world.alert(kind, "bot-a", message="layering since 14:02")
    take_changes(world.desk)
    world.alert(kind, "bot-a", message="layering again")
    changes = take_changes(world.desk)
    assert kind in told(world, View(DeskRole.COMPLIANCE))
    later = encode(delta(world.desk, MINE, changes, 0, world.now_us))
    for text in (told(world, MINE), later):
        assert kind not in text
        assert "layering" not in text


def test_an_operator_is_told_that_it_is_stopped_but_not_why() -> None:
    world = World()
    world.registered("bot-a")
    kill = world.command(Action.KILL, Scope.BOT, "bot-a")
    world.answered(kill, text="stopped: a drill")
    world.alert("COMMAND_KILL", "bot-a", message="cfo@acme: KILL (a drill)")
    assert "a drill" in told(world, RISK)
    mine = json.loads(told(world, MINE))
    assert mine["commands"][0]["inForce"]
    assert [alert[ALERT_FIELDS.index("kind")] for alert in mine["alerts"]] == ["COMMAND_KILL"]
    assert "a drill" not in json.dumps(mine)


def test_an_incident_is_shown_with_its_running_deadlines_but_not_to_an_operator() -> None:
    world = World()
    world.registered("bot-a")
    duties = (DutyState(Duty.POST_INCIDENT_AUDIT, world.now_us + 86_400_000_000),)
    fields: dict[str, Any] = {
        "score": 0.9,
        "opened_us": world.now_us,
        "partition": 0,
        "log_index": 7,
        "changed_us": world.now_us,
    }
    world.desk.on_incident(Incident("0-7", "BOT", "bot-a", Cause.SCORE_ABOVE_KILL, duties=duties, **fields))
    changes = take_changes(world.desk)
    for message in (snapshot(world.desk, RISK, world.now_us), delta(world.desk, RISK, changes, 1, world.now_us)):
        (row,) = message["incidents"]
        assert (row["title"], row["closed"]) == ("BOT bot-a", False)
        assert row["deadlines"] == [["POST_INCIDENT_AUDIT", duties[0].due_us // 1000, 0, ""]]
    assert "0-7" not in told(world, MINE)
    assert "incidents" not in delta(world.desk, MINE, changes, 1, world.now_us)


def test_a_delta_holds_what_changed_and_nothing_else() -> None:
    world = World()
    world.registered("bot-a", "bot-b")
    take_changes(world.desk)
    world.decided("bot-b")
    changes = take_changes(world.desk)
    message = delta(world.desk, RISK, changes, 1, world.now_us)
    assert [row[0] for row in message["bots"]] == ["bot-b"]
    assert message.keys() == {"now", "bots"}
    assert take_changes(world.desk).bots == frozenset()


def test_how_much_others_trade_is_not_in_an_operators_head() -> None:
    world = World()
    world.decided("bot-x")
    assert json.loads(told(world, RISK))["head"]["approved"] == 1
    assert "approved" not in json.loads(told(world, MINE))["head"]


@pytest.mark.parametrize("role", [DeskRole.VIEWER, DeskRole.REGULATOR])
@pytest.mark.parametrize("action", list(Action))
def test_who_only_looks_may_give_no_command(role: DeskRole, action: Action) -> None:
    with pytest.raises(NotAllowedError, match=str(role)):
        identity(role).require(action, Scope.ALL, "")


def test_an_operator_may_stop_its_own_bots_one_by_one() -> None:
    own = identity(DeskRole.OPERATOR, OPERATOR)
    own.require(Action.KILL, Scope.BOT, OPERATOR)
    for action, scope, operator in (
        (Action.KILL, Scope.BOT, "other_ltd"),
        (Action.KILL, Scope.BOT, ""),
        (Action.KILL, Scope.ALL, OPERATOR),
        (Action.KILL, Scope.OPERATOR, OPERATOR),
        (Action.RELEASE, Scope.BOT, OPERATOR),
    ):
        with pytest.raises(NotAllowedError):
            own.require(action, scope, operator)


def test_compliance_reaches_the_kill() -> None:
    assert Action.KILL in MAY[DeskRole.COMPLIANCE]
    assert not MAY[DeskRole.VIEWER] | MAY[DeskRole.REGULATOR]
