"""Who looks at the desk, and what each role may do there. The gate checks every command again by its own rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from streams.core.errors import PortcullisError
from streams.wire.commands import Action, Scope


class NotAllowedError(PortcullisError):
    """The role may not do this; the text says which may."""


@unique
class DeskRole(StrEnum):
    """What somebody is at the desk."""

    VIEWER = "viewer"
    RISK = "risk"
    OPERATOR = "operator"
    COMPLIANCE = "compliance"
    REGULATOR = "regulator"


@unique
class Method(StrEnum):
    """How somebody showed who they are."""

    PASSWORD = "password"  # noqa: S105 - the name of a method
    CERTIFICATE = "certificate"
    OPENID = "openid"


_RISK: Final = frozenset((Action.KILL, Action.HALT, Action.REDUCE, Action.RELEASE, Action.ACKNOWLEDGE))
_INCIDENTS: Final = frozenset((Action.CLASSIFY, Action.REPORT, Action.COMPLETE))
# Compliance reaches the kill at all times (RTS 6 Art. 2); a bot's operator may stop its own bots and nothing else.
MAY: Final[dict[DeskRole, frozenset[Action]]] = {
    DeskRole.VIEWER: frozenset(),
    DeskRole.REGULATOR: frozenset(),
    DeskRole.OPERATOR: frozenset((Action.KILL,)),
    DeskRole.RISK: _RISK,
    DeskRole.COMPLIANCE: _RISK | _INCIDENTS | {Action.REVOKE},
}


@dataclass(frozen=True, slots=True)
class View:
    """What a role sees: everything, or as an operator its own bots without what concerns an investigation."""

    role: DeskRole
    operator: str = ""

    @property
    def scoped(self) -> bool:
        """Say whether it is an operator's view."""
        return self.role is DeskRole.OPERATOR


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who is signed in; `operator` is set for the role operator alone."""

    name: str
    role: DeskRole
    operator: str
    method: Method

    @property
    def view(self) -> View:
        """Return what they see."""
        return View(self.role, self.operator)

    def require(self, action: Action, scope: Scope, operator_of_target: str) -> None:
        """Require that the role may give this command.

        Raises: NotAllowedError.
        """
        if action not in MAY[self.role]:
            allowed = ", ".join(role for role in DeskRole if action in MAY[role]) or "nobody here"
            raise NotAllowedError(f"{action} is for {allowed}; {self.name} is {self.role}")
        if self.view.scoped and not (scope is Scope.BOT and self.operator and operator_of_target == self.operator):
            raise NotAllowedError(f"{self.name} may stop the bots of {self.operator or 'no operator'} only, one by one")
