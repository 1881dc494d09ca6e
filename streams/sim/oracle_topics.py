"""What must hold between the topics of a run: nothing lost, nothing twice, nothing that was not approved."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from streams.names import Topic
from streams.sim.oracle_history import Fields, Findings, History, Leaf, Place, Stored, decimal, number
from streams.wire.avro import DecodeError, Schema, body_of, decode, prefix
from streams.wire.headers import DEAD_LETTER_REASON, SOURCE_OFFSET, TLOG_PROOF, find_header
from streams.wire.messages import decode_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DAY_US: Final = 86_400_000_000
_ORDER_EVENTS: Final = ("ORDER_APPROVED", "ORDER_REJECTED", "ORDER_DEAD_LETTERED")
_OUTPUTS: Final = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
# Whose every record gets exactly one event of its own.
_LOGGED: Final = (Topic.AGENTS_REGISTRY, Topic.AGENTS_COMMANDS, Topic.TRADES_EXECUTED)
# Events of what a record led to, beside the record's own.
_OWN_WORDS: Final = ("BREAKER_CHANGED", "CERTIFICATE_SUSPENDED", "INCIDENT_CHANGED")
# Columns of the warehouse that say the same as the event's field of that name.
_COLUMNS: Final = ("event_type", "agent_id", "agent_seq", "log_index", "source_offset", "event_time", "outcome")
_VERDICT_COLUMNS: Final = ("cl_ord_id", "decision", "reason", "request_offset", "decision_time")


@dataclass(slots=True)
class Sums:
    """What goes on through every change of the lanes: each bot's sequence, its day's value, what it may trade."""

    sequence: Counter[str] = field(default_factory=Counter)
    limits: dict[bytes, Decimal] = field(default_factory=dict)
    value: dict[tuple[str, int], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    approved: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    traded: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    executions: Counter[tuple[str, str]] = field(default_factory=Counter)


def check_topics(history: History, leaves: Sequence[Leaf], findings: Findings, sums: Sums) -> None:
    """Check invariants 1, 3, 6 and 7, and 2 and 4 once more by plain sums, which go on from `sums`."""
    _check_log(leaves, findings, sums)
    decided = _check_requests(history, leaves, findings)
    verdicts = _read_verdicts(history, leaves, findings)
    _check_outputs(verdicts, decided, findings)
    _check_dead_letters(history, leaves, findings)
    _check_sums(verdicts, leaves, findings, sums)
    _check_trades(history, leaves, findings, sums)
    _check_breakers(history, leaves, findings)
    if history.rows is not None:
        _check_rows(history.rows, leaves, findings)


def _check_log(leaves: Sequence[Leaf], findings: Findings, sums: Sums) -> None:
    """Check that leaf indices per log and sequence numbers per bot have no gap."""
    next_index: Counter[int] = Counter()
    next_sequence = sums.sequence
    for leaf in leaves:
        record, event = leaf.record, leaf.event
        place = f"audit.events {record.partition}/{record.offset}"
        findings.check("log partition", place, record.partition, event["partition"])
        findings.check("log index", place, next_index[record.partition], event["log_index"])
        next_index[record.partition] += 1
        if event["agent_seq"] is not None:
            next_sequence[event["agent_id"]] += 1
            findings.check("bot sequence", place, next_sequence[event["agent_id"]], event["agent_seq"])


def _check_requests(history: History, leaves: Sequence[Leaf], findings: Findings) -> dict[Place, Leaf]:
    """Check that each request has exactly one event (invariant 1), likewise every other record that gets one."""
    sources: dict[Topic, dict[Place, list[Leaf]]] = {topic: {} for topic in (*_LOGGED, Topic.ORDERS_REQUESTED)}
    for leaf in leaves:
        event = leaf.event
        found = next((topic for topic in sources if event["source_topic"].endswith(topic)), None)
        own_word = event["event_type"] in _OWN_WORDS
        if found is not None and not own_word:
            sources[found].setdefault((leaf.record.partition, event["source_offset"]), []).append(leaf)
    for topic, events in sources.items():
        records = {(record.partition, record.offset) for record in history.read(topic)}
        for place in sorted(records | events.keys()):
            count = len(events.get(place, ()))
            if count != 1 and place in records:
                findings.note("1 one event", f"{topic} {place[0]}/{place[1]}", "exactly one audit event", count)
            elif place not in records and topic is not Topic.AGENTS_REGISTRY:  # which is compacted
                findings.note("1 one event", f"{topic} {place[0]}/{place[1]}", "a record", "an event without one")
    return {place: found[0] for place, found in sources[Topic.ORDERS_REQUESTED].items()}


Told = tuple[Topic, Stored, Fields]


def _read_verdicts(history: History, leaves: Sequence[Leaf], findings: Findings) -> list[Told]:
    """Read what bots and venues were told; bytes that are those of an event's verdict have been read with it."""
    known = {
        prefix(Schema.VERDICT) + leaf.event["verdict"]: leaf.verdict for leaf in leaves if leaf.verdict is not None
    }
    told = []
    for topic in _OUTPUTS:
        for record in history.read(topic):
            value = record.value or b""
            try:
                told.append((topic, record, known.get(value) or decode(Schema.VERDICT, value)))
            except DecodeError as error:
                findings.note("unreadable", f"{topic} {record.partition}/{record.offset}", "a verdict", error)
    return told


def _check_outputs(verdicts: list[Told], decided: dict[Place, Leaf], findings: Findings) -> None:
    """Check that each verdict is on its topic exactly once, the same as in its event (invariants 1 and 3)."""
    seen: Counter[Place] = Counter()
    for topic, record, verdict in verdicts:
        at = f"{topic} {record.partition}/{record.offset}"
        place = verdict["request_partition"], verdict["request_offset"]
        seen[place] += 1
        leaf = decided.get(place)
        if leaf is None or leaf.event["verdict"] != body_of(record.value or b""):
            findings.note("3 logged verdict", at, "the verdict of an audit event", "one that no event holds")
        findings.check("verdict topic", at, topic is Topic.ORDERS_APPROVED, verdict["decision"] == "APPROVED")
        findings.check("key", at, verdict["agent_id"].encode(), record.key)
        if topic is Topic.ORDERS_APPROVED and not find_header(record.headers, TLOG_PROOF):
            findings.note("3 logged verdict", at, f"header {TLOG_PROOF}", "none")
    for place, leaf in decided.items():
        expected = 0 if leaf.event["event_type"] == "ORDER_DEAD_LETTERED" else 1
        if seen[place] != expected:
            at = f"orders.requested {place[0]}/{place[1]}"
            findings.note("1 one verdict", at, f"{expected} verdicts on orders.approved and .rejected", seen[place])


def _check_dead_letters(history: History, leaves: Sequence[Leaf], findings: Findings) -> None:
    """Check that what is no order, and nothing else, is a dead letter with its bytes and reason (invariant 7)."""
    events = {
        (leaf.record.partition, leaf.event["source_offset"]): leaf.event
        for leaf in leaves
        if leaf.event["event_type"] in _ORDER_EVENTS
    }
    letters: dict[Place, list[Stored]] = defaultdict(list)
    for record in history.read(Topic.ORDERS_DEAD_LETTER):
        offset = find_header(record.headers, SOURCE_OFFSET)
        letters[record.partition, int(offset) if offset.isdigit() else -1].append(record)
    for request in history.read(Topic.ORDERS_REQUESTED):
        place = request.partition, request.offset
        reason = _unreadable(request)
        at = f"orders.requested {place[0]}/{place[1]}"
        event = events.get(place)
        if event is not None:
            expected = "a verdict" if reason is None else f"a dead letter: {reason}"
            dead = event["event_type"] == "ORDER_DEAD_LETTERED"
            found = f"a dead letter: {event['outcome']}" if dead else "a verdict"
            findings.check("7 verdict or dead letter", at, expected, found)
        _check_letter(request, reason, letters.pop(place, []), at, findings)
    for place, left in letters.items():
        findings.note("7 verdict or dead letter", f"dead letter of {place}", "a request", f"{len(left)} without one")


def _check_letter(request: Stored, reason: str | None, found: list[Stored], at: str, findings: Findings) -> None:
    if len(found) != (reason is not None):
        findings.note("7 verdict or dead letter", at, f"{int(reason is not None)} dead letters", len(found))
    for letter in found:
        findings.check("dead letter value", at, request.value or b"", letter.value or b"")
        findings.check(
            "dead letter reason", at, (reason or "").encode(), find_header(letter.headers, DEAD_LETTER_REASON)
        )


def _unreadable(request: Stored) -> str | None:
    try:
        order = decode_order(request.value or b"")
    except DecodeError as error:
        return str(error.reason)
    return None if (request.key or b"") == order.agent_id.encode() else "KEY_MISMATCH"


def _check_sums(verdicts: list[Told], leaves: Sequence[Leaf], findings: Findings, sums: Sums) -> None:
    """Check by plain sums that no day's approved value is above any policy's limit (invariant 2)."""
    limits, value_of = sums.limits, sums.value
    for leaf in leaves:
        if leaf.event["event_type"] == "AGENT_REGISTERED":
            policy = decode(Schema.AGENT_RECORD, leaf.event["subject"])["policy"]
            limits[hashlib.sha256(policy).digest()] = Decimal(json.loads(policy)["scope"]["max_daily_value_eur"])
    for topic, record, verdict in verdicts:
        value = decimal(verdict["order_value"], 5)
        if topic is not Topic.ORDERS_APPROVED or value is None:
            continue
        key = verdict["agent_id"], verdict["request_time"] // _DAY_US
        value_of[key] += value
        limit = limits.get(verdict["policy_sha256"] or b"")
        lifted = any(failure["reason"] == "DAILY_VALUE_LIMIT_EXCEEDED" for failure in verdict["failures"])
        if limit is None or (value_of[key] > limit and not lifted):  # by whom, its lane has checked
            at = f"orders.approved {record.partition}/{record.offset}"
            findings.note("2 daily limit", at, f"at most {limit} EUR approved for {key[0]} in a day", value_of[key])


def _check_trades(history: History, leaves: Sequence[Leaf], findings: Findings, sums: Sums) -> None:
    """Check that nothing traded without approval, more than was approved, or twice."""
    approved, traded, executions = sums.approved, sums.traded, sums.executions
    for leaf in leaves:
        if leaf.event["event_type"] == "ORDER_APPROVED" and leaf.order is not None:
            order = leaf.order
            approved[order["agent_id"], order["cl_ord_id"]] += number(order["order_qty"], 17)
    for record in history.read(Topic.TRADES_EXECUTED):
        at = f"trades.executed {record.partition}/{record.offset}"
        try:
            report = decode(Schema.EXECUTION_REPORT, record.value or b"")
        except DecodeError:
            continue  # what a venue garbled is an audit event of its own
        key = report["agent_id"], report["cl_ord_id"]
        traded[key] += number(report["last_qty"], 17)
        executions[report["last_mkt"], report["exec_id"]] += 1
        if traded[key] and key not in approved:
            findings.note("trade", at, "a trade of an approved order", f"{key} without approval")
        elif traded[key] > max(approved.get(key, 0), 0):
            findings.note("trade", at, f"at most {approved[key]} traded of {key}", traded[key])
        if executions[report["last_mkt"], report["exec_id"]] > 1:
            findings.note("trade", at, f"execution {report['exec_id']} once", "it again")


def _check_breakers(history: History, leaves: Sequence[Leaf], findings: Findings) -> None:
    """Check that the last change of each bot's state by its own lane was published; the topic is compacted."""
    last = {
        leaf.event["agent_id"]: leaf
        for leaf in leaves
        if leaf.event["event_type"] == "BREAKER_CHANGED" and leaf.event["subject"] is None and leaf.event["agent_id"]
    }
    published = set()
    for record in history.read(Topic.RISK_CIRCUIT_BREAKERS):
        try:
            event = decode(Schema.BREAKER_EVENT, record.value or b"")
        except DecodeError:
            continue  # what others garbled
        published.add((event["target"], event["state"], event["event_time"]))
    for agent_id, leaf in last.items():
        event = leaf.event
        if (agent_id, event["state_after"], event["event_time"]) not in published:
            at = f"log {leaf.record.partition} leaf {event['log_index']}"
            findings.note("breaker", at, f"{agent_id} {event['state_after']} on risk.circuit-breakers", "nothing")


def _check_rows(rows: Iterable[Mapping[str, Any]], leaves: Sequence[Leaf], findings: Findings) -> None:
    """Check that the warehouse has every event once and says the same (invariant 6)."""
    expected = {(leaf.record.partition, leaf.event["log_index"]): leaf for leaf in leaves}
    seen: Counter[Place] = Counter()
    for row in rows:
        place = row["kafka_partition"], row["log_index"]
        at = f"row {place[0]}/{place[1]}"
        seen[place] += 1
        if place not in expected or seen[place] > 1:
            findings.note("6 warehouse", at, "a row per event", "one more")
            continue
        leaf = expected[place]
        findings.check("6 warehouse", f"{at} leaf", leaf.record.value, row["leaf"])
        fields = [(name, leaf.event) for name in _COLUMNS] + [(name, leaf.verdict) for name in _VERDICT_COLUMNS]
        for name, said in fields:
            if name in row and said is not None:
                findings.check("6 warehouse", f"{at} {name}", _text(said[name]), _text(row[name]))
    for place in expected.keys() - seen.keys():
        findings.note("6 warehouse", f"row {place[0]}/{place[1]}", "a row", "none")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
