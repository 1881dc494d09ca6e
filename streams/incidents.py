"""Incidents as people see them: read from their topic, audited from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.audit.epochs import Epoch, load_epochs
from streams.core.errors import PortcullisError
from streams.core.texts import time_text
from streams.kafka.reading import read_all
from streams.names import WIDE_LANE, Topic, generation_of
from streams.reports.incident import build_audit, encode_audit
from streams.wire.decisions import decode_audit_event
from streams.wire.incidents import decode_incident

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.core.incident import Incident
    from streams.settings import Settings
    from streams.wire.decisions import AuditEvent


class UnknownIncidentError(PortcullisError):
    """There is no such incident."""


def incidents(settings: Settings) -> dict[str, Incident]:
    """Return every incident as it stands, by its id, the oldest first."""
    topic = settings.topic_prefix + Topic.RISK_INCIDENTS
    found = {}
    for record in read_all(settings.require_cluster(), [topic], settings.kafka_security):
        incident = decode_incident(record.value)
        found[incident.incident_id] = incident
    return dict(sorted(found.items(), key=lambda item: item[1].opened_us))


def incident_of(settings: Settings, incident_id: str) -> Incident:
    """Return one incident. Raises: UnknownIncidentError."""
    found = incidents(settings).get(incident_id)
    if found is None:
        raise UnknownIncidentError(f"{incident_id[:80]!a}: no such incident")
    return found


def audit_of(settings: Settings, incident: Incident, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the incident's audit, from its partition's log as it is now."""
    return build_audit(incident, _events(settings, incident), changes)


def completed_audit(settings: Settings, incident: Incident, changes: Sequence[str], *, findings: str, by: str) -> bytes:
    """Return the audit as the document that a person signs: from the log as it is now, with what they found."""
    return encode_audit(audit_of(settings, incident, changes) | {"findings": findings, "completed_by": by})


def _events(settings: Settings, incident: Incident) -> Iterator[tuple[AuditEvent, bytes | None]]:
    """Yield the log's events from just before the incident; what led to it stands right before.

    Where the number of lanes changed since, those of the logs that followed too.
    """
    servers, before = settings.require_cluster(), generation_of(incident.incident_id) - 1
    epochs = load_epochs(settings.pki, Epoch(settings.log_origin, 0, settings.topic_prefix))[before:]
    if not epochs:
        raise UnknownIncidentError(f"{incident.incident_id}: the list of logs here does not reach it")
    later = WIDE_LANE if incident.scope != "BOT" else None
    for number, epoch in enumerate(epochs):
        lane, first = (later, 0) if number else (incident.partition, incident.log_index - 3)
        topic = epoch.prefix + Topic.AUDIT_EVENTS
        for record in read_all(servers, [topic], settings.kafka_security, partition=lane):
            event, body = decode_audit_event(record.value)
            if event.log_index >= first:
                yield event, body


def shown(incident: Incident) -> dict[str, Any]:
    """Return an incident for people and scripts."""
    return {
        "incident_id": incident.incident_id,
        "about": f"{incident.scope} {incident.target}".strip(),
        "cause": incident.cause.value,
        "score": incident.score,
        "crossings": incident.crossings,
        "opened_at": time_text(incident.opened_us),
        "reporting": incident.reporting.value,
        "closed": incident.closed,
        "duties": [
            {
                "duty": one.duty.value,
                "due_at": time_text(one.due_us),
                "done_at": None if one.done_us is None else time_text(one.done_us),
                "done_by": one.done_by,
                "overdue": one.overdue,
            }
            for one in incident.duties
        ],
    }
