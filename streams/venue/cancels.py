"""Mass cancels, as a venue has to take them: an approval may reach it after the cancel that it came before.

`orders.approved` and `venue.commands` are two topics, and nothing says in which order a consumer is handed their
records. The log of the lane that wrote both does: an approval has its leaf, and a mass cancel names the leaf that its
lane logs next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.wire.avro import Schema, decode
from streams.wire.commands import Scope
from streams.wire.headers import SEQUENCE, find_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.core.orders import Order
    from streams.wire.headers import Header

_INDEX: Final = re.compile(rb"[0-9]{1,18}")
_Name = tuple[Scope, str]


class Place(NamedTuple):
    """A leaf's place: the lane, which is the partition of all its topics, and the index in its log."""

    lane: int
    log_index: int


@dataclass(frozen=True, slots=True)
class MassCancel:
    """What to cancel: every open order of a bot, market or operator, or of all.

    ``place`` is that of the lane's next leaf: what it approved before has a smaller index, what it approves after
    somebody has released what was stopped has not. A cancel that does not say it is for all that is open when it comes.
    """

    scope: Scope
    target: str
    place: Place | None

    @classmethod
    def of(cls, value: bytes, headers: Sequence[Header], lane: int) -> MassCancel:
        """Read a record of `venue.commands`. Raises: DecodeError."""
        fields, sequence = decode(Schema.MASS_CANCEL, value), find_header(headers, SEQUENCE)
        place = Place(lane, int(sequence)) if _INDEX.fullmatch(sequence) else None
        return cls(Scope(fields["scope"]), fields["target"], place)


class MassCancels:
    """The mass cancels that a venue was told. `operators` names each bot's; a bot without one is cancelled with all."""

    def __init__(self, operators: Mapping[str, str]) -> None:
        self._operators = operators
        # One number for each lane and target, however often it is stopped.
        self._latest: dict[tuple[int, Scope, str], int] = {}

    def take(self, cancel: MassCancel) -> None:
        """Keep a cancel for the approvals that it overtook."""
        if cancel.place is None:
            return
        lane, index = cancel.place
        for name in _names(cancel):
            self._latest[lane, *name] = max(index, self._latest.get((lane, *name), 0))

    def reaches(self, cancel: MassCancel, order: Order, place: Place) -> bool:
        """Say whether a cancel is for an order: in its scope, and not approved by the same lane after it."""
        at = cancel.place
        later = at is not None and place.lane == at.lane and place.log_index >= at.log_index
        return not later and not _names(cancel).isdisjoint(self._named_by(order))

    def overtook(self, order: Order, place: Place) -> bool:
        """Say whether an order, which comes now, was approved before a cancel that is for it and was here first."""
        return any(place.log_index < self._latest.get((place.lane, *name), 0) for name in self._named_by(order))

    def _named_by(self, order: Order) -> tuple[_Name, ...]:
        """Return by what names cancels are for an order."""
        operator = self._operators.get(order.agent_id, "")
        return (Scope.BOT, order.agent_id), (Scope.MARKET, order.symbol), (Scope.OPERATOR, operator), (Scope.ALL, "")


def _names(cancel: MassCancel) -> set[_Name]:
    """Return the names that a cancel is for; an operator's is also for bots whose operator is not known."""
    targets = {Scope.ALL: {""}, Scope.OPERATOR: {cancel.target, ""}}.get(cancel.scope, {cancel.target})
    return {(cancel.scope, target) for target in targets}
