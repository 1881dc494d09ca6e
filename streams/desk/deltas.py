"""From the read model to what is pushed: whole once, then four times a second what changed. One encoding per view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from streams.desk import views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.desk.model import Desk
    from streams.desk.people import View

TICK_S: Final = 0.25
_COMMANDS_SHOWN: Final = 200
_ALERTS_SHOWN: Final = 500
_INCIDENTS_SHOWN: Final = 200
# The head's sparkline and lanes move slower than verdicts do.
_HEAD_EVERY_TICKS: Final = 2


class Changes(NamedTuple):
    """What changed in a tick."""

    bots: frozenset[str]
    alerts: frozenset[str]
    commands: frozenset[str]
    incidents: frozenset[str] = frozenset()


def take_changes(desk: Desk) -> Changes:
    """Return what changed since the last call."""
    changes = Changes(
        frozenset(desk.changed_bots),
        frozenset(desk.changed_alerts),
        frozenset(desk.changed_commands),
        frozenset(desk.changed_incidents),
    )
    desk.changed_bots.clear()
    desk.changed_alerts.clear()
    desk.changed_commands.clear()
    desk.changed_incidents.clear()
    return changes


def snapshot(desk: Desk, view: View, now_us: int) -> dict[str, Any]:
    """Return everything that a view shows."""
    bots = [bot for bot in desk.bots.values() if views.sees_bot(view, bot)]
    alerts = [alert for alert in desk.alerts.by_id.values() if views.sees_alert(desk, view, alert)]
    commands = [followed for followed in desk.stops.followed.values() if views.sees_command(desk, view, followed)]
    return {
        "botFields": views.BOT_FIELDS,
        "alertFields": views.ALERT_FIELDS,
        "reasons": views.reason_texts(),
        "head": _head(desk, view, now_us),
        "bots": [views.bot_row(desk, bot, now_us) for bot in bots],
        "histories": {bot.agent_id: views.history(bot) for bot in bots if bot.history},
        "alerts": [views.alert_row(view, alert) for alert in alerts[-_ALERTS_SHOWN:]],
        "commands": [views.command_row(desk, view, followed) for followed in commands[-_COMMANDS_SHOWN:]],
        "incidents": [] if view.scoped else _incidents(desk, desk.incidents),
    }


def delta(desk: Desk, view: View, changes: Changes, tick: int, now_us: int) -> dict[str, Any]:
    """Return what a view shows anew."""
    made: dict[str, Any] = {"now": now_us // 1000}
    if tick % _HEAD_EVERY_TICKS == 0:
        made["head"] = _head(desk, view, now_us)
    bots = (desk.bots[agent_id] for agent_id in changes.bots if agent_id in desk.bots)
    rows = [views.bot_row(desk, bot, now_us) for bot in bots if views.sees_bot(view, bot)]
    if rows:
        made["bots"] = rows
    alerts = (desk.alerts.by_id[key] for key in changes.alerts if key in desk.alerts.by_id)
    shown = sorted((a for a in alerts if views.sees_alert(desk, view, a)), key=lambda alert: alert.raised_us)
    if shown:
        made["alerts"] = [views.alert_row(view, alert) for alert in shown]
    followed = (desk.stops.followed[key] for key in changes.commands if key in desk.stops.followed)
    commands = [views.command_row(desk, view, f) for f in followed if views.sees_command(desk, view, f)]
    if commands:
        made["commands"] = commands
    if changes.incidents and not view.scoped:
        made["incidents"] = _incidents(desk, changes.incidents)
    return made


def encode(message: dict[str, Any]) -> str:
    """Return a message as JSON text."""
    return orjson.dumps(message).decode()


def _incidents(desk: Desk, ids: Iterable[str]) -> list[dict[str, Any]]:
    return [views.incident_row(desk.incidents[key]) for key in ids if key in desk.incidents][-_INCIDENTS_SHOWN:]


def _head(desk: Desk, view: View, now_us: int) -> dict[str, Any]:
    made = views.head(desk, now_us)
    if view.scoped:  # how much others trade is not an operator's to see
        for name in ("approved", "refused", "seconds", "p50Ms", "p99Ms"):
            made.pop(name)
    return made
