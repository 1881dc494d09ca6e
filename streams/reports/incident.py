"""The post-incident audit, built from the log: cause, timeline, value blocked, controls that worked and that failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.orders import MONEY_SCALE, decimal_text
from streams.core.texts import time_text
from streams.wire.decisions import decode_verdict_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.core.incident import Incident
    from streams.wire.decisions import AuditEvent

DOCUMENT_TYPE: Final = "portcullis.post-incident-audit.v1"
_TIMELINE_MAX: Final = 60
_TOLD: Final = frozenset(
    ("BREAKER_CHANGED", "CERTIFICATE_SUSPENDED", "DEADLINE_PASSED", "COMMAND_APPLIED", "COMMAND_REFUSED")
)


@dataclass(slots=True)
class _Tally:
    """What was counted on the way through the log."""

    blocked_e5: int = 0
    unvalued: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    approved_stopped: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    late: int = 0
    timeline: list[dict[str, str]] = field(default_factory=list)
    left_out: int = 0


def build_audit(
    incident: Incident, events: Iterable[tuple[AuditEvent, bytes | None]], changes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the audit of an incident as a document.

    Args:
        incident: as it stands.
        events: of the incident's partition from the event before the one that opened it on, each with its verdict's
            body; those of other bots are passed over.
        changes: what is to be changed, in a person's words.
    """
    tally = _Tally()
    for event, body in events:
        if incident.scope == "BOT" and event.agent_id != incident.target:
            continue
        _count(event, body, tally)
    failed = {f"{state}: orders approved": count for state, count in sorted(tally.approved_stopped.items())}
    failed |= {f"execution: {finding}": count for finding, count in sorted(tally.findings.items())}
    if tally.late:
        failed["deadline missed"] = tally.late
    return {
        "type": DOCUMENT_TYPE,
        "incident_id": incident.incident_id,
        "about": f"{incident.scope} {incident.target}".strip(),
        "cause": {"kind": incident.cause.value, "score": incident.score, "crossings": incident.crossings},
        "opened_at": time_text(incident.opened_us),
        "value_blocked_eur": decimal_text(tally.blocked_e5, MONEY_SCALE),
        "orders_blocked": tally.refused.total(),
        "orders_blocked_without_value": tally.unvalued,
        "controls_that_worked": dict(tally.refused.most_common()),
        "controls_that_failed": failed,
        "timeline": tally.timeline,
        "timeline_left_out": tally.left_out,
        "changes_due": list(changes),
    }


def encode_audit(document: dict[str, Any]) -> bytes:
    """Return the document as the bytes that a person signs."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _count(event: AuditEvent, body: bytes | None, tally: _Tally) -> None:
    if event.event_type == "ORDER_REJECTED" and body is not None:
        value_e5 = decode_verdict_body(body).order_value_e5
        tally.refused[event.outcome] += 1
        tally.unvalued += value_e5 is None
        tally.blocked_e5 += value_e5 or 0
    elif event.event_type == "ORDER_APPROVED" and event.state_before == "HALTED" and body is not None:
        if decode_verdict_body(body).order_value_e5 is not None:  # a cancellation has no value, and may always pass
            tally.approved_stopped[event.state_before] += 1
    elif event.event_type == "TRADE_EXECUTED":
        tally.findings.update(event.details.get("findings", "").split())
    elif event.event_type in _TOLD:
        _tell(event, tally)


def _tell(event: AuditEvent, tally: _Tally) -> None:
    if event.event_type == "DEADLINE_PASSED" and event.details.get("deadline") == "DUTY":
        tally.late += 1
    if len(tally.timeline) >= _TIMELINE_MAX:
        tally.left_out += 1
        return
    names = ("action", "effect", "problem", "deadline", "issued_by")
    details = {name: event.details[name][:200] for name in names if name in event.details}
    step = {
        "at": time_text(event.event_time_us),
        "log_index": str(event.log_index),
        "event": event.event_type,
        "state": f"{event.state_before} to {event.state_after}",
        "outcome": event.outcome,
    }
    if event.signer:
        step["by"] = event.signer
    tally.timeline.append(step | details)
