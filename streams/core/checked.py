"""What each check made of a decided message: told by the verdict's failures and the gate's fixed table alone."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.core.gate import CHECKS
from streams.core.orders import MsgType
from streams.core.reasons import Reason
from streams.core.situation import Applies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.core.orders import Failure

_NEED_REFERENCE: Final = frozenset(
    {Reason.MAX_ORDER_VALUE_EXCEEDED, Reason.PRICE_COLLAR_EXCEEDED, Reason.DAILY_VALUE_LIMIT_EXCEEDED}
)


@unique
class Outcome(StrEnum):
    """What a check made of a message."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"


class Checked(NamedTuple):
    """A check, what it made of a message, and where it failed the limit and the observed value."""

    reason: Reason
    outcome: Outcome
    failure: Failure | None


def checked(msg_type: MsgType, failures: Sequence[Failure]) -> tuple[Checked, ...]:
    """Return every check in the gate's order.

    A check is not asked of a cancellation that it does not apply to; where nobody knows the bot, as there is no policy
    to check against; and where there is no reference price that it needs.
    """
    failed = {failure.reason: failure for failure in failures}
    unknown = list(failed) == [Reason.ALGO_NOT_AUTHORISED]
    entering = msg_type is not MsgType.ORDER_CANCEL_REQUEST
    without = _NEED_REFERENCE if Reason.REFERENCE_PRICE_UNAVAILABLE in failed else frozenset()
    found = []
    for reason, applies, _ in CHECKS:
        failure = failed.get(reason)
        asked = (entering or applies is Applies.ALL) and not unknown and reason not in without
        outcome = Outcome.FAILED if failure is not None else Outcome.PASSED if asked else Outcome.NOT_ASKED
        found.append(Checked(reason, outcome, failure))
    return tuple(found)
