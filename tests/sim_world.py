"""A whole run in memory: bots, the real lanes of two partitions on a clock of its own, and the paper venue.

Everything that would be in topics is kept as records, so that the oracle can be given a correct history, or one with a
planted fault.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from streams.agents.lane import Lane, Services
from streams.agents.references import References
from streams.agents.trust import TrustSource
from streams.app import TABLES, load_incident_rules
from streams.engine.application import Outputs
from streams.engine.changelog import LaneRows
from streams.names import LANE_SOURCES, Topic
from streams.sim.bots import PlannedMessage, plan, revocations
from streams.sim.fleet import Bot, fleet, policies
from streams.sim.markets import markets_of
from streams.sim.oracle_history import History
from streams.sim.signing import Keyring, to_wire
from streams.sim.venue import PaperVenue
from streams.venue.cancels import Place
from streams.wire import devpki
from streams.wire.commands import Action, Command, Scope, sign_command
from streams.wire.decisions import decode_verdict
from streams.wire.executions import encode_execution_report
from streams.wire.log_keys import log_signers
from streams.wire.messages import decode_order_body, encode_reference_price
from tests.ticks import bundled_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.agents.lane import Trace
    from streams.core.orders import ReferencePrice
    from streams.wire.keys import AgentCredentials, SigningKey
    from streams.wire.signed_orders import WireMessage

PARTITIONS = 2
START_US = 1_773_000_000_000_000
S_US = 1_000_000
DAY_US = 86_400 * S_US


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as the broker keeps it; `timestamp` is what aiokafka calls its append time, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def timestamp_us(self) -> int:
        return self.timestamp * 1000


class World:
    """A cluster in memory with two lanes; time moves only when it is told to."""

    def __init__(
        self,
        folder: Path,
        bots: tuple[Bot, ...] | None = None,
        *,
        trace: Trace | None = None,
        lanes: int = PARTITIONS,
        **policy_options: Any,
    ) -> None:
        self.now_us = START_US
        self.skew_us = 0  # of the broker's clock
        self.ticks = bundled_ticks()
        self.markets = markets_of(self.ticks)
        self.bots = fleet() if bots is None else bots
        self.records: list[Kept] = []
        self._offsets: Counter[tuple[str, int]] = Counter()
        self.origin = "test.example"
        self._pending: dict[int, list[Kept]] = {number: [] for number in range(lanes)}
        self.folder = folder
        devpki.make_dev_pki(folder)
        self.references = References()
        self.references.attach(lambda: True)
        self._trace = trace
        self._tables = {number: tables() for number in range(lanes)}
        self.begin_worker()
        self.venue = PaperVenue()
        self.keys = Keyring({})
        self._people: dict[str, SigningKey] = {}
        self.documents = policies(self.bots, self.markets, _datetime(self.now_us), **policy_options)
        self.credentials: dict[str, AgentCredentials] = {}
        for agent_id in self.documents:
            self.certify(agent_id)

    def begin_worker(self) -> None:
        """Begin a worker's life: what is not in the tables or the trust folder is forgotten."""
        self._services = Services(
            trust=TrustSource.of(self.folder),
            references=self.references,
            signers=lambda number: log_signers(self.folder, f"{self.origin}/{number}"),
            prefix="",
            incident_rules=load_incident_rules(),
            trace=self._trace,
        )
        self._outputs = {number: Outputs() for number in self._tables}
        self.lanes = {n: Lane(n, rows, self._outputs[n], self._services) for n, rows in self._tables.items()}

    def certify(self, agent_id: str) -> None:
        """Give a bot a new key and certificate for its policy."""
        issued = devpki.issue_agent(self.folder, self.documents[agent_id], not_before_us=START_US - DAY_US)
        self.credentials[agent_id] = issued
        self.keys.add(agent_id, issued.private_key, issued.chain[0])

    def partition(self, agent_id: str) -> int:
        return sha256(agent_id.encode()).digest()[0] % len(self._tables)

    def produce(
        self,
        topic: Topic,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> Kept:
        """Append a record; what a lane reads waits for its next micro-batch."""
        number = self.partition((key or b"").decode(errors="replace")) if partition is None else partition
        place = str(topic), number
        record = Kept(topic, number, self._offsets[place], self._appended_ms(), key, value, tuple(headers))
        self._offsets[place] += 1
        self.records.append(record)
        if topic in LANE_SOURCES:
            self._pending[number].append(record)
        if topic is Topic.MARKETS_REFERENCE:
            self.references.on_price(record)
        if topic is Topic.RISK_CIRCUIT_BREAKERS:
            self.references.on_breaker(record)
        return record

    def _appended_ms(self) -> int:
        return (self.now_us + self.skew_us) // 1000

    def register(self, agent_id: str) -> None:
        at_us = self.now_us
        value = devpki.make_registration(self.folder, self.documents[agent_id], self.credentials[agent_id], at_us=at_us)
        self.produce(Topic.AGENTS_REGISTRY, agent_id.encode(), value)

    def register_all(self) -> None:
        for agent_id in self.documents:
            self.register(agent_id)
        self.decide()

    def price(self, price: ReferencePrice) -> None:
        self.produce(Topic.MARKETS_REFERENCE, price.symbol.encode(), encode_reference_price(price), partition=0)

    def prices(self) -> None:
        """Publish the first price of every market as of now."""
        for market in self.markets.values():
            self.price(market.reference(market.first_price_e13, self.now_us))

    def send(self, message: WireMessage) -> Kept:
        return self.produce(Topic.ORDERS_REQUESTED, message.key, message.value, message.headers)

    def command(self, action: Action, scope: Scope, target: str, person: str) -> None:
        command = Command(f"c{len(self.records)}", action, scope, target, "test", person, self.now_us)
        if person not in self._people:
            self._people[person] = devpki.person_key(self.folder, person)
        value, headers = sign_command(command, self._people[person])
        if scope is Scope.BOT:
            self.produce(Topic.AGENTS_COMMANDS, target.encode(), value, headers)
        else:
            for number in self.lanes:
                self.produce(Topic.AGENTS_COMMANDS, b"", value, headers, partition=number)

    def decide(self, after_us: int = 5_000) -> None:
        """Run one micro-batch of every lane, and let the venue act on what was approved."""
        self.now_us += after_us
        for number, lane in self.lanes.items():
            batch, self._pending[number] = self._pending[number], []
            lane.begin(self.now_us)
            for record in sorted(batch, key=lambda r: LANE_SOURCES.index(Topic(r.topic))):
                lane.process(record, lane.prepare(record))
            lane.finish()
            for topic, messages in self._outputs[number].take().items():
                for message in messages:
                    self.produce(Topic(topic), message.key, message.value, message.headers, partition=number)
                    if topic == Topic.ORDERS_APPROVED:
                        self._fill(message.value or b"", number)

    def _fill(self, approved: bytes, partition: int) -> None:
        verdict = decode_verdict(approved)
        order, place = decode_order_body(verdict.order), Place(partition, verdict.log_index)
        for report in self.venue.on_approved(order, place, self.now_us):
            self.produce(Topic.TRADES_EXECUTED, report.agent_id.encode(), encode_execution_report(report))

    def run(self, orders: int, *, seed: int = 1, gap_us: int = 2_000, batch: int = 40) -> None:
        """Play a plan: `gap_us` between messages, a micro-batch every `batch` messages."""
        due = {revocation.after_number: revocation.agent_id for revocation in revocations(self.bots, orders)}
        seen = -1
        for message in plan(self.ticks, self.bots, orders, seed, markets=self.markets):
            self.now_us += gap_us
            seen = self.play_tape(seen, message)
            self.send(to_wire(message, self.keys, self.now_us))
            if message.number in due:
                self.command(Action.REVOKE, Scope.BOT, due[message.number], "compliance_lead@acme")
            if message.number % batch == batch - 1:
                self.decide()
        self.decide()
        self.decide()

    def play_tape(self, seen: int, message: PlannedMessage) -> int:
        moved = {}
        while seen < message.tick_index:
            seen += 1
            tick = self.ticks[seen]
            moved[tick.symbol] = tick.price_e13
            for report in self.venue.on_tick(tick, self.now_us):
                self.produce(Topic.TRADES_EXECUTED, report.agent_id.encode(), encode_execution_report(report))
        for symbol, price_e13 in moved.items():
            self.price(self.markets[symbol].reference(price_e13, self.now_us))
        return seen

    def history(self, **options: Any) -> History:
        return History.of(self.records, **options)


def tables() -> dict[str, Any]:
    """Return a lane's tables, empty."""
    return LaneRows(TABLES).tables


def _datetime(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / S_US, tz=UTC)
