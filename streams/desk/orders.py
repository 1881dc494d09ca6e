"""What people order on the page: read from a request, which names its target twice. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.documents import NAME
from streams.wire.commands import Action, CommandRefusedError, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.core.incident import Incident

_CONFIRM_ALL: Final = "EVERYTHING"
_ABOUT_INCIDENTS: Final = frozenset((Action.CLASSIFY, Action.REPORT, Action.COMPLETE))
_CHANGES_MAX: Final = 20
_CHANGE_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Order:
    """A command that somebody asks the desk to give in their name; `changes` are those of a completed audit."""

    action: Action
    scope: Scope
    target: str
    reason: str
    incident_id: str | None = None
    stage: str | None = None
    changes: tuple[str, ...] = ()


def read_order(body: bytes, incidents: Mapping[str, Incident]) -> Order:
    """Return what a request asks for; whom an incident is about, the incident itself says.

    Raises: CommandRefusedError.
    """
    try:
        document: dict[str, Any] = orjson.loads(body)
        action = Action(document["action"])
        reason, confirm = str(document["reason"]), str(document["confirm"])
        if action in _ABOUT_INCIDENTS:
            return _about(document, action, reason, confirm, incidents)
        scope, target = Scope(document["scope"]), str(document["target"])
    except (ValueError, KeyError, TypeError):
        raise CommandRefusedError("action, reason, confirm, and scope with target or incident required") from None
    if confirm != (_CONFIRM_ALL if scope is Scope.ALL else target):
        raise CommandRefusedError("confirm: the target's name required")
    return Order(action, scope, target, reason)


def _about(
    document: Mapping[str, Any], action: Action, reason: str, confirm: str, incidents: Mapping[str, Incident]
) -> Order:
    incident_id, stage = str(document["incident"]), document.get("stage")
    incident = incidents.get(incident_id) if NAME.fullmatch(incident_id) else None
    if incident is None:
        raise CommandRefusedError(f"incident: one that the desk knows required, is {incident_id[:80]!a}")
    if confirm != incident_id:
        raise CommandRefusedError("confirm: the incident's id required")
    changes = tuple(str(change) for change in document.get("changes", ()))
    if len(changes) > _CHANGES_MAX or any(len(one) > _CHANGE_CHARS_MAX or not one.isprintable() for one in changes):
        limit = f"at most {_CHANGES_MAX} lines of at most {_CHANGE_CHARS_MAX} printable characters"
        raise CommandRefusedError(f"changes: {limit} required")
    scope, stage = Scope(incident.scope), None if stage is None else str(stage)
    return Order(action, scope, incident.target, reason, incident_id, stage, changes)
