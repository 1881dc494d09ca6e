from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from streams.agents.lane import Lane
from streams.agents.references import References
from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.policy import TlogPolicy
from streams.audit.proof import TlogProof
from streams.core.executions import ExecType, ExecutionReport, Finding
from streams.core.merkle import BatchProver, Frontier, hash_leaf
from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.engine.application import Message, Outputs
from streams.names import LANE_SOURCES, Topic
from streams.sim.bots import plan
from streams.sim.fleet import Habit, fleet
from streams.sim.oracle import judge
from streams.sim.signing import to_wire
from streams.venue.approval import ApprovalRefusedError, ApprovalVerifier
from streams.venue.cancels import MassCancel, Place
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action, Command, Scope, sign_command
from streams.wire.decisions import AuditEvent, Verdict, decode_audit_event, decode_verdict
from streams.wire.executions import encode_execution_report
from streams.wire.headers import AUDIT_HEAD, TLOG_PROOF, find_header
from streams.wire.messages import decode_order_body
from streams.wire.note import SignatureType, Signer, cosign_note
from tests.sim_world import PARTITIONS, Kept, World, tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = fleet(4, (Habit.TAKER,))
PERSON, OTHER = "ceo@acme", "cfo@acme"


class Recorded(World):
    """A world that keeps what its lanes were given, so that they can be given it again."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.script: list[tuple[int, int, list[Kept]]] = []  # lane (-1: a price), now, records
        super().__init__(folder, **options)

    def price(self, price: Any) -> None:
        super().price(price)
        self.script.append((-1, self.now_us, [self.records[-1]]))

    def decide(self, after_us: int = 5_000) -> None:
        now_us = self.now_us + after_us
        for number, batch in self._pending.items():
            ordered = sorted(batch, key=lambda r: LANE_SOURCES.index(Topic(r.topic)))
            self.script.append((number, now_us, ordered))
        super().decide(after_us)

    def fresh(self, number: int, made: dict[str, Any] | None = None) -> tuple[Lane, Outputs, References]:
        references, outputs = References(), Outputs()
        references.attach(lambda: True)
        services = replace(self._services, references=references)
        return Lane(number, made or tables(), outputs, services), outputs, references


def events(world: World) -> list[AuditEvent]:
    return [decode_audit_event(r.value or b"")[0] for r in world.records if r.topic == Topic.AUDIT_EVENTS]


def verdicts(world: World) -> list[Verdict]:
    answers = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
    return [decode_verdict(r.value or b"") for r in world.records if r.topic in answers]


def regulatory(world: World) -> list[dict[str, Any]]:
    return [
        decode(Schema.REGULATORY_RECORD, r.value or b"") for r in world.records if r.topic == Topic.REPORTS_REGULATOR
    ]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    world = Recorded(tmp_path_factory.mktemp("pki"))
    world.prices()
    world.register_all()
    world.run(600)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, bots=GOOD)
    for tick in {tick.symbol: tick for tick in made.ticks[:500]}.values():
        made.venue.on_tick(tick, made.now_us)
    made.prices()
    made.register_all()
    return made


def replayed(world: Recorded, number: int, restart_at: int | None = None) -> Iterator[tuple[str, Message]]:
    """Give a lane everything again; at `restart_at` it starts anew from its changelog."""
    rows = tables()
    lane, outputs, references = world.fresh(number, rows)
    changelog: dict[str, dict[bytes, bytes | None]] = {name: {} for name in rows}
    for place, (target, now_us, records) in enumerate(world.script):
        if place == restart_at:
            rows = tables()
            for name, table in rows.items():
                table.restore(changelog[name].items())
            kept = references
            lane, outputs, references = world.fresh(number, rows)
            references.__dict__.update(kept.__dict__)
        if target == -1:
            references.on_price(records[0])
        elif target == number:
            lane.begin(now_us)
            for record in records:
                lane.process(record, lane.prepare(record))
            lane.finish()
            for name, table in rows.items():
                changelog[name].update(table.take_changes())
            for topic, messages in outputs.take().items():
                yield from ((topic, message) for message in messages)


def written(world: World, number: int) -> Counter[tuple[str, bytes | None, bytes | None]]:
    ours = {t for t in Topic if t not in (*LANE_SOURCES, Topic.MARKETS_REFERENCE)} | {Topic.RISK_CIRCUIT_BREAKERS}
    return Counter((r.topic, r.key, r.value) for r in world.records if r.partition == number and r.topic in ours)


@pytest.mark.parametrize("number", range(PARTITIONS))
def test_the_same_partition_replayed_writes_the_same_bytes(played: Recorded, number: int) -> None:
    again = Counter((topic, message.key, message.value) for topic, message in replayed(played, number))
    assert again == written(played, number)
    assert sum(again.values()) > 500


@pytest.mark.parametrize("number", range(PARTITIONS))
def test_a_lane_restored_from_its_changelog_goes_on_as_if_nothing_had_happened(played: Recorded, number: int) -> None:
    half = len(played.script) // 2
    again = Counter((topic, message.key, message.value) for topic, message in replayed(played, number, half))
    expected = written(played, number)
    # What strangers can cause is told once a minute; that memory may be lost, so an alert may come once more.
    assert {item for item in again if item[0] != Topic.RISK_ALERTS} == {
        item for item in expected if item[0] != Topic.RISK_ALERTS
    }
    assert not expected - again


def test_time_does_not_go_back_when_a_worker_with_a_slow_clock_takes_over(world: World) -> None:
    _order(world, GOOD[0].agent_id)
    before_us = world.now_us
    world.now_us -= 2_000_000
    _order(world, GOOD[0].agent_id)
    times = [verdict.decision_time_us for verdict in verdicts(world)]
    assert times == [before_us, before_us]


def test_the_oracle_agrees(played: Recorded) -> None:
    report = judge(played.history())
    assert report.orders > 550
    assert report.mismatches == ()


def test_every_approval_proves_itself_and_nothing_else_does(played: Recorded) -> None:
    logs = [devpki.log_signer(played.folder, f"test.example/{number}").verifier for number in range(PARTITIONS)]
    verifier = ApprovalVerifier(logs)
    approvals = [r for r in played.records if r.topic == Topic.ORDERS_APPROVED]
    for record in approvals:
        assert verifier.check(record.value or b"", record.headers, 0).verdict.approved
    first, second = approvals[0], approvals[1]
    value = first.value or b""
    with pytest.raises(ApprovalRefusedError, match="proof"):
        verifier.check(value[:-1] + bytes([value[-1] ^ 1]), first.headers, 0)
    with pytest.raises(ApprovalRefusedError, match="proof"):
        verifier.check(value, second.headers, 0)
    for missing in (AUDIT_HEAD, TLOG_PROOF):
        with pytest.raises(ApprovalRefusedError, match="both required"):
            verifier.check(value, [h for h in first.headers if h[0] != missing], 0)
    with pytest.raises(ApprovalRefusedError, match="proof"):
        ApprovalVerifier([devpki.log_signer(played.folder, "other.example/0").verifier]).check(value, first.headers, 0)


def test_a_policy_has_an_approval_wait_for_its_witnesses(played: Recorded) -> None:
    logs = tuple(devpki.log_signer(played.folder, f"test.example/{number}").verifier for number in range(PARTITIONS))
    witness = Signer.from_seed("witness.example", bytes(32), SignatureType.COSIGNATURE_V1)
    asking = ApprovalVerifier((), TlogPolicy(logs, {"w": witness.verifier}, {}, "w"))
    record = next(r for r in played.records if r.topic == Topic.ORDERS_APPROVED)
    value = record.value or b""
    with pytest.raises(ApprovalRefusedError, match="quorum w, cosigned by nobody"):
        asking.check(value, record.headers, 0)
    assert ApprovalVerifier((), TlogPolicy.of_logs(logs)).check(value, record.headers, 0).verdict.approved
    own = TlogProof.parse(find_header(record.headers, TLOG_PROOF) or b"")
    cosigned = replace(own, checkpoint_note=cosign_note(own.checkpoint_note, witness, time_s=1)).encode()
    assert asking.check(value, record.headers, 0, cosigned).inclusion.index == own.index
    # A later, larger tree's cosigned checkpoint with the proof under it does as well.
    number = int(asking.check(value, record.headers, 0, cosigned).inclusion.checkpoint.origin.rpartition("/")[2])
    leaves = [r.value or b"" for r in played.records if (r.topic, r.partition) == (Topic.AUDIT_EVENTS, number)]
    prover = BatchProver(Frontier(), [hash_leaf(leaf) for leaf in leaves])
    signer = devpki.log_signer(played.folder, f"test.example/{number}")
    note = sign_checkpoint(Checkpoint(signer.verifier.name, len(leaves), prover.root), signer)
    later = TlogProof(own.index, tuple(prover.proof(own.index)), cosign_note(note, witness, time_s=2)).encode()
    assert asking.check(value, record.headers, 0, later).inclusion.checkpoint.size == len(leaves)


def test_the_sequence_of_each_bot_has_no_gap(played: Recorded) -> None:
    seen: Counter[str] = Counter()
    for event in events(played):
        if event.agent_seq is not None:
            seen[event.agent_id] += 1
            assert event.agent_seq == seen[event.agent_id], event


def _order(world: World, agent_id: str, **changes: Any) -> None:
    number = len(world.records)
    bots = tuple(bot for bot in world.bots if bot.agent_id == agent_id)
    message = next(iter(plan(world.ticks, bots, 1, number, markets=world.markets)))
    message = replace(message, order=replace(message.order, **changes))
    world.send(to_wire(message, world.keys, world.now_us))
    world.decide()


def test_an_approval_is_not_carried_out_after_the_orders_own_end(world: World) -> None:
    ends_us = world.now_us + 1_000_000
    _order(world, GOOD[0].agent_id, expire_time_us=ends_us)
    logs = [devpki.log_signer(world.folder, f"test.example/{number}").verifier for number in range(PARTITIONS)]
    (record,) = (r for r in world.records if r.topic == Topic.ORDERS_APPROVED)
    value, headers = record.value or b"", record.headers
    assert ApprovalVerifier(logs).check(value, headers, ends_us).order.expire_time_us == ends_us
    with pytest.raises(ApprovalRefusedError, match="expire_time"):
        ApprovalVerifier(logs).check(value, headers, ends_us + 1)
    world.now_us = ends_us
    _order(world, GOOD[0].agent_id, expire_time_us=ends_us)
    assert verdicts(world)[-1].reason is Reason.STALE_ORDER


def test_a_kill_stops_and_only_somebody_else_releases(world: World) -> None:
    bot = GOOD[0].agent_id
    _order(world, bot)
    world.command(Action.KILL, Scope.BOT, bot, PERSON)
    _order(world, bot)
    world.command(Action.RELEASE, Scope.BOT, bot, PERSON)
    _order(world, bot)
    world.command(Action.RELEASE, Scope.BOT, bot, OTHER)
    _order(world, bot)
    assert [v.reason for v in verdicts(world)] == [
        Reason.NONE,
        Reason.KILL_SWITCH_ENGAGED,
        Reason.KILL_SWITCH_ENGAGED,
        Reason.NONE,
    ]
    refused = [event for event in events(world) if event.event_type == "COMMAND_REFUSED"]
    assert [event.details["problem"] for event in refused] == [f"issued_by: somebody else than {PERSON} must release"]
    (told,) = (r for r in world.records if r.topic == Topic.VENUE_COMMANDS)
    cancel = MassCancel.of(told.value or b"", told.headers, told.partition)
    before, _, _, after = (verdict.log_index for verdict in verdicts(world))
    assert cancel.place is not None
    assert before < cancel.place.log_index <= after
    assert cancel == MassCancel(Scope.BOT, bot, Place(world.partition(bot), cancel.place.log_index))


@pytest.mark.parametrize(
    ("scope", "target"),
    [(Scope.ALL, ""), (Scope.OPERATOR, GOOD[0].operator), (Scope.MARKET, "BTC_USDT")],
)
def test_a_wide_kill_is_in_force_in_every_partition(world: World, scope: Scope, target: str) -> None:
    world.command(Action.KILL, scope, target, PERSON)
    world.decide()
    for bot in GOOD:
        _order(world, bot.agent_id)
    applied = {event.partition for event in events(world) if event.event_type == "COMMAND_APPLIED"}
    assert applied == set(range(PARTITIONS))
    for verdict in verdicts(world):
        killed = scope is not Scope.MARKET or b"BTC_USDT" in verdict.order
        assert (verdict.reason is Reason.KILL_SWITCH_ENGAGED) == killed


def test_a_recorded_release_does_not_work_twice(world: World) -> None:
    bot = GOOD[0].agent_id
    world.command(Action.KILL, Scope.BOT, bot, PERSON)
    world.decide()
    world.command(Action.RELEASE, Scope.BOT, bot, OTHER)
    release = world.records[-1]
    world.decide()
    world.command(Action.KILL, Scope.BOT, bot, PERSON)
    world.decide()
    world.produce(Topic.AGENTS_COMMANDS, release.key, release.value, release.headers)
    _order(world, bot)
    assert verdicts(world)[-1].reason is Reason.KILL_SWITCH_ENGAGED


def test_an_old_release_is_refused(world: World) -> None:
    bot = GOOD[0].agent_id
    world.command(Action.KILL, Scope.BOT, bot, PERSON)
    world.decide()
    issued = Command("late", Action.RELEASE, Scope.BOT, bot, "kept for later", OTHER, world.now_us)
    value, headers = sign_command(issued, devpki.person_key(world.folder, OTHER))
    world.now_us += 601_000_000
    world.prices()
    world.produce(Topic.AGENTS_COMMANDS, bot.encode(), value, headers)
    _order(world, bot)
    assert verdicts(world)[-1].reason is Reason.KILL_SWITCH_ENGAGED


def test_a_revoked_bot_stays_revoked_even_if_released(world: World) -> None:
    bot = GOOD[0].agent_id
    world.command(Action.REVOKE, Scope.BOT, bot, PERSON)
    world.decide()
    world.command(Action.RELEASE, Scope.BOT, bot, OTHER)
    _order(world, bot)
    assert verdicts(world)[-1].reason is Reason.CERTIFICATE_REVOKED


def test_a_command_without_a_persons_signature_changes_nothing(world: World) -> None:
    bot = GOOD[0].agent_id
    world.command(Action.KILL, Scope.BOT, bot, PERSON)
    forged = world.records[-1]
    world._pending[forged.partition].clear()
    world.produce(Topic.AGENTS_COMMANDS, forged.key, forged.value, ())
    _order(world, bot)
    assert verdicts(world)[-1].approved
    assert [e.event_type for e in events(world) if "COMMAND" in e.event_type] == ["COMMAND_REFUSED"]


def test_an_older_registration_does_not_come_back(world: World) -> None:
    bot = GOOD[0].agent_id
    first = next(r for r in world.records if r.topic == Topic.AGENTS_REGISTRY and r.key == bot.encode())
    world.now_us += 1_000_000
    world.certify(bot)
    world.register(bot)
    world.decide()
    world.produce(Topic.AGENTS_REGISTRY, first.key, first.value)
    _order(world, bot)
    assert verdicts(world)[-1].approved  # signed with the new key
    assert events(world)[-2].event_type == "AGENT_REFUSED"
    assert "registered_at" in events(world)[-2].details["problems"]


def test_the_registry_refuses_what_is_no_registration(world: World) -> None:
    for value in (b"", b"\x00\x00\x00\x00\x04junk", None):
        world.produce(Topic.AGENTS_REGISTRY, b"somebody", value)
    world.decide()
    refused = [event for event in events(world) if event.event_type == "AGENT_REFUSED"]
    assert len(refused) == 3


def _report(verdict: Verdict, order: Any, **changes: Any) -> ExecutionReport:
    report = ExecutionReport(
        agent_id=verdict.agent_id,
        exec_id="X-1",
        order_id="V-1",
        cl_ord_id=verdict.cl_ord_id,
        exec_type=ExecType.FILL,
        symbol=order.symbol,
        side=order.side,
        last_qty_e17=order.order_qty_e17,
        last_px_e13=order.price_e13 or 10**13,
        cum_qty_e17=order.order_qty_e17,
        leaves_qty_e17=0,
        last_mkt=order.ex_destination,
        counterparty=None,
        transact_time_us=verdict.decision_time_us,
    )
    return replace(report, **changes)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"cl_ord_id": "never-approved"}, Finding.WITHOUT_APPROVAL),
        ({"symbol": "XMR_USDT"}, Finding.OTHER_MARKET),
        ({"last_mkt": "XXXX"}, Finding.OTHER_VENUE),
        ({"last_qty_e17": 10**30, "cum_qty_e17": 10**30}, Finding.OVERFILLED),
        ({"last_px_e13": 0}, Finding.WRONG_QUANTITIES),
    ],
)
def test_an_execution_that_does_not_fit_is_found_logged_and_told(
    world: World, changes: dict[str, Any], finding: Finding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "_fill", lambda _approved, _lane: None)
    _order(world, GOOD[0].agent_id)
    verdict = verdicts(world)[-1]
    report = _report(verdict, decode_order_body(verdict.order), **changes)
    world.produce(Topic.TRADES_EXECUTED, report.agent_id.encode(), encode_execution_report(report))
    world.decide()
    event = events(world)[-1]
    assert event.event_type == "TRADE_EXECUTED"
    assert finding in event.details["findings"].split()
    alerts = [decode(Schema.ALERT, r.value or b"") for r in world.records if r.topic == Topic.RISK_ALERTS]
    assert alerts[-1]["severity"] == "CRITICAL"
    records = [
        decode(Schema.REGULATORY_RECORD, r.value or b"") for r in world.records if r.topic == Topic.REPORTS_REGULATOR
    ]
    assert finding in records[-1]["findings"]


def test_a_repeated_report_makes_one_regulatory_record(world: World) -> None:
    _order(world, GOOD[0].agent_id)
    report = next(r for r in world.records if r.topic == Topic.TRADES_EXECUTED)
    world.decide()
    world.produce(Topic.TRADES_EXECUTED, report.key, report.value)
    world.decide()
    assert sum(r.topic == Topic.REPORTS_REGULATOR for r in world.records) == 1
    assert events(world)[-1].outcome == Finding.REPEATED


def test_sides_are_written_as_the_regulator_writes_them(world: World) -> None:
    for bot in GOOD:
        _order(world, bot.agent_id)
    world.decide()
    records = [
        decode(Schema.REGULATORY_RECORD, r.value or b"") for r in world.records if r.topic == Topic.REPORTS_REGULATOR
    ]
    codes = {Side.BUY: "BUYI", Side.SELL: "SELL"}
    assert records
    assert {record["side"] for record in records} <= set(codes.values())
    assert all(record["event"] in {"FILL", "PARF"} and record["findings"] == [] for record in records)
