"""The safety loop in whole lanes: halts, automatic kills and their clock, heartbeats, incidents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from streams.agents.lane import Lane
from streams.core.incident import Cause, Incident, Reporting
from streams.core.orders import MsgType, OrdType, Side
from streams.core.reasons import Reason
from streams.names import Topic
from streams.reports.incident import build_audit, encode_audit
from streams.sim.bots import plan
from streams.sim.fleet import Habit, fleet
from streams.sim.oracle import judge
from streams.sim.signing import to_wire
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action, Command, Scope, sign_command
from streams.wire.decisions import AuditEvent, ScoreDetail, decode_audit_event, decode_verdict
from streams.wire.heartbeats import Heartbeat, sign_heartbeat
from streams.wire.incidents import decode_incident
from tests.sim_world import S_US, World, tables

if TYPE_CHECKING:
    from pathlib import Path

BOTS = fleet(2, (Habit.TAKER,))
BOT = BOTS[0].agent_id
CEO, CFO, LEAD = "ceo@acme", "cfo@acme", "compliance_lead@acme"
MARKET = "BTC_USDT"


class Floor(World):
    """A world with a few good bots, whose scores a test may set."""

    def __init__(self, folder: Path, **risk: Any) -> None:
        self.score = 0.1
        self._sent = 0
        super().__init__(folder, bots=BOTS)
        for agent_id, text in self.documents.items():
            body = json.loads(text)
            body["risk_controls"] |= risk
            self.documents[agent_id] = json.dumps(body).encode()
            self.certify(agent_id)
        for tick in {tick.symbol: tick for tick in self.ticks[:500]}.values():
            self.venue.on_tick(tick, self.now_us)
        self.rows = {number: tables() for number in self.lanes}
        self._changelogs: dict[tuple[int, str], dict[bytes, bytes | None]] = {}
        for number in self.lanes:
            self._begin(number)
        self.prices()
        self.register_all()

    def _score(self, *_: object) -> ScoreDetail:
        return ScoreDetail("test", self.score, {"rate": self.score})

    def order(self, agent_id: str = BOT, *, after_us: int = 5_000, **changes: Any) -> Reason:
        """Let a bot send an order; return the verdict's reason."""
        self._sent += 1
        bots = tuple(bot for bot in BOTS if bot.agent_id == agent_id)
        message = next(iter(plan(self.ticks, bots, 1, self._sent, markets=self.markets)))
        self.prices()
        self.venue.on_tick(next(tick for tick in self.ticks if tick.symbol == MARKET), self.now_us)  # depth to trade on
        plain: dict[str, Any] = {
            "symbol": MARKET,
            "msg_type": MsgType.NEW_ORDER_SINGLE,
            "orig_cl_ord_id": None,
            "ord_type": OrdType.MARKET,
            "price_e13": None,
            "order_qty_e17": 100 * self.markets[MARKET].reference(1, 0).lot_size_e17,
        }
        changed = replace(message.order, **plain | changes)
        self.send(to_wire(replace(message, order=changed), self.keys, self.now_us))
        self.decide(after_us)
        answers = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
        return [decode_verdict(r.value or b"").reason for r in self.records if r.topic in answers][-1]

    def give(self, action: Action, person: str, scope: Scope = Scope.BOT, target: str = BOT, **more: Any) -> AuditEvent:
        """Give a command; return what the log says of it."""
        command = Command(f"s{len(self.records)}", action, scope, target, "test", person, self.now_us, **more)
        value, headers = sign_command(command, devpki.person_key(self.folder, person))
        if scope is Scope.BOT:
            self.produce(Topic.AGENTS_COMMANDS, target.encode(), value, headers)
        else:
            for number in self.lanes:
                self.produce(Topic.AGENTS_COMMANDS, b"", value, headers, partition=number)
        self.decide()
        return next(e for e in reversed(self.events()) if e.event_type in ("COMMAND_APPLIED", "COMMAND_REFUSED"))

    def beat(self, agent_id: str = BOT, **changes: Any) -> None:
        """Send a heartbeat."""
        made = self.credentials[agent_id]
        heartbeat = replace(Heartbeat(agent_id, self.now_us), **changes)
        value, headers = sign_heartbeat(heartbeat, made.private_key, made.thumbprint)
        self.produce(Topic.AGENTS_HEARTBEATS, agent_id.encode(), value, headers)
        self.decide()

    def restart(self) -> None:
        """Let every lane begin anew from its rows."""
        for number in self.lanes:
            fresh = tables()
            for name, rows in self.rows[number].items():
                changelog = self._changelogs.setdefault((number, name), {})
                changelog.update(rows.take_changes())
                fresh[name].restore(changelog.items())
            self.rows[number] = fresh
            self._begin(number)

    def _begin(self, number: int) -> None:
        self.lanes[number] = Lane(number, self.rows[number], self._outputs[number], self._services)
        self.lanes[number].anomaly.score = self._score  # type: ignore[method-assign, assignment]

    def events(self, kind: str | None = None) -> list[AuditEvent]:
        found = [decode_audit_event(r.value or b"")[0] for r in self.records if r.topic == Topic.AUDIT_EVENTS]
        return [event for event in found if kind in (None, event.event_type)]

    def values(self, topic: Topic, schema: Schema) -> list[dict[str, Any]]:
        return [decode(schema, r.value or b"") for r in self.records if r.topic == topic]

    def alerts(self) -> list[str]:
        return [alert["kind"] for alert in self.values(Topic.RISK_ALERTS, Schema.ALERT)]

    def incidents(self) -> list[Incident]:
        return [decode_incident(r.value or b"") for r in self.records if r.topic == Topic.RISK_INCIDENTS]

    def state(self, agent_id: str = BOT) -> str:
        return self.lanes[self.partition(agent_id)].bots.get(agent_id).trading_state  # type: ignore[union-attr]

    def agrees(self) -> None:
        self.decide()  # what the venue reported last
        report = judge(self.history())
        assert not report.mismatches, str(report)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path, heartbeat_interval_ms=1_000)


# Halts and reductions.


def test_a_person_halts_and_only_another_releases(floor: Floor) -> None:
    assert floor.order() is Reason.NONE
    assert floor.give(Action.HALT, CEO).event_type == "COMMAND_APPLIED"
    assert floor.order() is Reason.TRADING_HALTED
    assert floor.give(Action.RELEASE, CEO).details["problem"] == f"issued_by: somebody else than {CEO} must release"
    assert floor.give(Action.RELEASE, CFO).event_type == "COMMAND_APPLIED"
    assert floor.order() is Reason.NONE
    assert not floor.values(Topic.VENUE_COMMANDS, Schema.MASS_CANCEL)  # a halt lets open orders be
    floor.agrees()


def test_a_reduced_bot_may_sell_what_it_bought_and_no_more(floor: Floor) -> None:
    assert floor.order(side=Side.BUY) is Reason.NONE
    floor.decide()  # its execution
    held = floor.lanes[floor.partition(BOT)].post_trade.positions.get(BOT, MARKET)
    assert held.net_e17 > 0
    floor.give(Action.REDUCE, CEO)
    floor.restart()
    assert floor.order(side=Side.BUY) is Reason.CIRCUIT_BREAKER_ACTIVE
    assert floor.order(side=Side.SELL, order_qty_e17=2 * held.net_e17) is Reason.CIRCUIT_BREAKER_ACTIVE
    assert floor.order(side=Side.SELL, order_qty_e17=held.net_e17, after_us=3600 * S_US) is Reason.STALE_ORDER
    assert floor.order(side=Side.SELL, order_qty_e17=held.net_e17) is Reason.NONE
    floor.decide()
    assert floor.lanes[floor.partition(BOT)].post_trade.positions.get(BOT, MARKET).net_e17 == 0
    assert floor.order(side=Side.SELL) is Reason.CIRCUIT_BREAKER_ACTIVE
    floor.agrees()


def test_a_halted_market_is_halted_in_every_lane_and_published_once_by_each(floor: Floor) -> None:
    floor.give(Action.HALT, CEO, Scope.MARKET, MARKET)
    floor.restart()
    for bot in BOTS:
        assert floor.order(bot.agent_id) is Reason.CIRCUIT_BREAKER_ACTIVE
    assert floor.give(Action.RELEASE, CEO, Scope.MARKET, MARKET).event_type == "COMMAND_REFUSED"
    assert floor.give(Action.RELEASE, CFO, Scope.MARKET, MARKET).event_type == "COMMAND_APPLIED"
    assert floor.order() is Reason.NONE
    states = [e["state"] for e in floor.values(Topic.RISK_CIRCUIT_BREAKERS, Schema.BREAKER_EVENT)]
    assert states == ["HALTED", "HALTED", "ACTIVE", "ACTIVE"]
    floor.agrees()


def test_a_markets_score_opens_its_breaker_for_all_until_calm_probes_close_it(floor: Floor) -> None:
    number = floor.partition(BOT)
    lane = floor.lanes[number]
    record = next(r for r in floor.records if r.topic == Topic.AGENTS_REGISTRY)
    lane.begin(floor.now_us)
    lane.markets.on_score(record, MARKET, ScoreDetail("test", 0.8, {}))
    lane.finish()
    floor.decide()
    assert floor.order() is Reason.CIRCUIT_BREAKER_ACTIVE
    floor.now_us += 61 * S_US
    for _ in range(20):
        assert floor.order() is Reason.NONE
    assert lane.markets.stoppers(MARKET) is None
    floor.agrees()


# The automatic kill.


def test_an_automatic_kill_suspends_tells_and_revokes_unless_somebody_answers(floor: Floor) -> None:
    floor.score = 0.86
    assert floor.order() is Reason.CIRCUIT_BREAKER_ACTIVE
    assert floor.state() == "HALTED"
    killed_us = floor.now_us
    floor.score = 0.1
    assert floor.order() is Reason.CERTIFICATE_SUSPENDED
    assert {"BREAKER_HALTED", "CERTIFICATE_SUSPENDED", "INCIDENT_OPENED"} <= set(floor.alerts())
    assert [c["scope"] for c in floor.values(Topic.VENUE_COMMANDS, Schema.MASS_CANCEL)] == ["BOT"]
    lane = floor.lanes[floor.partition(BOT)]
    assert lane.due_us() == killed_us + 300 * S_US
    floor.restart()
    floor.now_us = killed_us + 300 * S_US - 5_001
    floor.decide()
    assert not floor.events("DEADLINE_PASSED")
    floor.decide(1)
    (passed,) = floor.events("DEADLINE_PASSED")
    assert (passed.details["deadline"], passed.outcome, passed.source_offset) == ("GRACE", "CERTIFICATE_REVOKED", -1)
    assert floor.order() is Reason.CERTIFICATE_REVOKED
    (request,) = floor.values(Topic.AGENTS_REVOCATIONS, Schema.REVOCATION_REQUEST)
    assert (request["agent_id"], request["reason"]) == (BOT, "GRACE_OVER")
    assert floor.give(Action.RELEASE, CEO).event_type == "COMMAND_APPLIED"
    assert floor.order() is Reason.CERTIFICATE_REVOKED
    assert floor.alerts().count("CERTIFICATE_REVOKED") == 1
    floor.agrees()


def test_an_answer_in_time_stops_the_clock_and_a_release_lifts_the_suspension(floor: Floor) -> None:
    floor.score = 0.9
    floor.order()
    effect = floor.give(Action.ACKNOWLEDGE, CFO).details["effect"]
    assert effect == f"certificate of {BOT} stays suspended and is not revoked"
    floor.now_us += 400 * S_US
    floor.score = 0.1
    assert floor.order() is Reason.CERTIFICATE_SUSPENDED
    floor.give(Action.RELEASE, CFO)
    assert floor.order() is Reason.NONE
    assert not floor.values(Topic.AGENTS_REVOCATIONS, Schema.REVOCATION_REQUEST)
    floor.agrees()


def test_an_answer_that_waited_while_the_lane_was_down_still_counts(floor: Floor) -> None:
    floor.score = 0.9
    floor.order()
    floor.now_us += 100 * S_US
    command = Command("late", Action.ACKNOWLEDGE, Scope.BOT, BOT, "in time", CFO, floor.now_us)
    value, headers = sign_command(command, devpki.person_key(floor.folder, CFO))
    floor.produce(Topic.AGENTS_COMMANDS, BOT.encode(), value, headers)
    waiting = floor._pending[floor.partition(BOT)].pop()
    floor.restart()
    floor.now_us += 600 * S_US  # the worker was away; its first batch has not read the command yet
    floor.decide()
    floor._pending[floor.partition(BOT)].append(waiting)
    floor.decide(100_000)
    floor.decide(1_000_000)
    assert not floor.events("DEADLINE_PASSED")


def test_a_person_revokes_and_the_authority_is_asked(floor: Floor) -> None:
    floor.give(Action.REVOKE, LEAD)
    (request,) = floor.values(Topic.AGENTS_REVOCATIONS, Schema.REVOCATION_REQUEST)
    devpki.revoke(floor.folder, int(request["serial"], 16))
    assert (request["requested_by"], request["reason"]) == (LEAD, "test")
    assert floor.order() is Reason.CERTIFICATE_REVOKED


# Heartbeats.


def test_a_bot_that_falls_silent_is_halted_and_cancelled_and_one_that_beats_is_not(floor: Floor) -> None:
    other = BOTS[1].agent_id
    for _ in range(4):
        floor.beat()
        floor.now_us += 900_000
    floor.beat(other)
    floor.now_us += 1_990_000
    floor.beat(other)
    floor.decide()
    assert (floor.state(), floor.state(other)) == ("HALTED", "ACTIVE")
    (silence,) = floor.events("DEADLINE_PASSED")
    assert (silence.agent_id, silence.details["deadline"]) == (BOT, "HEARTBEAT")
    assert [c["target"] for c in floor.values(Topic.VENUE_COMMANDS, Schema.MASS_CANCEL)] == [BOT]
    floor.beat()  # a dead bot that comes back stays halted until a person releases it
    assert floor.order() is Reason.TRADING_HALTED
    floor.give(Action.RELEASE, CEO)
    floor.beat()
    assert floor.order() is Reason.NONE
    floor.agrees()


def test_nobody_is_halted_for_a_silence_that_nobody_could_hear(floor: Floor) -> None:
    floor.beat()
    floor.restart()
    floor.now_us += 60 * S_US
    floor.decide()
    floor.decide(600_000)
    assert floor.state() == "ACTIVE"
    floor.decide(2_100_000)
    assert floor.state() == "HALTED"


def test_an_order_is_a_sign_of_life_and_begins_the_watch(floor: Floor) -> None:
    assert floor.order() is Reason.NONE
    floor.decide(1_500_000)
    assert floor.order() is Reason.NONE
    floor.decide(1_500_000)
    assert floor.state() == "ACTIVE"
    floor.decide(600_000)
    assert floor.state() == "HALTED"
    floor.agrees()


def test_heartbeats_that_are_not_the_bots_own_or_not_new_are_refused(floor: Floor) -> None:
    floor.beat()
    floor.beat(transact_time_us=floor.now_us - 10_000)
    stale = floor.now_us - 120 * S_US
    floor.beat(transact_time_us=stale)
    made = floor.credentials[BOTS[1].agent_id]
    value, headers = sign_heartbeat(Heartbeat(BOT, floor.now_us), made.private_key, made.thumbprint)
    floor.produce(Topic.AGENTS_HEARTBEATS, BOT.encode(), value, headers)
    floor.produce(Topic.AGENTS_HEARTBEATS, BOT.encode(), b"junk")
    floor.produce(Topic.AGENTS_HEARTBEATS, b"x", value, headers)
    floor.decide()
    problems = [event.details["problem"].split(":")[0] for event in floor.events("HEARTBEAT_REFUSED")]
    assert problems[:3] == ["transact_time", "transact_time", "signature"]
    assert len(problems) == 5


# Incidents.


def test_each_kill_and_each_score_above_the_breaker_opens_one_incident_that_more_of_it_joins(floor: Floor) -> None:
    floor.score = 0.8
    for _ in range(3):
        floor.order()
    (first,) = floor.incidents()
    assert (first.cause, first.score, first.scope, first.target) == (Cause.SCORE_ABOVE_BREAKER, 0.8, "BOT", BOT)
    floor.score = 0.9
    floor.order()
    floor.give(Action.KILL, CEO)
    last = floor.incidents()[-1]
    assert (last.incident_id, last.cause, last.crossings) == (first.incident_id, Cause.MANUAL_KILL, 4)
    floor.give(Action.KILL, CEO, Scope.MARKET, MARKET)
    wide = [one for one in floor.incidents() if one.scope == "MARKET"]
    assert [one.partition for one in wide] == [0]


def test_an_incident_is_audited_from_the_log_signed_and_closed(floor: Floor) -> None:
    floor.score = 0.8
    floor.order()
    floor.score = 0.1
    floor.order()
    incident = floor.incidents()[-1]
    leaves = [decode_audit_event(r.value or b"") for r in floor.records if r.topic == Topic.AUDIT_EVENTS]
    own = [(e, b) for e, b in leaves if e.partition == incident.partition and e.log_index >= incident.log_index - 3]
    audit = build_audit(incident, own, ("widen the quoter's limits",))
    assert audit["controls_that_worked"] == {"CIRCUIT_BREAKER_ACTIVE": 2}
    assert audit["controls_that_failed"] == {}
    assert float(audit["value_blocked_eur"]) > 0
    assert [step["event"] for step in audit["timeline"]] == ["BREAKER_CHANGED"]
    document = encode_audit(audit)
    floor.restart()
    wrong = floor.give(Action.COMPLETE, LEAD, incident_id="9-9", document=document)
    assert wrong.details["problem"].startswith("incident_id: one that is open here required")
    floor.give(Action.COMPLETE, LEAD, incident_id=incident.incident_id, document=document)
    closed = floor.incidents()[-1]
    assert (closed.closed, closed.duties[0].done_by) == (True, LEAD)
    assert floor.lanes[incident.partition].due_us() is None or floor.lanes[incident.partition].due_us() != (
        incident.duties[0].due_us
    )
    floor.score = 0.8
    floor.order()
    assert floor.incidents()[-1].incident_id != incident.incident_id
    floor.agrees()


def test_an_audit_that_is_not_done_within_a_day_is_told(floor: Floor) -> None:
    floor.give(Action.KILL, CEO)
    (incident,) = floor.incidents()
    assert incident.duties[0].due_us == incident.opened_us + 24 * 3600 * S_US
    floor.restart()
    floor.now_us = incident.duties[0].due_us
    floor.decide(0)
    assert floor.alerts().count("INCIDENT_OVERDUE") == 1
    assert floor.incidents()[-1].duties[0].overdue
    floor.decide(24 * 3600 * S_US)
    assert floor.alerts().count("INCIDENT_OVERDUE") == 1


def test_a_major_incident_is_reported_step_by_step(floor: Floor) -> None:
    floor.give(Action.KILL, CEO)
    incident_id = floor.incidents()[0].incident_id

    def step(action: Action, stage: str) -> AuditEvent:
        return floor.give(action, LEAD, incident_id=incident_id, stage=stage)

    assert "may follow NONE" in step(Action.REPORT, "INITIAL_REPORT").details["problem"]
    step(Action.CLASSIFY, "MAJOR")
    assert floor.incidents()[-1].reporting is Reporting.INITIAL_DUE
    for stage in ("INITIAL_REPORT", "INTERMEDIATE_REPORT", "INTERMEDIATE_REPORT", "FINAL_REPORT"):
        assert step(Action.REPORT, stage).event_type == "COMMAND_APPLIED"
    assert floor.incidents()[-1].reporting is Reporting.REPORTED
    assert not floor.incidents()[-1].closed
    floor.give(Action.COMPLETE, LEAD, incident_id=incident_id, document=b"{}")
    assert floor.incidents()[-1].closed
    assert floor.give(Action.COMPLETE, CFO, incident_id=incident_id, document=b"{}").event_type == "COMMAND_REFUSED"
    floor.agrees()
