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
        # An operator's is also that of the bots whose operator is not known.
        for target in {cancel.target, ""} if cancel.scope is Scope.OPERATOR else {cancel.target}:
            key = lane, cancel.scope, target
            self._latest[key] = max(index, self._latest.get(key, 0))

    def reaches(self, cancel: MassCancel, order: Order, place: Place) -> bool:
        """Say whether a cancel is for an order: in its scope, and not approved by the same lane after it."""
        operator = self._operators.get(order.agent_id, cancel.target)
        named = {Scope.BOT: order.agent_id, Scope.MARKET: order.symbol, Scope.OPERATOR: operator}
        later = (
            cancel.place is not None and place.lane == cancel.place.lane and place.log_index >= cancel.place.log_index
        )
        return named.get(cancel.scope, cancel.target) == cancel.target and not later

    def overtook(self, order: Order, place: Place) -> bool:
        """Say whether an order, which comes now, was approved before a cancel that is for it and was here first."""
        operator = self._operators.get(order.agent_id, "")
        named = ((Scope.BOT, order.agent_id), (Scope.MARKET, order.symbol), (Scope.OPERATOR, operator), (Scope.ALL, ""))
        return any(place.log_index < self._latest.get((place.lane, *name), 0) for name in named)
