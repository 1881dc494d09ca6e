"""A survey of the audit log: what a year of it says about trades, breakers, kills and scale, in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.core.policy import Policy, parse_policy
from streams.core.reasons import Reason
from streams.kafka.reading import partitions_of, read_all, reader
from streams.names import Topic
from streams.rig.tally import Marks
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action
from streams.wire.decisions import decode_audit_event, decode_verdict_body
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.settings import Settings
    from streams.wire.decisions import AuditEvent

_PLACES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class KillSeen:
    """A person's kill as the log has it; `effect_ms` is from the person's decision to its effect."""

    place: str
    person: str
    scope: str
    effect_ms: float


@dataclass(slots=True)
class Survey:
    """Counts and places (`partition/log index`) of what a fitness test looks at; times in microseconds UTC."""

    first_us: int = 0
    last_us: int = 0
    events: int = 0
    approved: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    trades: int = 0
    trade_findings: Counter[str] = field(default_factory=Counter)
    unproven_trades: list[str] = field(default_factory=list)
    scores_above: int = 0
    approved_above: int = 0
    approved_above_kill: list[str] = field(default_factory=list)
    breakers: list[str] = field(default_factory=list)
    kills: list[KillSeen] = field(default_factory=list)
    bots: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    markets: set[str] = field(default_factory=set)
    venues: set[str] = field(default_factory=set)
    approved_e5: int = 0


def survey_log(settings: Settings, since_us: int) -> Survey:
    """Read every log of the cluster once and survey what happened since a moment.

    Raises: KafkaException where the cluster does not answer.
    """
    survey, policies = Survey(), dict[bytes, Policy]()
    topic = settings.topic_prefix + Topic.AUDIT_EVENTS
    consumer = reader(settings.require_cluster(), settings.kafka_security)
    numbers = [number for _, number in partitions_of(consumer, [topic])]
    consumer.close()
    for number in numbers:
        approvals = Marks()
        for event, verdict in _events(settings, topic, number):
            if event.event_type == "ORDER_APPROVED":
                approvals.set(event.log_index)
            _learn(event, policies, survey)
            if event.event_time_us >= since_us:
                _take(survey, event, verdict, policies, approvals)
    return survey


def _events(settings: Settings, topic: str, number: int) -> Iterator[tuple[AuditEvent, bytes | None]]:
    records = read_all(settings.require_cluster(), [topic], settings.kafka_security, partition=number)
    return (decode_audit_event(record.value) for record in records)


def _learn(event: AuditEvent, policies: dict[bytes, Policy], survey: Survey) -> None:
    """Take what a registration says of its policy."""
    if event.event_type != "AGENT_REGISTERED" or event.subject is None or event.policy_sha256 is None:
        return
    policy = parse_policy(decode(Schema.AGENT_RECORD, event.subject)["policy"])
    policies[event.policy_sha256] = policy
    survey.bots.add(policy.agent_id)
    survey.operators.add(policy.operator)


def _take(
    survey: Survey, event: AuditEvent, verdict: bytes | None, policies: dict[bytes, Policy], approvals: Marks
) -> None:
    place = f"{event.partition}/{event.log_index}"
    survey.events += 1
    survey.first_us = min(survey.first_us or event.event_time_us, event.event_time_us)
    survey.last_us = max(survey.last_us, event.event_time_us)
    if verdict is not None:
        _decision(survey, place, verdict, policies)
    elif event.event_type == "TRADE_EXECUTED":
        _trade(survey, place, event, approvals)
    elif event.event_type == "BREAKER_CHANGED" and event.outcome == Reason.CIRCUIT_BREAKER_ACTIVE and event.score:
        _note(survey.breakers, f"{place} {event.agent_id} {event.state_after} score {event.score.value:.3f}")
    elif event.event_type == "COMMAND_APPLIED" and event.details.get("action") == Action.KILL:
        issued_us = decode(Schema.COMMAND, event.subject or b"")["issued_at"]
        effect_ms = round((event.event_time_us - issued_us) / 1000, 1)
        survey.kills.append(KillSeen(place, event.signer or "", event.details["scope"], effect_ms))


def _decision(survey: Survey, place: str, body: bytes, policies: dict[bytes, Policy]) -> None:
    verdict = decode_verdict_body(body)
    order = decode_order_body(verdict.order)
    policy, score = policies.get(verdict.policy_sha256 or b""), verdict.score or 0.0
    above = policy is not None and score > policy.breaker_threshold
    survey.scores_above += above
    if verdict.approved:
        survey.approved += 1
        survey.approved_e5 += verdict.order_value_e5 or 0
        survey.markets.add(order.symbol)
        survey.venues.add(order.ex_destination)
        survey.approved_above += above
        if policy is not None and score > policy.kill_threshold:
            _note(survey.approved_above_kill, place)
    else:
        survey.rejected[verdict.reason.value] += 1


def _trade(survey: Survey, place: str, event: AuditEvent, approvals: Marks) -> None:
    survey.trades += 1
    if event.outcome != "NONE":
        survey.trade_findings[event.outcome] += 1
    if int(event.details.get("approval_log_index", "-1")) not in approvals:
        _note(survey.unproven_trades, place)


def _note(places: list[str], place: str) -> None:
    if len(places) < _PLACES_MAX:
        places.append(place)
