"""Incidents as bytes: the value of `risk.incidents`, and the subject of the event that logs each change."""

from __future__ import annotations

from streams.core.incident import Cause, Duty, DutyState, Incident, Reporting
from streams.wire.avro import Schema, decode, encode


def encode_incident(incident: Incident) -> bytes:
    """Return an incident as a framed value."""
    return encode(
        Schema.INCIDENT,
        {
            "incident_id": incident.incident_id,
            "scope": incident.scope,
            "target": incident.target,
            "cause": incident.cause.value,
            "score": incident.score,
            "crossings": incident.crossings,
            "opened_at": incident.opened_us,
            "partition": incident.partition,
            "log_index": incident.log_index,
            "reporting": incident.reporting.value,
            "duties": [
                {
                    "duty": one.duty.value,
                    "due_at": one.due_us,
                    "done_us": one.done_us,
                    "done_by": one.done_by,
                    "overdue": one.overdue,
                }
                for one in incident.duties
            ],
            "closed": incident.closed,
            "changed_at": incident.changed_us,
        },
    )


def decode_incident(value: bytes) -> Incident:
    """Read a framed incident. Raises: DecodeError."""
    record = decode(Schema.INCIDENT, value)
    return Incident(
        incident_id=record["incident_id"],
        scope=record["scope"],
        target=record["target"],
        cause=Cause(record["cause"]),
        score=record["score"],
        opened_us=record["opened_at"],
        partition=record["partition"],
        log_index=record["log_index"],
        changed_us=record["changed_at"],
        crossings=record["crossings"],
        reporting=Reporting(record["reporting"]),
        duties=tuple(
            DutyState(Duty(one["duty"]), one["due_at"], one["done_us"], one["done_by"], one["overdue"])
            for one in record["duties"]
        ),
    )
