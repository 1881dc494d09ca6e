"""What becomes of each table and each topic when the number of lanes changes: one stated rule each. Pure.

A lane's rows must be where the bots' producers send that bot from then on, so keys are placed as Kafka's Java client
places them. Whatever restricts somebody is carried, where lanes disagree the stricter of them.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

from aiokafka.partitioner import murmur2

from streams.agents.deadlines import Kind
from streams.names import TableName, Topic


@unique
class TableRule(StrEnum):
    """Where the rows of a table go."""

    BOT = "to the lane of the bot in the key"
    MARKET = "to the lane of the market in the key"
    CONTROL = "each row by the rule of its kind"
    DEADLINE = "with what is due"
    INCIDENT = "a bot's to the lane of the bot, a wider one to lane 0"
    ANEW = "not carried: a log of its own begins, with a leaf that names the logs before it"


@unique
class ControlRule(StrEnum):
    """Where a row of the table of controls goes."""

    EVERY_LANE = "to every lane; who ordered it in any lane may not release it in one"
    ONCE = "to every lane, so that no lane takes a recorded command twice"
    BOT = "to the lane of the bot in the key"
    BREAKER = "what people ordered to every lane, a score's to the lane of the market; of several the strictest"
    LATEST = "to every lane, as one of them has it; another is logged as a change"


@unique
class TopicRule(StrEnum):
    """What becomes of a topic's records."""

    DRAINED = "not carried: every lane has read it to its end, else the move is refused"
    KEPT = "not carried: stays, and is read, under the old prefix"
    REGISTRATIONS = "each bot's registration in force, as received and signed"
    STOPS = "the last state of each breaker that is not closed, in the name of the lane that has its row"
    INCIDENTS = "each open incident as it stands"
    FED = "not carried: an old price must not look new; until the feed writes, every order is refused"
    CLOSED = "not carried: closed, and verified with those that follow"


TABLE_RULES: Final[dict[TableName, TableRule]] = {
    TableName.AGENTS: TableRule.BOT,
    TableName.BOTS: TableRule.BOT,
    TableName.SCORES: TableRule.BOT,
    TableName.DAILY_VALUE: TableRule.BOT,
    TableName.RECENT_IDS: TableRule.BOT,
    TableName.MARKETS: TableRule.MARKET,
    TableName.OPEN_ORDERS: TableRule.BOT,
    TableName.POSITIONS: TableRule.BOT,
    TableName.CONTROLS: TableRule.CONTROL,
    TableName.DEADLINES: TableRule.DEADLINE,
    TableName.INCIDENTS: TableRule.INCIDENT,
    TableName.LOG: TableRule.ANEW,
}

# By the first word of the key.
CONTROL_RULES: Final[dict[str, ControlRule]] = {
    "ALL": ControlRule.EVERY_LANE,
    "OPERATOR": ControlRule.EVERY_LANE,
    "MARKET": ControlRule.EVERY_LANE,
    "COMMAND": ControlRule.ONCE,
    "OVERRIDE": ControlRule.BOT,
    "BREAKER": ControlRule.BREAKER,
    "TRUST": ControlRule.LATEST,
}

DEADLINE_RULES: Final[dict[Kind, TableRule]] = {
    Kind.GRACE: TableRule.BOT,
    Kind.HEARTBEAT: TableRule.BOT,
    Kind.OVERRIDE: TableRule.BOT,
    Kind.DUTY: TableRule.INCIDENT,
}

TOPIC_RULES: Final[dict[Topic, TopicRule]] = {
    Topic.ORDERS_REQUESTED: TopicRule.DRAINED,
    Topic.ORDERS_APPROVED: TopicRule.KEPT,
    Topic.ORDERS_REJECTED: TopicRule.KEPT,
    Topic.ORDERS_DEAD_LETTER: TopicRule.KEPT,
    Topic.TRADES_EXECUTED: TopicRule.DRAINED,
    Topic.AGENTS_REGISTRY: TopicRule.REGISTRATIONS,
    Topic.AGENTS_COMMANDS: TopicRule.DRAINED,
    Topic.AGENTS_HEARTBEATS: TopicRule.DRAINED,
    Topic.AGENTS_REVOCATIONS: TopicRule.KEPT,
    Topic.MARKETS_REFERENCE: TopicRule.FED,
    Topic.RISK_CIRCUIT_BREAKERS: TopicRule.STOPS,
    Topic.RISK_ALERTS: TopicRule.KEPT,
    Topic.RISK_INCIDENTS: TopicRule.INCIDENTS,
    Topic.VENUE_COMMANDS: TopicRule.KEPT,
    Topic.AUDIT_EVENTS: TopicRule.CLOSED,
    Topic.AUDIT_CHECKPOINTS: TopicRule.CLOSED,
    Topic.AUDIT_COSIGNATURES: TopicRule.CLOSED,
    Topic.REPORTS_REGULATOR: TopicRule.KEPT,
}

CARRIED_TOPICS: Final = (Topic.AGENTS_REGISTRY, Topic.RISK_CIRCUIT_BREAKERS, Topic.RISK_INCIDENTS)


def lane_of(key: bytes, lanes: int) -> int:
    """Return the lane of a record's key, as Kafka's Java client and librdkafka's murmur2_random choose it."""
    return int(murmur2(key) & 0x7FFF_FFFF) % lanes
