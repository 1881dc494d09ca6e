"""Another number of lanes on a real broker: refused while anything moves, taken up again where it broke off, proven."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from streams.audit.epochs import Epoch
from streams.audit.keys import key_source
from streams.cli.application import app
from streams.clock import now_us
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.core.reasons import Reason
from streams.kafka.commanding import give
from streams.kafka.producing import Sender
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.repartition import moving
from streams.repartition.looking import survey, unread
from streams.repartition.writing import RepartitionError, moved_settings, write_lane
from streams.rig.auditing import verify_audit
from streams.rig.log_folder import export_logs, verify_folder
from streams.rig.processes import Service, environment
from streams.rig.settling import wait_until_settled
from streams.rig.stage import Stage, open_stage
from streams.settings import Settings
from streams.sim.fleet import REGION, Habit, fleet
from streams.sim.markets import VENUE_MIC
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire.commands import Action, Command, Scope
from streams.wire.decisions import decode_audit_event, decode_verdict
from streams.wire.messages import encode_reference_price
from streams.wire.signed_orders import sign_order
from tests.floor import UNHURRIED_MS
from tests.integration.engine_rig import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

CEO, CFO = "ceo@acme", "cfo@acme"
OLD, NEW = 2, 3
DAY_EUR = 1_000


@dataclass
class Generation:
    """A worker on some lanes, and what people and bots do there."""

    stage: Stage
    settings: Settings
    worker: Service = field(init=False)

    def __post_init__(self) -> None:
        # Without a static name: its place in the group ends with it.
        self.worker = Service(f"worker-{self.settings.lanes}", ["worker"], self.settings, self.stage.folder / "logs")
        self.sender = Sender(self.settings.kafka_bootstrap_servers, {})

    def start(self) -> None:
        self.worker.start()
        self.worker.wait_for_line("ready at offsets")
        for market in self.stage.markets.values():
            price = market.reference(market.first_price_e13, now_us())
            topic = self.settings.topic_prefix + Topic.MARKETS_REFERENCE
            self.sender.send(topic, market.symbol.encode(), encode_reference_price(price))
        self.sender.flush()

    def command(self, action: Action, scope: Scope, target: str, person: str) -> tuple[bool, int]:
        command = Command(f"c-{now_us()}", action, scope, target, "test", person, now_us())
        answer = give(self.settings, command)
        return answer.applied, len(answer.partitions)

    def order(self, agent_id: str, eur: int) -> str:
        """Send an order of so much and return its identifier."""
        market = self.stage.markets["BTC_USDT"]
        order = Order(
            agent_id,
            f"o-{now_us()}",
            None,
            MsgType.NEW_ORDER_SINGLE,
            market.symbol,
            VENUE_MIC,
            REGION,
            Side.BUY,
            OrdType.MARKET,
            TimeInForce.DAY,
            market.qty_for_eur(eur, market.first_price_e13),
            None,
            now_us(),
        )
        wire = sign_order(order, self.stage.keys.of(agent_id))
        self.sender.send(self.settings.topic_prefix + Topic.ORDERS_REQUESTED, wire.key, wire.value, wire.headers)
        self.sender.flush()
        return order.cl_ord_id

    def reasons(self) -> dict[str, Reason]:
        """Return every verdict's reason, once all that was sent is decided."""
        wait_until_settled(self.settings, check=self.worker.require_running)
        topics = [self.settings.topic_prefix + topic for topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
        records = read_all(self.settings.kafka_bootstrap_servers, topics, {})
        return {verdict.cl_ord_id: verdict.reason for verdict in (decode_verdict(r.value) for r in records)}

    def history(self) -> History:
        prefix = self.settings.topic_prefix
        records = read_all(self.settings.kafka_bootstrap_servers, [prefix + topic for topic in Topic], {})
        return History.of(records, prefix=prefix)

    def sequence(self, agent_id: str) -> list[int | None]:
        topic = self.settings.topic_prefix + Topic.AUDIT_EVENTS
        events = (decode_audit_event(r.value)[0] for r in read_all(self.settings.kafka_bootstrap_servers, [topic], {}))
        return [event.agent_seq for event in events if event.agent_id == agent_id]


def small_days(_agent_id: str, document: bytes) -> bytes:
    body = json.loads(document)
    body["scope"]["max_daily_value_eur"] = str(DAY_EUR)
    return json.dumps(body).encode()


def run_cli(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, dict[str, Any]]:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["topology", "repartition", *arguments, "--by", "cto@acme", "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def breaks_off(*arguments: Any) -> None:
    """Write a lane as the command does, but for the last."""
    if arguments[-1] == NEW - 1:
        raise RepartitionError("the machine went away")
    write_lane(*arguments)


def test_lanes_become_more_and_forget_nothing(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = list(read_tape(BUNDLED_TAPE))[:500]
    bots = fleet(3, (Habit.TAKER,))
    spender, halted, fresh = (bot.agent_id for bot in bots)
    settings = Settings(home=tmp_path, kafka_bootstrap_servers=kafka, lanes=OLD, fetch_wait_ms_min=UNHURRIED_MS)
    with open_stage(tmp_path / "stage", settings, ticks, bots, tune=small_days) as stage:
        old = Generation(stage, stage.settings)
        prefix = f"{stage.settings.topic_prefix}v2."
        to = ("--to-prefix", prefix, "--lanes", str(NEW))
        try:
            old.start()
            spent = [old.order(spender, 400), old.order(spender, 400)]
            assert {old.reasons()[name] for name in spent} == {Reason.NONE}
            assert old.command(Action.HALT, Scope.BOT, halted, CEO) == (True, 1)
            code, refused = run_cli(stage.settings, monkeypatch, *to[:3], str(OLD))
            assert (code, refused["moved"]) == (1, False)
            assert {problem.partition(":")[0] for problem in refused["problems"]} >= {"workers", "KILL ALL", "lanes"}
            assert old.command(Action.KILL, Scope.ALL, "", CEO) == (True, OLD)
        finally:
            old.worker.stop()
        following = Epoch(f"{stage.settings.log_origin}/{prefix.rstrip('.')}", NEW, prefix)
        check_open_transaction(stage.settings, following)
        move(stage.settings, monkeypatch, to)
        new = Generation(stage, moved_settings(stage.settings, following))
        try:
            new.start()
            check_after(old, new, (spender, halted, fresh))
        finally:
            new.worker.stop()
        check_proofs(old, new, tmp_path)
        old.order(fresh, 100)  # what comes to an old topic now is nobody's: it shows
        assert sum(unread(old.settings).values()) == 1


def check_open_transaction(settings: Settings, following: Epoch) -> None:
    """Nobody moves while somebody, as a worker that hangs, could still commit."""
    producer = Producer({**settings.cluster(), "transactional.id": f"{settings.group}-hangs"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(settings.topic_prefix + Topic.AUDIT_EVENTS, b"a leaf", partition=0)
    producer.flush()
    assert any(problem.startswith("open transactions") for problem in survey(settings, following).problems)
    producer.abort_transaction()
    assert wait_until(lambda: not survey(settings, following).problems, 30)


def move(settings: Settings, monkeypatch: pytest.MonkeyPatch, to: tuple[str, ...]) -> None:
    """Say what would be moved, break off in the middle, and go on."""
    code, planned = run_cli(settings, monkeypatch, *to, "--dry-run")
    assert (code, planned["moved"], planned["problems"], planned["left"]) == (0, False, [], [])
    with monkeypatch.context() as patched:
        patched.setattr(moving, "write_lane", breaks_off)
        following = Epoch(f"{settings.log_origin}/{to[1].rstrip('.')}", NEW, to[1])
        with pytest.raises(RepartitionError):
            moving.repartition(settings, following, by=CFO, now_us=now_us(), dry_run=False, tell=lambda _: None)
    code, moved = run_cli(settings, monkeypatch, *to)
    assert (code, moved["moved"], moved["late"]) == (0, True, {})
    assert moved["tables"]["daily-value"] == {"read": 1, "written": 1}
    assert moved["tables"]["bots"] == {"read": 3, "written": 3}
    assert moved["topics"]["agents.registry"] == 3
    assert moved["topics"]["risk.circuit-breakers"] == 1


def check_after(old: Generation, new: Generation, names: tuple[str, str, str]) -> None:
    spender, halted, fresh = names
    early = new.order(fresh, 100)
    assert new.reasons()[early] is Reason.KILL_SWITCH_ENGAGED
    assert new.command(Action.RELEASE, Scope.ALL, "", CEO) == (False, NEW)
    assert new.command(Action.RELEASE, Scope.ALL, "", CFO) == (True, NEW)
    orders = {
        new.order(spender, 400): Reason.DAILY_VALUE_LIMIT_EXCEEDED,
        new.order(spender, 100): Reason.NONE,
        new.order(halted, 100): Reason.TRADING_HALTED,
        new.order(fresh, 100): Reason.NONE,
    }
    reasons = new.reasons()
    assert {name: reasons[name] for name in orders} == orders
    for name in names:
        numbers = old.sequence(name) + new.sequence(name)
        assert numbers == list(range(1, len(numbers) + 1))


def check_proofs(old: Generation, new: Generation, folder: Path) -> None:
    """Both generations' logs hold, in the topics and taken along, and the oracle finds the verdicts right."""
    keys = key_source(new.settings.pki, None)
    report = verify_audit(new.settings, keys, None)
    assert (report.problems, report.logs) == ((), OLD + NEW)
    export_logs(new.settings, folder / "logs")
    assert verify_folder(folder / "logs", keys, ()).problems == ()
    judged = judge(old.history(), new.history())
    assert judged.mismatches_total == 0, str(judged)
    assert judged.approved == 4
