"""What the topics say of kills and breakers that opened: approvals before and after, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.kafka.reading import read_all
from streams.names import Topic
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_audit_event, decode_verdict, decode_verdict_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.kafka.reading import Stored
    from streams.rig.stage import Stage


@dataclass(frozen=True, slots=True)
class Stopped:
    """Milliseconds from a kill's append to the bot's last approval, and from a crossing order's to its refusal."""

    kill_ms: tuple[float, ...]
    approvals_after: int
    approvals_before: int
    breaker_ms: tuple[float, ...]


def read_stopped(stage: Stage, victims: Sequence[str]) -> Stopped:
    """Read a run's topics from the first record; the victims were killed once each."""
    topics = (Topic.AGENTS_COMMANDS, Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.AUDIT_EVENTS)
    names = [stage.topic(topic) for topic in topics]
    servers, security = stage.settings.kafka_bootstrap_servers, stage.settings.kafka_security
    found: dict[str, list[Stored]] = {name: [] for name in names}
    for record in read_all(servers, names, security):
        found[record.topic].append(record)
    commands, approved, rejected, events = found.values()
    killed_us = {decode(Schema.COMMAND, one.value)["target"]: one.timestamp_us for one in commands}
    last_us: dict[str, int] = {}
    for one in approved:
        if decode_verdict(one.value).order_value_e5 is None:
            continue  # a cancellation lowers risk and passes at all times
        agent_id = one.key.decode()
        last_us[agent_id] = max(last_us.get(agent_id, 0), one.timestamp_us)
    before, after = _by_log_order(events, set(victims))
    return Stopped(
        kill_ms=tuple(
            max(last_us[one] - killed_us[one], 0) / 1000 for one in victims if one in last_us and one in killed_us
        ),
        approvals_after=after,
        approvals_before=before,
        breaker_ms=_breaker_ms(events, rejected),
    )


def _by_log_order(events: Iterable[Stored], victims: set[str]) -> tuple[int, int]:
    """Return how many orders of killed bots the logs approve before and after their kill."""
    killed: set[str] = set()
    counts = [0, 0]
    for one in events:
        event, body = decode_audit_event(one.value)
        if event.agent_id not in victims:
            continue
        if event.event_type == "COMMAND_APPLIED":
            killed.add(event.agent_id)
        elif event.event_type != "ORDER_APPROVED" or body is None:
            continue
        elif decode_verdict_body(body).order_value_e5 is not None:
            counts[event.agent_id in killed] += 1
    return counts[0], counts[1]


def _breaker_ms(events: Iterable[Stored], rejected: Iterable[Stored]) -> tuple[float, ...]:
    """Return how long after its own append each order that opened a breaker was refused: it is the first refusal."""
    opened = set()
    for one in events:
        event, _ = decode_audit_event(one.value)
        if event.event_type == "BREAKER_CHANGED" and event.score is not None and event.state_before == "ACTIVE":
            opened.add((one.partition, event.source_offset))
    spans = []
    for one in rejected:
        verdict = decode_verdict(one.value)
        if (verdict.request_partition, verdict.request_offset) in opened:
            spans.append((one.timestamp_us - verdict.request_time_us) / 1000)
    return tuple(spans)
