"""The alert feed: what a person must see, and who has seen it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.wire.commands import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.wire.commands import Command

ALERTS_MAX: Final = 2_000


@dataclass(slots=True)
class Alert:
    """An alert as `risk.alerts` has it, and who acknowledged it. Times in microseconds UTC."""

    alert_id: str
    severity: str
    kind: str
    agent_id: str
    symbol: str
    message: str
    raised_us: int
    acknowledged_by: str = ""
    acknowledged_us: int = 0


class Alerts:
    """The latest alerts, each once."""

    def __init__(self) -> None:
        self.by_id: dict[str, Alert] = {}
        self._told: dict[tuple[str, str, str, str, int], str] = {}

    def on_alert(self, record: Mapping[str, Any]) -> Alert | None:
        """Take in an alert; None where it came before, or another lane tells of the same cause."""
        names = ("kind", "agent_id", "symbol", "message", "cause_time")
        kind, agent_id, symbol, message, cause_us = (record[name] for name in names)
        cause = (kind, agent_id, symbol, message, cause_us)
        if record["alert_id"] in self.by_id or cause in self._told:
            return None
        self._told[cause] = record["alert_id"]
        alert = Alert(
            record["alert_id"],
            record["severity"],
            record["kind"],
            record["agent_id"],
            record["symbol"],
            record["message"],
            record["raised_at"],
        )
        self.by_id[alert.alert_id] = alert
        while len(self.by_id) > ALERTS_MAX:
            del self.by_id[next(iter(self.by_id))]
            del self._told[next(iter(self._told))]
        return alert

    def on_acknowledged(self, command: Command, at_us: int) -> Iterable[Alert]:
        """Mark every alert in the command's scope that was raised before it was given; return them."""
        seen = [
            alert
            for alert in self.by_id.values()
            if not alert.acknowledged_us and alert.raised_us <= command.issued_at_us and _concerns(command, alert)
        ]
        for alert in seen:
            alert.acknowledged_by, alert.acknowledged_us = command.issued_by, at_us
        return seen


def _concerns(command: Command, alert: Alert) -> bool:
    named = {Scope.BOT: alert.agent_id, Scope.MARKET: alert.symbol}
    return command.scope is Scope.ALL or named.get(command.scope) == command.target
