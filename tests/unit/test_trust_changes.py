"""Certificates and revocation lists that change while a worker runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from streams.core.alert_kinds import AlertKind
from streams.core.policy import parse_policy
from streams.core.reasons import Reason
from streams.names import Topic
from streams.replay.course import Course, Retried
from streams.sim.bots import plan
from streams.sim.fleet import fleet
from streams.sim.oracle import judge
from streams.sim.signing import to_wire
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_verdict
from tests.sim_world import World

BOT = "maker-01"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, tuple(bot for bot in fleet() if bot.agent_id == BOT))
    world.register_all()
    world.prices()
    world.decide()
    return world


def lists(world: World) -> Path:
    return world.folder / "trust" / "crl"


def revoke(world: World) -> None:
    serial = x509.load_der_x509_certificate(world.credentials[BOT].chain[0]).serial_number
    devpki.revoke(world.folder, serial)


def look(world: World) -> None:
    world._services.trust.look()


def order(world: World, number: int) -> str:
    """Let the bot send the plan's message of a number; return the verdict's reason."""
    message = list(plan(world.ticks, world.bots, number + 1, 1, markets=world.markets))[number]
    world.prices()
    world.send(to_wire(message, world.keys, world.now_us))
    world.decide()
    found = [r.value for r in world.records if r.topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
    return decode_verdict(found[-1] or b"").reason


def logged(world: World, kind: str) -> list[dict[str, Any]]:
    events = (decode(Schema.AUDIT_EVENT, r.value or b"") for r in world.records if r.topic is Topic.AUDIT_EVENTS)
    return [event for event in events if event["event_type"] == kind]


def replayed(world: World) -> list[Retried]:
    """Decide the log's orders again under the policy that was in force."""
    course = Course(parse_policy(world.documents[BOT]), every=False)
    leaves = (r.value or b"" for r in world.records if r.topic is Topic.AUDIT_EVENTS)
    return [tried for leaf in leaves if (tried := course.take(leaf)) is not None]


def alerts(world: World, kind: AlertKind) -> list[dict[str, Any]]:
    found = (decode(Schema.ALERT, r.value or b"") for r in world.records if r.topic is Topic.RISK_ALERTS)
    return [alert for alert in found if alert["kind"] == kind]


def test_a_new_revocation_list_counts_from_the_next_micro_batch_and_is_logged(world: World) -> None:
    assert order(world, 0) == Reason.NONE
    revoke(world)
    assert order(world, 1) == Reason.NONE, "nobody has looked yet"
    look(world)
    assert order(world, 2) == Reason.CERTIFICATE_REVOKED
    changes = logged(world, "TRUST_CHANGED")
    assert {change["partition"] for change in changes} == set(world.lanes)
    for change in changes:
        details = change["details"]
        assert details["before"] != details["trust_sha256"]
        assert "1 revoked" in details["revocation_lists"]
    assert len(alerts(world, AlertKind.TRUST_CHANGED)) == len(world.lanes)
    assert judge(world.history(distrusted={BOT})).counts == {}
    assert [tried.changed for tried in replayed(world)] == [False] * 3


def test_a_list_that_does_not_hold_changes_nothing_and_is_told_of_once(world: World) -> None:
    path = next(lists(world).glob("*.pem"))
    good = path.read_bytes()
    path.write_bytes(good[:200])
    look(world)
    assert order(world, 0) == Reason.NONE
    assert order(world, 1) == Reason.NONE
    (alert,) = alerts(world, AlertKind.TRUST_REFUSED)
    assert path.name in alert["message"]
    assert logged(world, "TRUST_CHANGED") == []
    path.write_bytes(good)
    look(world)
    assert order(world, 2) == Reason.NONE
    assert logged(world, "TRUST_CHANGED") == [], "it is what was in force all the time"


def test_what_changed_while_no_worker_ran_is_logged_too(world: World) -> None:
    assert order(world, 0) == Reason.NONE
    revoke(world)
    world.begin_worker()
    assert order(world, 1) == Reason.CERTIFICATE_REVOKED
    assert len(logged(world, "TRUST_CHANGED")) == len(world.lanes)


def test_nothing_is_logged_while_nothing_changes(world: World) -> None:
    look(world)
    for number in range(3):
        assert order(world, number) == Reason.NONE
    assert logged(world, "TRUST_CHANGED") == []


def test_a_file_that_goes_away_while_it_is_looked_at_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: Path) -> None:
        raise FileNotFoundError

    with monkeypatch.context() as patched:
        patched.setattr("streams.agents.trust.trust_stamp", gone)
        look(world)
    assert order(world, 0) == Reason.NONE
