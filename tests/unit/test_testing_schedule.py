"""The testing schedule: what is due first, when it is overdue, and who is told."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.reasons import Reason
from streams.core.testing import INTERVAL_DAYS, Exercise, days_left
from streams.core.windows import DAY_US
from streams.names import Topic
from streams.sim.bots import plan
from streams.sim.fleet import fleet
from streams.sim.signing import to_wire
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_verdict
from tests.gate_world import make_policy, us
from tests.sim_world import START_US, World

if TYPE_CHECKING:
    from pathlib import Path

DAYS = st.dates(date(2026, 1, 1), date(2028, 1, 1))
TODAY = datetime.fromtimestamp(START_US / 1e6, UTC).date()


@given(DAYS, DAYS, DAYS, st.sampled_from(["monthly", "quarterly"]), st.sampled_from(sorted(INTERVAL_DAYS)))
def test_the_first_of_the_three_tests_is_due(
    fitness: date, scenario: date, penetration: date, scenarios: str, penetrations: str
) -> None:
    plan = make_policy(
        ("testing.scenario_testing", scenarios),
        ("testing.penetration_testing", penetrations),
        ("testing.fitness_test_due", f"{fitness + timedelta(days=100)}"),
        *(
            (f"testing.last_passed.{name}.day", f"{day}")
            for name, day in (("fitness", fitness), ("scenario", scenario), ("penetration", penetration))
        ),
    ).testing
    due = {
        Exercise.FITNESS: fitness + timedelta(days=100),
        Exercise.SCENARIO: scenario + timedelta(days=INTERVAL_DAYS[scenarios]),
        Exercise.PENETRATION: penetration + timedelta(days=INTERVAL_DAYS[penetrations]),
    }
    assert plan.soonest.day == due[plan.soonest.exercise] == min(due.values())
    assert plan.tested_until_us == us(f"{plan.soonest.day + timedelta(days=1)}T00:00:00+00:00")
    assert days_left(plan.soonest, plan.tested_until_us - 1) == 0
    assert days_left(plan.soonest, plan.tested_until_us) == -1


def schedule(world: World, agent_id: str, passed_days_ago: int) -> None:
    body: dict[str, Any] = json.loads(world.documents[agent_id])
    body["testing"]["last_passed"]["scenario"]["day"] = f"{TODAY - timedelta(days=passed_days_ago)}"
    world.documents[agent_id] = json.dumps(body).encode()
    world.certify(agent_id)
    world.register(agent_id)
    world.decide()


def alerts(world: World) -> list[tuple[str, str, str]]:
    found = [decode(Schema.ALERT, record.value or b"") for record in world.records if record.topic == Topic.RISK_ALERTS]
    return [(alert["kind"], alert["severity"], alert["message"]) for alert in found if "TESTING" in alert["kind"]]


@pytest.mark.parametrize(("passed_days_ago", "expected"), [(77, None), (78, "TESTING_DUE"), (92, "TESTING_DUE")])
def test_people_hear_of_a_test_two_weeks_before_it_is_due(
    tmp_path: Path, passed_days_ago: int, expected: str | None
) -> None:
    world = World(tmp_path)
    schedule(world, "maker-01", passed_days_ago)
    assert [kind for kind, _, _ in alerts(world)] == ([] if expected is None else [expected])


def test_people_hear_of_an_overdue_test_every_day_though_the_bot_sends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    schedule(world, "maker-01", 93)
    overdue = "maker-01: scenario test by 2026-03-07, passed 2025-12-05, so it does not trade"
    assert alerts(world) == [("TESTING_OVERDUE", "CRITICAL", overdue)]
    for _ in range(2):
        world.now_us += DAY_US
        world.register("taker-01")
        world.register("maker-01")  # the same lane has work on this day, whichever it is
        before = len(alerts(world))
        world.decide()
        assert len(alerts(world)) > before


def test_a_test_that_will_be_passed_tomorrow_was_not_passed(tmp_path: Path) -> None:
    world = World(tmp_path)
    schedule(world, "maker-01", -1)
    refused = [r for r in world.records if r.topic == Topic.AUDIT_EVENTS]
    events = [decode(Schema.AUDIT_EVENT, record.value or b"") for record in refused]
    assert events[-1]["event_type"] == "AGENT_REFUSED"
    assert "testing.last_passed.scenario.day" in events[-1]["details"]["problems"]


def test_a_passed_test_takes_effect_as_a_new_policy_under_the_same_certificate(tmp_path: Path) -> None:
    world = World(tmp_path, fleet(1))
    (agent_id,) = world.documents
    schedule(world, agent_id, 93)
    certificate = world.credentials[agent_id]
    messages = list(plan(world.ticks, world.bots, 6, 1, markets=world.markets))
    world.prices()
    world.send(to_wire(messages[0], world.keys, world.now_us))
    world.decide()
    body = json.loads(world.documents[agent_id])
    body["testing"]["last_passed"]["scenario"]["day"] = f"{TODAY}"
    world.documents[agent_id] = json.dumps(body).encode()
    world.register(agent_id)
    world.send(to_wire(messages[1], world.keys, world.now_us))
    world.decide()
    told = [record for record in world.records if record.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
    assert [decode_verdict(record.value or b"").reason for record in told] == [Reason.TESTING_OVERDUE, Reason.NONE]
    assert world.credentials[agent_id] is certificate
    kinds = [kind for kind, _, _ in alerts(world)]
    assert kinds == ["TESTING_OVERDUE", "TESTING_OVERDUE"]  # of the schedule, and of the refused order
