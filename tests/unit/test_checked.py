from __future__ import annotations

import pytest

from streams.core.checked import Outcome, checked
from streams.core.gate import CHECKS
from streams.core.orders import Failure, MsgType
from streams.core.reasons import Reason
from streams.core.situation import Applies

NEW, CANCEL = MsgType.NEW_ORDER_SINGLE, MsgType.ORDER_CANCEL_REQUEST


def outcomes(msg_type: MsgType, *reasons: Reason) -> dict[Reason, Outcome]:
    found = checked(msg_type, [Failure(reason, "1", "2", "EUR") for reason in reasons])
    assert [check.reason for check in found] == [reason for reason, _, _ in CHECKS]
    return {check.reason: check.outcome for check in found}


def test_an_approved_order_has_passed_every_check() -> None:
    assert set(outcomes(NEW).values()) == {Outcome.PASSED}


def test_a_cancellation_is_asked_less() -> None:
    asked = {reason for reason, outcome in outcomes(CANCEL).items() if outcome is Outcome.PASSED}
    assert asked == {reason for reason, applies, _ in CHECKS if applies is Applies.ALL}


@pytest.mark.parametrize("reason", [reason for reason, _, _ in CHECKS if reason is not Reason.ALGO_NOT_AUTHORISED])
def test_a_failure_is_told_in_its_place(reason: Reason) -> None:
    found = outcomes(NEW, reason)
    assert [each for each, outcome in found.items() if outcome is Outcome.FAILED] == [reason]


def test_nothing_is_asked_without_a_policy_or_a_reference_price() -> None:
    unknown = outcomes(NEW, Reason.ALGO_NOT_AUTHORISED)
    assert list(unknown.values()) == [Outcome.FAILED, *[Outcome.NOT_ASKED] * (len(CHECKS) - 1)]
    dark = outcomes(NEW, Reason.REFERENCE_PRICE_UNAVAILABLE)
    not_asked = [reason for reason, outcome in dark.items() if outcome is Outcome.NOT_ASKED]
    assert not_asked == [
        Reason.MAX_ORDER_VALUE_EXCEEDED,
        Reason.PRICE_COLLAR_EXCEEDED,
        Reason.DAILY_VALUE_LIMIT_EXCEEDED,
    ]
