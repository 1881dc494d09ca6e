"""One partition's application: its records go to the agents in order, their effects into one micro-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from streams.agents.alerts import Alerts
from streams.agents.anomaly import AnomalyAgent
from streams.agents.breakers import BreakersAgent
from streams.agents.controls import ControlsAgent
from streams.agents.deadlines import Deadlines, Kind
from streams.agents.gate import VERIFIED_BY, GateAgent
from streams.agents.heartbeats import HeartbeatsAgent
from streams.agents.incidents import IncidentsAgent
from streams.agents.journal import Journal
from streams.agents.kernel_clock import UNKNOWN
from streams.agents.market_watch import MarketWatch
from streams.agents.markets import MarketsAgent
from streams.agents.overrides import OverridesAgent
from streams.agents.post_trade import PostTradeAgent
from streams.agents.recent import RecentIds
from streams.agents.registry import RegistryAgent
from streams.agents.schedule import ScheduleWatch
from streams.agents.suspensions import SuspensionsAgent
from streams.agents.tally import LaneTally
from streams.agents.trust import TrustAgent
from streams.core.state import BotState
from streams.names import TableName, Topic, log_name
from streams.wire.decisions import AuditEvent, encode_audit_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka.structs import ConsumerRecord

    from streams.agents.deadlines import Due
    from streams.agents.references import References
    from streams.agents.trust import TrustSource
    from streams.core.incident_rules import IncidentRules
    from streams.engine.application import Outputs
    from streams.engine.tables import PartitionTable, WindowedPartitionTable
    from streams.wire.decisions import ScoreDetail, Verdict
    from streams.wire.headers import Header
    from streams.wire.log_keys import LogSigners

    # From an order's headers and its verdict to the headers that go with the verdict.
    Trace = Callable[[Sequence[Header], Verdict], tuple[Header, ...]]


@dataclass(frozen=True, slots=True)
class Services:
    """What all lanes of a worker share."""

    trust: TrustSource
    references: References
    signers: Callable[[int], LogSigners]  # of a partition's log
    prefix: str
    incident_rules: IncidentRules
    clock_source: Callable[[int], str] = lambda _: UNKNOWN  # at a moment (microseconds UTC)
    trace: Trace | None = None  # of orders that bring a trace, where somebody wants to see them

    def topic(self, topic: Topic) -> str:
        """Return a topic's name on the cluster."""
        return self.prefix + topic


class Cause(Protocol):
    """What an event's cause is known by: a record's topic, offset and append time (milliseconds), or a deadline."""

    @property
    def topic(self) -> str:
        """Return the record's topic, or nothing."""

    @property
    def offset(self) -> int:
        """Return the record's offset, or -1."""

    @property
    def timestamp(self) -> int:
        """Return the record's append time, or the deadline, in milliseconds UTC."""


class Moment(NamedTuple):
    """The clock as a cause."""

    topic: str
    offset: int
    timestamp: int


class Lane:
    """The state of one partition and its agents; the engine's `Application`."""

    def __init__(self, partition: int, tables: Mapping[str, Any], outputs: Outputs, services: Services) -> None:
        self.partition = partition
        self.services = services
        self.references = services.references
        self.outputs = outputs
        self.now_us = 0
        self.clock_source = UNKNOWN
        self.references_live = False
        self.bots: PartitionTable[BotState] = tables[TableName.BOTS]
        self.daily_value: WindowedPartitionTable[int] = tables[TableName.DAILY_VALUE]
        topics = (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS, Topic.ORDERS_APPROVED)
        names = (services.topic(topics[0]), services.topic(topics[1]), services.topic(topics[2]))
        self.journal = Journal(tables[TableName.LOG], outputs, services.signers(partition), names)
        self.tally = LaneTally(self.bots.items())
        self.recent = RecentIds(tables[TableName.RECENT_IDS])
        self.alerts = Alerts(self)
        self.deadlines = Deadlines(tables[TableName.DEADLINES])
        self.trust = TrustAgent(self, tables[TableName.CONTROLS])
        self.schedule = ScheduleWatch(self)
        self.registry = RegistryAgent(self, tables[TableName.AGENTS])
        self.anomaly = AnomalyAgent(self, tables[TableName.SCORES])
        self.breakers = BreakersAgent(self)
        self.markets = MarketsAgent(self, tables[TableName.CONTROLS])
        self.suspensions = SuspensionsAgent(self)
        self.overrides = OverridesAgent(self, tables[TableName.CONTROLS])
        self.incidents = IncidentsAgent(self, tables[TableName.INCIDENTS])
        self.heartbeats = HeartbeatsAgent(self)
        self.market_watch = MarketWatch(self, tables[TableName.MARKETS])
        self.controls = ControlsAgent(self, tables[TableName.CONTROLS])
        self.post_trade = PostTradeAgent(self, tables[TableName.OPEN_ORDERS], tables[TableName.POSITIONS])
        self.gate = GateAgent(self)
        self._agents = {
            services.topic(Topic.AGENTS_COMMANDS): self.controls.on_command,
            services.topic(Topic.RISK_CIRCUIT_BREAKERS): self.breakers.on_event,
            services.topic(Topic.AGENTS_REGISTRY): self.registry.on_record,
            services.topic(Topic.MARKETS_REFERENCE): self.market_watch.on_price,
            services.topic(Topic.TRADES_EXECUTED): self.post_trade.on_report,
        }
        self._orders = services.topic(Topic.ORDERS_REQUESTED)
        self._heartbeats = services.topic(Topic.AGENTS_HEARTBEATS)
        self._on_due: dict[Kind, Callable[[Due], None]] = {
            Kind.GRACE: self.suspensions.on_grace_over,
            Kind.HEARTBEAT: self.heartbeats.on_silence,
            Kind.DUTY: self.incidents.on_overdue,
            Kind.OVERRIDE: self.overrides.on_over,
        }

    def prepare(self, record: ConsumerRecord) -> object:
        """Decode what bots sign and check the signature, in a thread; other topics have little traffic."""
        if record.topic == self._orders:
            return self.gate.prepare(record)
        return self.heartbeats.prepare(record) if record.topic == self._heartbeats else None

    def due_us(self) -> int | None:
        """Return when the next deadline is, so that it is kept without traffic too."""
        return self.deadlines.next_us()

    def begin(self, now_us: int) -> None:
        """Start a micro-batch at its decision time, or the log's last where this worker's clock is behind it."""
        self.now_us = max(now_us, self.journal.decided_us)
        self.clock_source = self.services.clock_source(now_us)
        self.references_live = self.references.live
        self.trust.begin()
        self.schedule.begin()

    def process(self, record: ConsumerRecord, prepared: Any) -> None:  # noqa: ANN401 - what `prepare` returned
        """Give a record to its agent."""
        if record.topic == self._orders:
            self.gate.on_order(record, prepared)
        elif record.topic == self._heartbeats:
            self.heartbeats.on_record(record, prepared)
        else:
            self._agents[record.topic](record)

    def finish(self) -> None:
        """End the micro-batch: keep deadlines, forget what is over, write leaves, checkpoint and proven approvals.

        Deadlines come last: a command or sign of life that came in time is in an earlier record.
        """
        for due in self.deadlines.passed(self.now_us):
            self._on_due[due.kind](due)
        self.recent.finish(self.journal.next_index)
        self.gate.expire()
        self.post_trade.expire()
        self.journal.finish(self.now_us)
        self.tally.finish(self.now_us, self.journal.next_index)

    @property
    def name(self) -> str:
        """Return how identifiers of this log's events begin."""
        return log_name(self.partition, self.journal.generation)

    def bot(self, agent_id: str) -> BotState:
        """Return the bot's state, a new one where it has none."""
        state = self.bots.get(agent_id)
        if state is None:
            state = BotState()
            self.bots.put(agent_id, state)
        return state

    def next_sequence(self, agent_id: str, bot: BotState | None) -> int | None:
        """Return the next number of the bot's own gapless sequence of events; None for a bot without state."""
        if bot is None:
            return None
        bot.audit_seq += 1
        self.bots.touch(agent_id)
        return bot.audit_seq

    @staticmethod
    def clock(due_us: int) -> Cause:
        """Return a deadline as the cause of what follows."""
        return Moment("", -1, due_us // 1000)

    def clock_event(self, due: Due, agent_id: str, bot: BotState | None, **fields: Any) -> None:  # noqa: ANN401
        """Append what a deadline has decided: a replay reads it here and looks at no clock."""
        before = "ACTIVE" if bot is None else bot.trading_state.value
        self.record_event(
            self.clock(due.due_us), "DEADLINE_PASSED", agent_id, bot, **{"state_before": before, **fields}
        )

    def record_event(
        self,
        record: Cause,
        event_type: str,
        agent_id: str,
        bot: BotState | None,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        """Append an event that is no order's decision; `fields` are those of `AuditEvent` that differ from nothing."""
        event = self.event(record, event_type, agent_id, bot, **fields)
        self.journal.append(agent_id.encode(), encode_audit_head(event, None))

    def event(  # noqa: PLR0913 - an event has many fields, and each is said by name
        self,
        record: Cause,
        event_type: str,
        agent_id: str,
        bot: BotState | None,
        *,
        subject: bytes | None = None,
        signature: bytes | None = None,
        signer: str | None = None,
        score: ScoreDetail | None = None,
        state_before: str = "ACTIVE",
        policy_sha256: bytes | None = None,
        authorised_by: str | None = None,
        approved_by: str | None = None,
        outcome: str = "NONE",
        details: Mapping[str, str] | None = None,
    ) -> AuditEvent:
        """Return an event with its place in the log and in the bot's own gapless sequence."""
        appended_us = record.timestamp * 1000
        return AuditEvent(
            event_type,
            agent_id,
            self.next_sequence(agent_id, bot),
            self.journal.next_index,
            self.partition,
            self.now_us,
            self.now_us - appended_us,
            self.clock_source,
            record.topic,
            record.offset,
            appended_us,
            subject,
            signature,
            signer,
            score,
            state_before,
            state_before if bot is None else bot.trading_state.value,
            policy_sha256,
            authorised_by,
            VERIFIED_BY,
            approved_by,
            outcome,
            details or {},
        )
