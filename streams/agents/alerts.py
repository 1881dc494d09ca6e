"""Alerts: what a person must see, once per cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.wire.avro import Schema, encode
from streams.wire.headers import cloud_event

if TYPE_CHECKING:
    from streams.agents.lane import Lane
    from streams.core.alert_kinds import AlertKind

INFO: Final = "INFO"
WARNING: Final = "WARNING"
CRITICAL: Final = "CRITICAL"

# Causes that strangers can produce at will are told once in this time for each bot.
_QUIET_US: Final = 60_000_000
_REMEMBERED_MAX: Final = 10_000


class Alerts:
    """Writes alerts to `risk.alerts` in the micro-batch of their cause."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._topic = lane.services.topic(Topic.RISK_ALERTS)
        self._told_us: dict[tuple[AlertKind, str], int] = {}

    def raise_alert(
        self, severity: str, kind: AlertKind, message: str, *, agent_id: str = "", symbol: str = "", cause_us: int
    ) -> None:
        """Write an alert; its id is the place in the log of the event that explains it."""
        lane = self._lane
        lane.tally.alerts[severity] += 1
        alert_id = f"{lane.name}-{lane.journal.next_index - 1}-{kind}"
        value = encode(
            Schema.ALERT,
            {
                "alert_id": alert_id,
                "severity": severity,
                "kind": kind,
                "agent_id": agent_id,
                "symbol": symbol,
                "message": message,
                "cause_time": cause_us,
                "raised_at": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.alert", f"/lanes/{lane.partition}", alert_id)
        lane.outputs.send(self._topic, (agent_id or symbol).encode(), value, headers)

    def raise_once(self, severity: str, kind: AlertKind, message: str, *, agent_id: str, cause_us: int) -> None:
        """Write an alert unless one of this kind was written for the bot within the last minute."""
        told_us = self._told_us.get((kind, agent_id))
        if told_us is not None and self._lane.now_us - told_us < _QUIET_US:
            return
        if len(self._told_us) >= _REMEMBERED_MAX:
            self._told_us.clear()
        self._told_us[kind, agent_id] = self._lane.now_us
        self.raise_alert(severity, kind, message, agent_id=agent_id, cause_us=cause_us)
