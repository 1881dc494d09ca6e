"""The worker's Faust app: its tables, its agents, and the lanes they feed."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.agents.kernel_clock import KernelClock
from streams.agents.lane import Lane, Services
from streams.agents.references import References
from streams.agents.trust import TRUST_EVERY_S, TrustSource
from streams.core.anomaly import BotProfile
from streams.core.executions import Approval
from streams.core.incident import Incident
from streams.core.incident_rules import IncidentRules, parse_rules
from streams.core.market import MarketProfile
from streams.core.state import BotState
from streams.engine.app import create_app
from streams.engine.changelog import TableKind
from streams.engine.options import EngineOptions, LaneTopics
from streams.engine.periodic import Periodic
from streams.engine.reader import LatestReader
from streams.names import LANE_OUTPUTS, LANE_SOURCES, TableName, Topic
from streams.resources import resource
from streams.wire.log_keys import log_signers

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from streams.agents.lane import Trace
    from streams.engine.app import EngineApp
    from streams.engine.sources import SourceBatch
    from streams.settings import Settings
    from streams.topics.model import Topology

DAY_S = 86_400.0
RECENT_WINDOW_S = 60.0


class RowList:
    """Rows that are plain lists, as JSON."""

    def encode(self, row: Any, /) -> bytes:  # noqa: ANN401 - any JSON
        """Return the row's bytes."""
        return orjson.dumps(row)

    def decode(self, data: bytes, /) -> Any:  # noqa: ANN401
        """Return the row."""
        return orjson.loads(data)


class RowOf:
    """Rows of a class with `to_row` and `from_row`, as JSON."""

    def __init__(self, of: Any) -> None:  # noqa: ANN401 - a class; its two methods are its own
        self._from_row: Callable[[list[Any]], Any] = of.from_row

    def encode(self, row: Any, /) -> bytes:  # noqa: ANN401
        """Return the row's bytes."""
        return orjson.dumps(row.to_row())

    def decode(self, data: bytes, /) -> Any:  # noqa: ANN401
        """Return the row."""
        return self._from_row(orjson.loads(data))


class RowBytes:
    """Rows that are bytes already."""

    def encode(self, row: bytes, /) -> bytes:
        """Return the row itself."""
        return row

    def decode(self, data: bytes, /) -> bytes:
        """Return the row itself."""
        return data


# Each table, how its rows are written, and its tumbling window; Faust makes and restores their changelog.
TABLES: Final[dict[str, TableKind]] = {
    TableName.AGENTS: TableKind(RowBytes()),
    TableName.BOTS: TableKind(RowOf(BotState)),
    TableName.SCORES: TableKind(RowOf(BotProfile)),
    TableName.MARKETS: TableKind(RowOf(MarketProfile)),
    TableName.DAILY_VALUE: TableKind(RowList(), DAY_S),
    TableName.RECENT_IDS: TableKind(RowList(), RECENT_WINDOW_S),
    TableName.OPEN_ORDERS: TableKind(RowOf(Approval)),
    TableName.POSITIONS: TableKind(RowList()),
    TableName.CONTROLS: TableKind(RowList()),
    TableName.DEADLINES: TableKind(RowList()),
    TableName.INCIDENTS: TableKind(RowOf(Incident)),
    TableName.LOG: TableKind(RowBytes()),
}


def load_incident_rules() -> IncidentRules:
    """Return the deadlines of incidents. Raises: IncidentRulesError where their document does not hold."""
    return parse_rules(tomllib.loads(resource("topology/incidents.toml").read_text(encoding="utf-8")))


def build_app(settings: Settings, topology: Topology, trace: Trace | None = None) -> EngineApp:
    """Return the Faust app of one worker; `trace` is told of each verdict.

    Raises: PortcullisError where keys or trust material are missing.
    """
    references, trust = References(), TrustSource.of(settings.pki)
    services = Services(
        trust=trust,
        references=references,
        signers=lambda partition: log_signers(settings.pki, f"{settings.log_origin}/{partition}"),
        prefix=settings.topic_prefix,
        incident_rules=load_incident_rules(),
        clock_source=KernelClock().source,
        trace=trace,
    )
    readers = [
        LatestReader(
            services.topic(topic),
            bootstrap_servers=settings.kafka_bootstrap_servers,
            on_record=on_record,
            security=settings.aiokafka_security(),
        )
        for topic, on_record in (
            (Topic.MARKETS_REFERENCE, references.on_price),
            (Topic.RISK_CIRCUIT_BREAKERS, references.on_breaker),
        )
    ]

    def live() -> bool:
        return all(reader.caught_up for reader in readers)

    references.attach(live)
    app = create_app(
        _options(settings, topology),
        LaneTopics(
            sources=[services.topic(topic) for topic in LANE_SOURCES],
            outputs=[services.topic(topic) for topic in LANE_OUTPUTS],
            patient=frozenset((services.topic(Topic.MARKETS_REFERENCE),)),
        ),
        TABLES,
        lambda partition, tables, outputs: Lane(partition, tables, outputs, services),
        services=[*readers, Periodic(trust.look, TRUST_EVERY_S)],
        ready=live,
    )
    _declare_agents(app, settings.topic_prefix)
    return app


def _options(settings: Settings, topology: Topology) -> EngineOptions:
    return EngineOptions(
        app_id=settings.group,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        partitions=topology.lanes,
        replication_factor=topology.replicas,
        instance_id=settings.instance_id or None,
        session_timeout_ms=settings.session_timeout_ms,
        fetch_wait_ms_min=settings.fetch_wait_ms_min,
        fetch_wait_ms_max=settings.fetch_wait_ms_max,
        rows_in_memory_max=settings.rows_in_memory_max,
        batch_records_max=settings.batch_records_max,
        verify_threads=settings.verify_threads,
        security=settings.aiokafka_security(),
        data_dir=settings.home / "worker",
    )


def _declare_agents(app: EngineApp, prefix: str) -> None:
    """Give each source topic its agent; its body hands micro-batches to the lanes and never raises."""
    for topic in LANE_SOURCES:

        @app.agent(app.topic(prefix + topic), name=str(topic))
        async def agent(batches: AsyncIterable[SourceBatch]) -> None:
            async for batch in batches:
                await app.engine.deliver(batch)
