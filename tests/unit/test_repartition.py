"""Another number of lanes, in memory: where each row goes, and that the lanes after know what those before knew."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from streams.agents.deadlines import Kind
from streams.app import TABLES
from streams.audit.epochs import Epoch, TreeHead, beginning_problem
from streams.core.breaker import Breaker, Signal
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.names import LANE_SOURCES, TableName, Topic
from streams.repartition.carried import carry
from streams.repartition.placing import Change, Placed, PlacingError, Row, place
from streams.repartition.rules import (
    CONTROL_RULES,
    DEADLINE_RULES,
    TABLE_RULES,
    TOPIC_RULES,
    TopicRule,
    lane_of,
)
from streams.repartition.writing import Begin, begun_log
from streams.sim.fleet import Habit, fleet
from streams.sim.oracle import judge
from streams.topics import load_topology
from streams.wire.avro import Schema, decode, encode
from streams.wire.commands import Action, Scope
from streams.wire.decisions import Verdict, decode_audit_event, decode_verdict
from streams.wire.incidents import decode_incident
from tests.sim_world import S_US, World, tables

if TYPE_CHECKING:
    from streams.sim.oracle_history import History

ROOT = Path(__file__).parent.parent.parent
CEO, CFO, LEAD = "ceo@acme", "cfo@acme", "compliance_lead@acme"
OLD, NEW = 2, 3
LIMIT_E5, USED_E5 = 20_000 * 100_000, 16_000 * 100_000


class Movable(World):
    """A world whose lanes can become others; keys are placed as Kafka places them."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, lanes=OLD, **options)
        self.before: list[History] = []

    def partition(self, agent_id: str) -> int:
        return lane_of(agent_id.encode(), len(self._tables))

    def rows(self) -> dict[TableName, list[Row]]:
        """Return what the changelogs hold."""
        found: dict[TableName, list[Row]] = {table: [] for table in TableName}
        for lane, made in self._tables.items():
            for table, rows in made.items():
                found[TableName(table)] += [
                    Row(lane, key, value) for key, value in rows.take_changes() if value is not None
                ]
        return found

    def move(self, lanes: int) -> Placed:
        """Do in memory what the command does on a cluster."""
        change = Change(len(self._tables), lanes, 1)
        placed = place(self.rows(), change)
        breakers = [(r.key or b"", r.value or b"") for r in self.records if r.topic == Topic.RISK_CIRCUIT_BREAKERS]
        carried = carry(placed, breakers, change, self.now_us)
        old = Epoch(self.origin, change.before, "", tuple(TreeHead(1, bytes(32)) for _ in range(change.before)))
        begin = Begin(old, Epoch(f"{self.origin}/v2", lanes, "v2."), change, CEO, self.now_us)
        self.before.append(self.history())
        self.records, self._offsets = [], Counter()
        self._pending = {lane: [] for lane in range(lanes)}
        self._tables = {lane: tables() for lane in range(lanes)}
        self.origin = begin.following.origin
        self.references.__init__()  # type: ignore[misc]  # a new worker
        self.references.attach(lambda: True)
        for lane, made in self._tables.items():
            leaf, _, log_rows = begun_log(self.folder, begin, placed, lane)
            assert beginning_problem(leaf, old) is None
            placed.rows[TableName.LOG][lane] = {name.encode(): row for name, row in log_rows.items()}
            self.produce(Topic.AUDIT_EVENTS, b"", leaf, partition=lane)
            for table, rows in made.items():
                content = placed.rows[TableName(table)][lane]
                rows.restore(content.items())
        for record in carried:
            self.produce(record.topic, record.key, record.value, record.headers, record.lane)
        self.begin_worker()
        return placed

    def verdicts(self, agent_id: str) -> list[Verdict]:
        """Return what the lanes said to a bot since the last move."""
        answers = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
        found = [decode_verdict(r.value or b"") for r in self.records if r.topic in answers]
        return [verdict for verdict in found if verdict.agent_id == agent_id]

    def reasons(self, agent_id: str) -> list[Reason]:
        return [verdict.reason for verdict in self.verdicts(agent_id)]


def run_and_stop(world: Movable, orders: int) -> None:
    """Let everybody trade, stop some in every way that there is, and kill all."""
    world.register_all()
    world.prices()
    world.decide()
    world.run(orders)
    names = [bot.agent_id for bot in world.bots]
    world.command(Action.HALT, Scope.BOT, names[0], CEO)
    world.command(Action.REDUCE, Scope.BOT, names[1], CFO)
    world.command(Action.KILL, Scope.BOT, names[2], LEAD)
    world.command(Action.HALT, Scope.MARKET, "ETH_USDT", LEAD)
    world.command(Action.KILL, Scope.ALL, "", CEO)
    world.decide()


def test_the_oracle_knows_no_difference_between_the_lanes_before_and_those_after(tmp_path: Path) -> None:
    world = Movable(tmp_path, bots=fleet(20))
    run_and_stop(world, 500)
    placed = world.move(NEW)
    assert placed.left == []
    assert all(placed.count(table) for table in TABLE_RULES if table is not TableName.DEADLINES)
    world.prices()
    world.run(200, seed=2)
    passed = [one for bot in world.bots for one in world.verdicts(bot.agent_id) if one.approved]
    assert {one.order_value_e5 for one in passed} <= {None}  # a cancellation may always pass
    world.command(Action.RELEASE, Scope.ALL, "", CEO)  # who killed may not
    world.decide()
    world.command(Action.RELEASE, Scope.ALL, "", CFO)
    world.decide()
    world.run(400, seed=3)
    judged = judge(*world.before, world.history())
    assert judged.mismatches_total == 0, str(judged)
    assert judged.approved > 200
    # The same without what was before must not hold: else the oracle looked at nothing.
    assert judge(world.history()).counts.keys() >= {"bot sequence", "daily_value", "state_before"}


def test_who_was_stopped_stays_stopped_and_a_day_goes_on(tmp_path: Path) -> None:
    world = Movable(tmp_path, bots=fleet(6, (Habit.TAKER,)))
    for agent_id, document in world.documents.items():
        body = json.loads(document)
        body["scope"]["max_daily_value_eur"] = "20000"
        world.documents[agent_id] = json.dumps(body).encode()
        world.certify(agent_id)
    run_and_stop(world, 200)
    halted, _, killed, *others = (bot.agent_id for bot in world.bots)
    for lane in world.lanes.values():
        for name, day_us in lane.daily_value.keys():  # noqa: SIM118 - a table is no dict
            lane.daily_value.put(name, day_us, USED_E5)
    last = {name: bot.audit_seq for lane in world.lanes.values() for name, bot in lane.bots.items()}
    world.move(NEW)
    world.prices()
    world.command(Action.RELEASE, Scope.ALL, "", CFO)
    world.decide()
    world.run(300, seed=2)
    assert set(world.reasons(halted)) == {Reason.TRADING_HALTED}
    assert set(world.reasons(killed)) == {Reason.KILL_SWITCH_ENGAGED}
    spent = [verdict for name in others for verdict in world.verdicts(name) if verdict.approved]
    assert spent
    assert all(USED_E5 < (verdict.daily_value_e5 or 0) <= LIMIT_E5 for verdict in spent)
    assert any(Reason.DAILY_VALUE_LIMIT_EXCEEDED in world.reasons(name) for name in others)
    events = [decode_audit_event(r.value or b"")[0] for r in world.records if r.topic == Topic.AUDIT_EVENTS]
    for name, number in last.items():
        numbers = [event.agent_seq for event in events if event.agent_id == name]
        assert numbers == list(range(number + 1, number + 1 + len(numbers)))
    check_incidents(world, killed, others[0])


def check_incidents(world: Movable, known: str, fresh: str) -> None:
    """What happens to a bot with an open incident joins it, wherever the bot is now; a new one has its own name."""

    def incident_ids(agent_id: str) -> list[str]:
        told = (decode_incident(r.value or b"") for r in world.records if r.topic == Topic.RISK_INCIDENTS)
        return [incident.incident_id for incident in told if incident.target == agent_id]

    (before,) = set(incident_ids(known))
    for name in (known, fresh):
        world.command(Action.KILL, Scope.BOT, name, CEO)
    world.decide()
    assert set(incident_ids(known)) == {before}
    assert incident_ids(fresh)[-1].startswith(f"g2.{world.partition(fresh)}-")


def test_every_table_topic_and_kind_of_row_has_a_rule() -> None:
    assert set(TABLE_RULES) == set(TABLES) == set(TableName)
    assert {str(topic) for topic in TOPIC_RULES} == {topic.name for topic in load_topology().topics}
    assert set(DEADLINE_RULES) == set(Kind)
    wide = {str(scope) for scope in Scope if scope is not Scope.BOT}
    assert set(CONTROL_RULES) == wide | {"COMMAND", "OVERRIDE", "BREAKER", "TRUST"}
    page = (ROOT / "topology" / "upgrade.md").read_text()
    for rules in (TABLE_RULES, CONTROL_RULES, TOPIC_RULES):
        for name, rule in rules.items():
            assert f"| `{name}` | {rule} |\n" in page
    carried = {TopicRule.REGISTRATIONS, TopicRule.STOPS, TopicRule.FED}
    assert {TOPIC_RULES[topic] for topic in LANE_SOURCES} == carried | {TopicRule.DRAINED}


@pytest.mark.parametrize(("table", "key"), [(TableName.CONTROLS, b"CURFEW x"), (TableName.DEADLINES, b"BIRTHDAY x")])
def test_a_row_without_a_rule_stops_the_move(table: TableName, key: bytes) -> None:
    with pytest.raises(PlacingError, match="no rule for"):
        place({**{name: [] for name in TableName}, table: [Row(0, key, b"[1]")]}, Change(OLD, NEW, 1))


def rows_of(*controls: Row) -> dict[TableName, list[Row]]:
    return {**{name: [] for name in TableName}, TableName.CONTROLS: list(controls)}


def control(placed: Placed, lane: int, key: bytes) -> list[Any] | None:
    row = placed.rows[TableName.CONTROLS][lane].get(key)
    return None if row is None else orjson.loads(row)


def test_a_kill_of_any_lane_is_one_of_every_lane_by_everybody_who_gave_it() -> None:
    one = Row(0, b"ALL", orjson.dumps(["c-2", [CFO, LEAD], 2000]))
    other = Row(1, b"ALL", orjson.dumps(["c-1", [CEO, CFO], 1000]))
    placed = place(rows_of(one, other), Change(OLD, 5, 1))
    assert [control(placed, lane, b"ALL") for lane in range(5)] == [["c-1", [CFO, LEAD, CEO], 1000]] * 5


def test_of_several_breakers_of_a_market_the_strictest_counts() -> None:
    mild, hard = Breaker(), Breaker()
    mild.trip(10, 5, 0.8)
    hard.stop(Signal.SCORE_ABOVE_KILL)
    key = b"BREAKER BTC_USDT"
    rows = [Row(lane, key, orjson.dumps(one.breaker_row())) for lane, one in enumerate((mild, hard))]
    placed = place(rows_of(*rows), Change(OLD, 5, 1))
    home = lane_of(b"BTC_USDT", 5)
    assert [lane for lane in range(5) if control(placed, lane, key)] == [home]
    assert control(placed, home, key) == ["HALTED", 15, 0.8, 1, 0, None]
    hard.stop(Signal.PERSON_HALT, CEO)
    rows[1] = replace(rows[1], value=orjson.dumps(hard.breaker_row()))
    placed = place(rows_of(*rows), Change(OLD, 5, 1))
    assert [control(placed, lane, key) for lane in range(5)] == [["HALTED", 15, 0.8, 1, 0, CEO]] * 5
    events = carry(placed, [], Change(OLD, 5, 1), 77)
    assert [event.lane for event in events] == list(range(5))
    said = decode(Schema.BREAKER_EVENT, events[3].value)
    assert (said["event_id"], said["scope"], said["state"]) == ("lane-3-0", "MARKET", TradingState.HALTED)


def test_what_somebody_beside_the_lanes_said_of_a_market_is_carried_while_it_restricts() -> None:
    event: dict[str, Any] = {
        "event_id": "surveillance-7",
        "scope": "MARKET",
        "target": "BTC_USDT",
        "previous": "ACTIVE",
        "state": "HALTED",
        "reason": "CIRCUIT_BREAKER_ACTIVE",
        "score": None,
        "threshold": None,
        "features": {},
        "issued_by": "surveillance",
        "event_time": 1,
    }
    stopped = encode(Schema.BREAKER_EVENT, event)
    opened = encode(Schema.BREAKER_EVENT, event | {"state": "ACTIVE"})
    change, placed = Change(OLD, NEW, 1), Placed(NEW)
    assert [one.value for one in carry(placed, [(b"BTC_USDT", stopped)], change, 1)] == [stopped]
    assert carry(placed, [(b"BTC_USDT", stopped), (b"BTC_USDT", opened)], change, 1) == ()
    assert carry(placed, [(b"ETH_USDT", stopped), (b"BTC_USDT", b"no event")], change, 1) == ()


def test_a_row_in_another_lane_than_its_key_s_is_told_and_left() -> None:
    home = lane_of(b"bot-1", OLD)
    override = orjson.dumps(["BTC_USDT", "BUY", "1", None, CEO, "c-1", 9])
    wrong = Row(1 - home, b"OVERRIDE bot-1 o-1", override)
    placed = place(rows_of(wrong), Change(OLD, NEW, 1))
    assert [str(left) for left in placed.left] == [
        f"controls lane {1 - home} b'OVERRIDE bot-1 o-1': of lane {home}, where nothing was decided by it"
    ]
    placed = place(rows_of(replace(wrong, lane=home)), Change(OLD, NEW, 1))
    assert placed.left == []
    assert control(placed, lane_of(b"bot-1", NEW), wrong.key) == orjson.loads(override)


def test_identifiers_of_the_old_log_cannot_be_taken_for_those_of_the_new() -> None:
    home = lane_of(b"bot-1", OLD)
    recent, read = tables()[TableName.RECENT_IDS], tables()[TableName.RECENT_IDS]
    recent.put("57 bot-1", 120 * S_US, [["o-1", 1, 2]])
    ((key, value),) = recent.take_changes()
    assert value is not None
    tables_of = {**{name: [] for name in TableName}, TableName.RECENT_IDS: [Row(home, key, value)]}
    placed = place(tables_of, Change(OLD, NEW, 1))
    ((moved, kept),) = placed.rows[TableName.RECENT_IDS][lane_of(b"bot-1", NEW)].items()
    assert (moved, kept) == (b"g1.%d." % home + key, value)
    read.restore([(moved, kept)])
    assert read.keys() == [(f"g1.{home}.57 bot-1", 120 * S_US)]
