"""What a drill leaves behind, read back as a stranger would: records, the oracle's opinion, the log's verification."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from streams.audit.keys import key_source
from streams.core.policy import parse_policy
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.auditing import verify_audit
from streams.rig.storing import store_the_rest, stored_events
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.warehouse.connection import connect
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action
from streams.wire.decisions import decode_audit_event, decode_verdict
from streams.wire.executions import decode_execution_report
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clickhouse_connect.driver.client import Client

    from streams.core.executions import ExecutionReport
    from streams.core.orders import Order
    from streams.core.policy import Policy
    from streams.drills.ground import Ground
    from streams.drills.plan import DrillPlan
    from streams.kafka.reading import Stored
    from streams.rig.auditing import AuditReport
    from streams.settings import Settings
    from streams.sim.oracle import OracleReport
    from streams.wire.decisions import AuditEvent, Verdict

# The embedded warehouse is one engine with one folder per process.
_ENGINE: Final = threading.Lock()
_TOLD: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict with its order and every reason that it names."""

    verdict: Verdict
    order: Order
    reasons: frozenset[str]


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert, and when it could be seen (microseconds UTC)."""

    kind: str
    agent_id: str
    cause_us: int
    seen_us: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the checks of a drill look at."""

    sent: Counter[str]
    """Messages by the agent_id that they were sent under."""
    verdicts: tuple[Told, ...]
    events: tuple[tuple[int, AuditEvent], ...]
    """The log: partition and event, in log order per partition."""
    alerts: tuple[Alert, ...]
    cancels: tuple[dict[str, Any], ...]
    reports: tuple[ExecutionReport, ...]
    market_breakers: tuple[dict[str, Any], ...]
    policies: dict[str, Policy]
    oracle: OracleReport
    audit: AuditReport
    open_ids: frozenset[tuple[str, str]]
    """Agent_id and ClOrdID of each order that is open at the venue."""
    refused_by_venue: tuple[str, ...]
    checkpoints: tuple[str, ...]
    """The last signed head of each lane's log."""

    def only(self, plan: DrillPlan) -> Evidence:
        """Return what concerns a drill's bots; the log and the oracle's opinion of it stay whole."""
        agents = plan.agents
        return replace(
            self,
            sent=Counter({name: times for name, times in self.sent.items() if name in agents}),
            verdicts=tuple(told for told in self.verdicts if told.verdict.agent_id in agents),
            alerts=tuple(alert for alert in self.alerts if alert.agent_id in agents | {""}),
            cancels=tuple(cancel for cancel in self.cancels if cancel["agent_id"] in agents | {""}),
            reports=tuple(report for report in self.reports if report.agent_id in agents),
            open_ids=frozenset((name, cl_ord_id) for name, cl_ord_id in self.open_ids if name in agents),
        )

    def kills(self, scope: str) -> list[AuditEvent]:
        """Return the kills of a scope and target that the log says were applied."""
        return [
            event
            for _, event in self.events
            if event.event_type == "COMMAND_APPLIED"
            and event.details["action"] == Action.KILL
            and event.details["scope"] == scope
        ]

    def of(self, agent_id: str) -> list[Told]:
        """Return a bot's verdicts, by the order of its decisions."""
        return [told for told in self.verdicts if told.verdict.agent_id == agent_id]

    def by_id(self, cl_ord_ids: list[str]) -> list[Told]:
        """Return the verdicts on messages."""
        wanted = set(cl_ord_ids)
        return [told for told in self.verdicts if told.verdict.cl_ord_id in wanted]

    def approved(self, agent_id: str = "") -> Iterator[Told]:
        """Yield the approvals of a bot, or of all."""
        return (t for t in self.verdicts if t.verdict.approved and agent_id in ("", t.verdict.agent_id))


def gather(ground: Ground) -> Evidence:
    """Read everything back, decide every order again and verify the log; the ground has ended.

    Raises: KafkaException where the cluster does not answer.
    """
    stage, settings = ground.stage, ground.stage.settings
    names = [stage.topic(topic) for topic in Topic]
    records = [*read_all(settings.kafka_bootstrap_servers, names, settings.kafka_security)]
    kept = [record for topic in _COMPACTED for record, _ in ground.watch.seen[topic]]
    compacted = {stage.topic(topic) for topic in _COMPACTED}
    history = History.of([*(r for r in records if r.topic not in compacted), *kept], prefix=settings.topic_prefix)
    with open_warehouse(settings, store=True) as warehouse:
        rows, wrong_rows = stored_events(warehouse, stage.partitions)
        audit = verify_audit(settings, key_source(settings.pki, None), warehouse)
    problems = (*audit.problems, *wrong_rows)
    by_topic = _by_topic(records, settings.topic_prefix)
    return Evidence(
        sent=Counter(record.key.decode() for record in by_topic[Topic.ORDERS_REQUESTED]),
        verdicts=tuple(sorted(_told(by_topic), key=lambda told: told.verdict.decision_time_us)),
        events=tuple((r.partition, decode_audit_event(r.value)[0]) for r in by_topic[Topic.AUDIT_EVENTS]),
        alerts=tuple(_alerts(ground)),
        cancels=tuple(decode(Schema.MASS_CANCEL, r.value) for r in by_topic[Topic.VENUE_COMMANDS]),
        reports=tuple(decode_execution_report(r.value) for r in by_topic[Topic.TRADES_EXECUTED]),
        market_breakers=tuple(_market_breakers(ground)),
        policies={agent_id: parse_policy(document) for agent_id, document in stage.policies.items()},
        oracle=judge(replace(history, rows=rows)),
        audit=replace(audit, verified=not problems, problems=problems),
        open_ids=ground.exchange.open_ids,
        refused_by_venue=tuple(ground.refused_by_venue),
        checkpoints=tuple(_last_heads(by_topic[Topic.AUDIT_CHECKPOINTS])),
    )


@contextmanager
def open_warehouse(settings: Settings, *, store: bool = False) -> Iterator[Client]:
    """Yield a client of the warehouse; `store`: everything that the topics hold is stored before.

    Raises: WarehouseUnavailableError.
    """
    with _ENGINE:
        if store:
            store_the_rest(settings)
        with closing(connect(settings.warehouse)) as client:
            yield client


# Who read along has every record of these; the topic keeps the last of each key.
_COMPACTED: Final = (Topic.MARKETS_REFERENCE, Topic.RISK_CIRCUIT_BREAKERS)


def _by_topic(records: list[Stored], prefix: str) -> defaultdict[Topic, list[Stored]]:
    found: defaultdict[Topic, list[Stored]] = defaultdict(list)
    for record in records:
        found[Topic(record.topic.removeprefix(prefix))].append(record)
    return found


def _told(by_topic: dict[Topic, list[Stored]]) -> Iterator[Told]:
    for topic in _TOLD:
        for record in by_topic[topic]:
            verdict = decode_verdict(record.value)
            reasons = frozenset(failure.reason.value for failure in verdict.failures)
            yield Told(verdict, decode_order_body(verdict.order), reasons)


def _alerts(ground: Ground) -> Iterator[Alert]:
    """Yield the alerts whose cause came once there was somebody to raise them."""
    for record, seen_us in ground.watch.seen[Topic.RISK_ALERTS]:
        fields = decode(Schema.ALERT, record.value)
        if fields["cause_time"] >= ground.ready_us:
            yield Alert(fields["kind"], fields["agent_id"], fields["cause_time"], seen_us)


def _last_heads(records: list[Stored]) -> list[str]:
    last = {record.partition: record.value.decode() for record in records}
    return [last[number] for number in sorted(last)]


def _market_breakers(ground: Ground) -> Iterator[dict[str, Any]]:
    for record, _ in ground.watch.seen[Topic.RISK_CIRCUIT_BREAKERS]:
        fields = decode(Schema.BREAKER_EVENT, record.value)
        if fields["scope"] == "MARKET":
            yield fields
