"""Runaway, after 1 August 2012: a bot repeats one parent's child orders without end, and mails about it go unread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.core.orders import Side
from streams.core.reasons import Reason
from streams.drills.common import count, euro_text, euros, held, shown
from streams.drills.plan import Check, DrillName, DrillPlan, Instrument, Kill, bot
from streams.wire.commands import Action, Scope

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground
    from streams.drills.plan import Notes

_SYMBOL: Final = "BTC_USDC"
_RUNAWAY, _HEALTHY = "runaway-01", "healthy-01"
_PERSON: Final = "compliance_lead@acme"
_CHILD_EUR: Final = 500
_CHILDREN: Final = 600
_TAIL: Final = 100
_AGAIN: Final = 5
_EXECUTIONS_MAX: Final = 50
_ORDER_VALUE_MAX_EUR: Final = 1_000
_MESSAGES_MAX_PER_S: Final = 100
_FAILURES_MAX: Final = 50
_CONTROLS: Final = frozenset(
    {
        Reason.EXECUTION_THROTTLE_TRIPPED,
        Reason.MESSAGE_RATE_EXCEEDED,
        Reason.CONSECUTIVE_FAILURES_EXCEEDED,
        Reason.CIRCUIT_BREAKER_ACTIVE,
        Reason.TRADING_HALTED,
    }
)


def _play(ground: Ground, notes: Notes) -> None:
    runaway = ground.trader(_RUNAWAY)
    ground.calm([_RUNAWAY, _HEALTHY], _SYMBOL, rounds=30, gap_s=0.02)
    price_e13 = ground.last(_SYMBOL) * 995 // 1000
    for _ in range(_CHILDREN):
        notes.add("children", runaway.rest(Side.BUY, _SYMBOL, _CHILD_EUR, price_e13))
    ground.wait_for_answers()
    ground.give(Action.KILL, Scope.BOT, _RUNAWAY, _PERSON, "it repeats itself")
    for _ in range(_AGAIN):
        notes.add("after the kill", runaway.rest(Side.BUY, _SYMBOL, _CHILD_EUR, price_e13))
    ground.wait_for_answers()
    own = ground.give(Action.RELEASE, Scope.BOT, _RUNAWAY, _PERSON, "it looks well again")
    notes.figures["own_release_applied"] = str(own.applied)
    ground.restart_worker()
    for _ in range(_AGAIN):
        notes.add("after the restart", runaway.rest(Side.BUY, _SYMBOL, _CHILD_EUR, price_e13))
    notes.add("healthy", ground.trader(_HEALTHY).worth(Side.BUY, _SYMBOL, 100, ground.last(_SYMBOL)))


def _judge(evidence: Evidence, notes: Notes) -> list[Check]:
    own = notes.figures["own_release_applied"]
    return [
        _stopped(evidence, notes),
        _bounded(evidence),
        _alerted(evidence),
        _killed(evidence, notes),
        Check("release_needs_somebody_else", own == "False", f"the killer's own release applied: {own}"),
        _restarted(evidence, notes),
        _others(evidence, notes),
    ]


def _stopped(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["children"])
    tail = evidence.by_id(notes.orders["children"][-_TAIL:])
    passed = len(tail) == _TAIL and all(_CONTROLS & t.reasons for t in tail)
    return Check("stopped_by_throttle_rate_or_breaker", passed, f"{len(told)} child orders: {shown(count(told))}")


def _bounded(evidence: Evidence) -> Check:
    """Check the exposure against what two windows of the throttle can let through."""
    bound_e5 = 2 * _EXECUTIONS_MAX * _ORDER_VALUE_MAX_EUR * 10**5
    approved = list(evidence.approved(_RUNAWAY))
    text = f"{len(approved)} orders approved, {euro_text(euros(approved))}, at most {euro_text(bound_e5)}"
    return Check("exposure_bounded", len(approved) <= 2 * _EXECUTIONS_MAX and euros(approved) <= bound_e5, text)


def _alerted(evidence: Evidence) -> Check:
    kinds = [alert.kind for alert in evidence.alerts if alert.agent_id == _RUNAWAY and alert.kind != "AGENT_REGISTERED"]
    return Check("people_alerted", any(not kind.startswith("COMMAND") for kind in kinds), ", ".join(kinds) or "none")


def _killed(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["after the kill"])
    killed = len(told) == _AGAIN and all(Reason.KILL_SWITCH_ENGAGED in t.reasons for t in told)
    cancels = [cancel["issued_by"] for cancel in evidence.cancels if cancel["target"] == _RUNAWAY]
    text = f"{shown(count(told))}; mass cancels by {', '.join(cancels) or 'nobody'}; open: {len(evidence.open_ids)}"
    return Check("killed_and_cancelled", killed and _PERSON in cancels and not evidence.open_ids, text)


def _restarted(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["after the restart"])
    return Check("restart_clears_nothing", len(told) == _AGAIN and held(told), shown(count(told)))


def _others(evidence: Evidence, notes: Notes) -> Check:
    told = evidence.by_id(notes.orders["healthy"])
    return Check("healthy_bot_traded_on", bool(told) and told[0].verdict.approved, shown(count(told)))


PLAN: Final = DrillPlan(
    name=DrillName.RUNAWAY,
    source="Knight Capital, 1 August 2012; RTS 6 Art. 12, 15(1)(d), 15(3)",
    bots=(bot(_RUNAWAY), bot(_HEALTHY)),
    limits={
        _RUNAWAY: {
            "scope": {"max_order_value_eur": str(_ORDER_VALUE_MAX_EUR)},
            "risk_controls": {
                "execution_max": _EXECUTIONS_MAX,
                "execution_window_s": 3_600,
                "message_rate_max_per_s": _MESSAGES_MAX_PER_S,
                "max_consecutive_failures": _FAILURES_MAX,
            },
        }
    },
    instruments=(Instrument(_SYMBOL, "55000.01"),),
    play=_play,
    judge=_judge,
    kill=Kill(f"{Scope.BOT} {_RUNAWAY}", (_RUNAWAY,)),
)
