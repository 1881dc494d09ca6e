"""Topic names: public interfaces, the same in `topology/topics.toml` (a test compares them)."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class Topic(StrEnum):
    """Every topic, without the prefix that an isolated run puts before it."""

    ORDERS_REQUESTED = "orders.requested"
    ORDERS_APPROVED = "orders.approved"
    ORDERS_REJECTED = "orders.rejected"
    ORDERS_DEAD_LETTER = "orders.dead-letter"
    TRADES_EXECUTED = "trades.executed"
    AGENTS_REGISTRY = "agents.registry"
    AGENTS_COMMANDS = "agents.commands"
    AGENTS_HEARTBEATS = "agents.heartbeats"
    AGENTS_REVOCATIONS = "agents.revocations"
    MARKETS_REFERENCE = "markets.reference"
    RISK_CIRCUIT_BREAKERS = "risk.circuit-breakers"
    RISK_ALERTS = "risk.alerts"
    RISK_INCIDENTS = "risk.incidents"
    VENUE_COMMANDS = "venue.commands"
    AUDIT_EVENTS = "audit.events"
    AUDIT_CHECKPOINTS = "audit.checkpoints"
    AUDIT_COSIGNATURES = "audit.cosignatures"
    REPORTS_REGULATOR = "reports.regulator"


# What one partition's lane reads, in the order in which a micro-batch takes them: what restricts comes first.
LANE_SOURCES = (
    Topic.AGENTS_COMMANDS,
    Topic.RISK_CIRCUIT_BREAKERS,
    Topic.AGENTS_REGISTRY,
    Topic.AGENTS_HEARTBEATS,
    Topic.MARKETS_REFERENCE,
    Topic.TRADES_EXECUTED,
    Topic.ORDERS_REQUESTED,
)

# What it writes, beside the changelogs of its tables.
LANE_OUTPUTS = (
    Topic.ORDERS_APPROVED,
    Topic.ORDERS_REJECTED,
    Topic.ORDERS_DEAD_LETTER,
    Topic.AGENTS_REVOCATIONS,
    Topic.RISK_CIRCUIT_BREAKERS,
    Topic.RISK_ALERTS,
    Topic.RISK_INCIDENTS,
    Topic.VENUE_COMMANDS,
    Topic.AUDIT_EVENTS,
    Topic.AUDIT_CHECKPOINTS,
    Topic.REPORTS_REGULATOR,
)

WIDE_LANE: Final = 0
"""The partition that keeps the incidents of commands which every partition gets."""


def log_name(partition: int, generation: int) -> str:
    """Return how identifiers of a log's events begin: its number, after a move to other lanes with the generation's."""
    return str(partition) if generation == 1 else f"g{generation}.{partition}"


def generation_of(identifier: str) -> int:
    """Return the generation of the log in whose name an identifier was given."""
    number, dot, _ = identifier.partition(".")
    return int(number[1:]) if dot and number[:1] == "g" and number[1:].isdigit() else 1


@unique
class TableName(StrEnum):
    """The lane's tables; they share a compacted changelog that Faust makes and restores."""

    AGENTS = "agents"
    BOTS = "bots"
    SCORES = "scores"
    DAILY_VALUE = "daily-value"
    RECENT_IDS = "recent-ids"
    MARKETS = "markets"
    OPEN_ORDERS = "open-orders"
    POSITIONS = "positions"
    CONTROLS = "controls"
    DEADLINES = "deadlines"
    INCIDENTS = "incidents"
    LOG = "log"
