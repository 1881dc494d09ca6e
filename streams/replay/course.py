"""One lane's past, followed leaf by leaf, with some bots under a policy that is to be tried. Pure.

What a decision looked at is in the log: message, times, reference price, value, and what people and breakers did in
between. What follows from decisions (rates, windows, failures in a row, the day's value, scores) is worked out anew,
since other verdicts would have led elsewhere. Under the policy that was in force nothing changes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.core.anomaly import (
    BotProfile,
    observation,
    observe,
    record_cancellation,
    record_execution,
    record_outcome,
)
from streams.core.breaker import Signal
from streams.core.gate import Decision, Situation, apply, counted_value_e5, decide, is_entering, remembered_id
from streams.core.orders import ReferencePrice, TradingState
from streams.core.override import LIFTED
from streams.core.reasons import FAILURES, Reason
from streams.core.situation import counted_price_e13, value_e5
from streams.core.state import BotState
from streams.core.windows import day_start_us
from streams.replay.holding import Holding
from streams.wire.decisions import decode_audit_event, decode_verdict_body
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from streams.core.orders import Failure, Order
    from streams.core.policy import Policy
    from streams.wire.decisions import AuditEvent, Verdict

# What no policy decides: who sent it, what people ordered, the market's steps. For these the log's word holds.
_GIVEN: Final = frozenset(
    {
        *(Reason.ALGO_NOT_AUTHORISED, Reason.SIGNATURE_INVALID, Reason.CERTIFICATE_INVALID),
        *(Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_REVOKED, Reason.KILL_SWITCH_ENGAGED),
        *(Reason.INVALID_QUANTITY, Reason.INVALID_PRICE_INCREMENT),
    }
)
_RANK: Final = {reason: rank for rank, reason in enumerate(Reason)}
_NOT_CAUGHT_UP: Final = "reader not caught up"
_NOT_ABOVE_ZERO: Final = "not above zero"
_RATE_DIVISOR: Final = 10**38  # scale 17 + 13 + 13 down to 5
_TIME_MAX_US: Final = 2**62
_IDS_MAX: Final = 100_000
_US: Final = 1_000_000


class Retried(NamedTuple):
    """One order decided again; `estimated`: its value is not in the log, so its market's last EUR rate was taken."""

    agent_id: str
    cl_ord_id: str
    log_index: int
    decision_time_us: int
    before: Verdict
    after: Decision
    estimated: bool

    @property
    def changed(self) -> bool:
        """Tell whether the outcome or its reason would be another."""
        return (self.before.approved, self.before.reason) != (self.after.approved, self.after.reason)


@dataclass(slots=True)
class _Past:
    """What was known of one bot, had the policy been in force."""

    bot: BotState = field(default_factory=BotState)
    profile: BotProfile = field(default_factory=BotProfile)
    daily_e5: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    received: dict[str, int] = field(default_factory=dict)
    holding: Holding = field(default_factory=Holding)


class Course:
    """Follows one lane's log; `every`: the policy is tried on all bots, not only on the one it is for."""

    def __init__(self, policy: Policy, *, every: bool) -> None:
        self._policy, self._every = policy, every
        self._pasts: defaultdict[str, _Past] = defaultdict(_Past)
        self._rates: dict[str, int] = {}

    def take(self, leaf: bytes) -> Retried | None:
        """Take the log's next leaf; return the order in it, decided again, where the policy is tried on its bot.

        Raises: DecodeError where the leaf is no audit event.
        """
        event, body = decode_audit_event(leaf)
        if not (self._every or event.agent_id == self._policy.agent_id):
            return None
        if body is None:
            self._act(event)
            return None
        verdict = decode_verdict_body(body)
        order = decode_order_body(verdict.order)
        if verdict.policy_sha256 is None:  # not on the books: no policy was looked at, none would be
            same = Decision(verdict.approved, verdict.reason, verdict.failures, verdict.order_value_e5)
            return self._retried(verdict, same, estimated=False)
        return self._decide(order, verdict, self._pasts[order.agent_id])

    def _act(self, event: AuditEvent) -> None:
        """Let what people and other parties' breakers did to a bot happen again."""
        if not event.agent_id:
            return
        past = self._pasts[event.agent_id]
        bot = past.bot
        action = event.details.get("action") if event.event_type == "COMMAND_APPLIED" else None
        if event.event_type == "TRADE_EXECUTED" and event.subject is not None:
            repeated = event.details.get("repeated") == "true"
            past.holding.executed(event.subject, repeated=repeated)
            if event.details.get("worse_bps"):
                record_execution(past.profile, worse_bps=float(event.details["worse_bps"]))
        elif action == "KILL":
            bot.halt(Signal.PERSON_HALT, Reason.KILL_SWITCH_ENGAGED)
        elif action == "HALT":
            bot.halt(Signal.PERSON_HALT, Reason.TRADING_HALTED)
        elif action == "REDUCE":
            bot.stop(Signal.PERSON_REDUCE)
        elif action == "RELEASE":
            bot.release()
        elif event.event_type == "BREAKER_CHANGED" and event.subject is not None:
            bot.halt(Signal.PERSON_HALT, Reason.CIRCUIT_BREAKER_ACTIVE)

    def _decide(self, order: Order, verdict: Verdict, past: _Past) -> Retried:
        bot, policy, entering = past.bot, self._policy, is_entering(order)
        received_us = bot.received_at(verdict.request_time_us)
        given = tuple(failure for failure in verdict.failures if failure.reason in _GIVEN)
        authenticated = all(failure.reason is not Reason.SIGNATURE_INVALID for failure in given)
        reference, estimated = self._reference(order, verdict) if entering else (None, False)
        score = None
        if authenticated and entering:
            usable = reference if reference is not None and reference.price_e13 > 0 else None
            worth_e5 = None if usable is None else value_e5(order, usable)
            score = observe(
                past.profile,
                observation(order, received_us, worth_e5, usable, policy.max_order_qty_e17.get(order.symbol)),
            ).value
        day_us, window_us = day_start_us(received_us), policy.duplicate_window_s * _US
        first_us = past.received.get(order.cl_ord_id)
        situation = Situation(
            now_us=verdict.decision_time_us,
            received_us=received_us,
            policy=policy,
            not_before_us=0,
            not_after_us=_TIME_MAX_US,
            identity=(),
            authenticated=authenticated,
            bot=bot,
            kill=None,
            market_state=_market_state(verdict),
            reference=reference,
            reference_live=all(failure.observed != _NOT_CAUGHT_UP for failure in verdict.failures),
            daily_value_e5=past.daily_e5[day_us],
            seen=first_us is not None and received_us - first_us < window_us,
            score=score,
            exposure=past.holding.of(order.symbol),
        )
        decision = _with_given(decide(order, situation), given)
        if verdict.approved and verdict.failures and all(f.reason in LIFTED for f in decision.failures):
            decision = replace(decision, approved=True, reason=Reason.NONE)  # two people had signed for this order
        if verdict.approved:
            past.holding.approved(order)
        apply(order, situation, decision)
        past.daily_e5[day_us] += counted_value_e5(order, decision)
        remembered = remembered_id(order, situation)
        if remembered is not None:
            _remember(past.received, remembered, received_us, window_us)
        if score is not None:
            record_outcome(past.profile, rejected=decision.reason in FAILURES)
        elif authenticated and past.profile.messages:
            record_cancellation(past.profile)
        return self._retried(verdict, decision, estimated=estimated)

    def _reference(self, order: Order, verdict: Verdict) -> tuple[ReferencePrice | None, bool]:
        """Return the reference price that was used, with the EUR rate that gives the order the value in the log."""
        used = verdict.reference
        if used is None:
            return None, False
        price_e13 = counted_price_e13(order, used.price_e13)
        value, estimated = verdict.order_value_e5, False
        if value is not None and price_e13:
            rate_e13 = value * _RATE_DIVISOR // (order.order_qty_e17 * price_e13)
            self._rates[order.symbol] = rate_e13
        elif any(failure.observed == _NOT_ABOVE_ZERO for failure in verdict.failures):
            rate_e13 = 0
        else:
            rate_e13, estimated = self._rates.get(order.symbol, 0), order.order_qty_e17 > 0
        reference = ReferencePrice(
            symbol=order.symbol,
            price_e13=used.price_e13,
            price_time_us=used.price_time_us,
            quote_currency="",
            eur_rate_e13=rate_e13,
            tick_size_e13=1,
            lot_size_e17=1,
            base_dti="",
            mic="",
            source="",
        )
        return reference, estimated

    @staticmethod
    def _retried(verdict: Verdict, decision: Decision, *, estimated: bool) -> Retried:
        return Retried(
            verdict.agent_id,
            verdict.cl_ord_id,
            verdict.log_index,
            verdict.decision_time_us,
            verdict,
            decision,
            estimated,
        )


def _market_state(verdict: Verdict) -> TradingState:
    """Return the state of the market's breaker, which a verdict names where it was the first to stop an order."""
    for failure in verdict.failures:
        if failure.reason is Reason.CIRCUIT_BREAKER_ACTIVE and failure.limit == TradingState.ACTIVE:
            return TradingState(failure.observed)
    return TradingState.ACTIVE


def _with_given(decision: Decision, given: tuple[Failure, ...]) -> Decision:
    """Return the decision with the failures that no policy decides in their places."""
    own = tuple(failure for failure in decision.failures if failure.reason not in _GIVEN)
    if not given and len(own) == len(decision.failures):
        return decision
    failures = tuple(sorted((*given, *own), key=lambda failure: _RANK[failure.reason]))
    reason = failures[0].reason if failures else Reason.NONE
    return Decision(approved=not failures, reason=reason, failures=failures, value_e5=decision.value_e5)


def _remember(received: dict[str, int], cl_ord_id: str, received_us: int, window_us: int) -> None:
    """Note an identifier; what is over is forgotten once in a while, oldest first, as a dict keeps them."""
    received.pop(cl_ord_id, None)
    received[cl_ord_id] = received_us
    if len(received) > _IDS_MAX:
        for known in [known for known, at_us in received.items() if received_us - at_us >= window_us]:
            del received[known]
