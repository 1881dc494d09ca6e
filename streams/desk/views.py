"""What a page is told, by role. Rows are lists, as long as their `*_FIELDS`: the page gets the names once. Pure.

Tipping-off guard (Reg. 2016/957 Art. 5; Reg. 2025/885): an operator sees its own bots only, and of alerts those kinds
only that follow from its own messages. What is not on the list is not shown, so that a new kind is hidden until
somebody decides otherwise; incidents, people's reasons and the sentences of alerts about commands are not shown either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import MONEY_SCALE, QTY_SCALE, decimal_text
from streams.core.reasons import RULES, Reason
from streams.desk.bots import HISTORY_STEP_US, usages
from streams.wire.commands import Scope

if TYPE_CHECKING:
    from streams.core.incident import Incident
    from streams.desk.alerts import Alert
    from streams.desk.bots import Bot
    from streams.desk.facts import Decided
    from streams.desk.lanes import Lane
    from streams.desk.model import Desk
    from streams.desk.people import View
    from streams.desk.stops import Followed

BOT_FIELDS: Final = (
    *("id", "operator", "state", "since", "why", "by", "until", "stop", "score", "daily", "rate", "approved"),
    *("refused", "open", "last", "reason", "registered"),
)
ALERT_FIELDS: Final = ("id", "severity", "kind", "bot", "market", "message", "at", "ackBy", "ackAt")
_MINE: Final = frozenset(
    (
        *(str(reason) for reason in Reason if "ABUSE" not in reason),
        *("BREAKER_ACTIVE", "BREAKER_REDUCING", "BREAKER_HALTED", "COMMAND_KILL", "COMMAND_RELEASE", "COMMAND_REVOKE"),
        *("AGENT_REGISTERED", "AGENT_REFUSED"),
    )
)


def sees_bot(view: View, bot: Bot) -> bool:
    """Say whether a view has this bot."""
    return not view.scoped or (bool(view.operator) and bot.operator == view.operator)


def sees_agent(desk: Desk, view: View, agent_id: str) -> bool:
    """Say whether a view has the bot of this name."""
    bot = desk.bots.get(agent_id)
    return not view.scoped or (bot is not None and sees_bot(view, bot))


def sees_alert(desk: Desk, view: View, alert: Alert) -> bool:
    """Say whether a view has this alert."""
    return not view.scoped or (alert.kind in _MINE and sees_agent(desk, view, alert.agent_id))


def sees_command(desk: Desk, view: View, followed: Followed) -> bool:
    """Say whether a view has this command: an operator sees what stops its own bots, wherever it was meant to."""
    if not view.scoped:
        return True
    command = followed.command
    if command.scope is Scope.BOT:
        return sees_agent(desk, view, command.target)
    return followed.in_force and (command.scope is not Scope.OPERATOR or command.target == view.operator)


def bot_row(desk: Desk, bot: Bot, now_us: int) -> list[Any]:
    """Return a bot's row of the table, in the order of `BOT_FIELDS`; times in milliseconds."""
    share = bot.daily_share(now_us)
    wide = next((s for s in desk.stops.in_force if s.command.scope is not Scope.BOT and _covers(s, bot)), None)
    return [
        bot.agent_id,
        bot.operator,
        "REVOKED" if bot.revoked_us else bot.state,
        (bot.revoked_us or bot.state_since_us) // 1000,
        "CERTIFICATE_REVOKED" if bot.revoked_us else bot.state_reason,
        bot.state_by,
        bot.open_until_us // 1000,
        "" if wide is None else str(wide.command.scope),
        None if bot.score is None else round(bot.score, 3),
        None if share is None else round(share, 4),
        bot.rate.count_at(now_us),
        bot.approved,
        bot.refused,
        len(bot.open_orders),
        bot.last_us // 1000,
        bot.last_reason,
        int(bot.policy is not None),
    ]


def _covers(followed: Followed, bot: Bot) -> bool:
    return followed.covers(bot.agent_id, bot.operator, "")


def history(bot: Bot) -> list[list[float]]:
    """Return the bot's score over time: [seconds UTC, highest score of the step]."""
    return [[step * HISTORY_STEP_US // 1_000_000, round(score, 3)] for step, score in bot.history]


def bot_detail(desk: Desk, bot: Bot, now_us: int) -> dict[str, Any]:
    """Return what the page shows of one bot beside its row."""
    policy = bot.policy
    return {
        "row": bot_row(desk, bot, now_us),
        "features": sorted(((n, round(v, 3)) for n, v in bot.features.items()), key=lambda f: -f[1]),
        "history": history(bot),
        "usages": [[u.name, u.used, u.limit, u.unit, round(u.share, 4)] for u in usages(bot, now_us)],
        "recent": [_decided_row(fact) for fact in reversed(bot.recent)],
        "policy": None
        if policy is None
        else {
            "id": policy.policy_id.hex(),
            "breaker": policy.breaker_threshold,
            "halt": policy.kill_threshold,
            "markets": sorted(policy.allowed_markets),
            "validUntil": policy.valid_until_us // 1000,
            "fitnessDue": str(policy.testing.fitness_test_due),
            "reviewDue": str(policy.governance.next_review),
        },
    }


def _decided_row(fact: Decided) -> list[Any]:
    value = "" if fact.value_e5 is None else decimal_text(fact.value_e5, MONEY_SCALE)
    quantity = decimal_text(fact.qty_e17, QTY_SCALE)
    at_ms, score = fact.place.at_us // 1000, None if fact.score is None else round(fact.score, 2)
    return [fact.cl_ord_id, at_ms, fact.reason, fact.symbol, fact.side, quantity, value, score]


def alert_row(view: View, alert: Alert) -> list[Any]:
    """Return an alert's row, in the order of `ALERT_FIELDS`."""
    hidden = view.scoped and alert.kind.startswith("COMMAND_")
    return [
        alert.alert_id,
        alert.severity,
        alert.kind,
        alert.agent_id,
        alert.symbol,
        "" if hidden else alert.message,
        alert.raised_us // 1000,
        alert.acknowledged_by,
        alert.acknowledged_us // 1000,
    ]


def command_row(desk: Desk, view: View, followed: Followed) -> dict[str, Any]:
    """Return a command with its proof: which lane enforced it from which offset on, and what was refused since."""
    command, effect_us = followed.command, followed.effect_us
    return {
        "id": command.command_id,
        "action": str(command.action),
        "scope": str(command.scope),
        "target": command.target,
        "reason": "" if view.scoped else command.reason,
        "by": command.issued_by,
        "at": command.issued_at_us // 1000,
        "wanted": followed.wanted,
        "answers": [
            [lane, answer.offset, answer.at_us // 1000, int(answer.applied), "" if view.scoped else answer.text]
            for lane, answer in sorted(followed.answers.items())
        ],
        "complete": followed.complete,
        "effectMs": None if effect_us is None else round(effect_us / 1000, 1),
        "inForce": followed.in_force,
        "refused": followed.refused,
        "approved": followed.approved,
        "openBefore": followed.open_before,
        "openNow": desk.open_orders(command) if followed.in_force else 0,
        "cancelled": followed.cancelled,
        "liftedBy": followed.lifted_by,
        "liftedAt": followed.lifted_us // 1000,
    }


def incident_row(incident: Incident) -> dict[str, Any]:
    """Return an incident with its deadlines."""
    return {
        "id": incident.incident_id,
        "title": f"{incident.scope} {incident.target}".strip(),
        "cause": str(incident.cause),
        "score": incident.score,
        "reporting": str(incident.reporting),
        "at": incident.opened_us // 1000,
        "closed": incident.closed,
        "deadlines": [
            [str(one.duty), one.due_us // 1000, (one.done_us or 0) // 1000, one.done_by or ""]
            for one in incident.duties
        ],
    }


def lane_row(lane: Lane, now_us: int) -> dict[str, Any]:
    """Return the health of a lane."""
    return {
        "lane": lane.number,
        "waiting": lane.waiting,
        "lag": lane.lag,
        "leaves": lane.events,
        "signed": lane.signed,
        "signedAt": lane.signed_us // 1000,
        "signatureOk": lane.signature_ok,
        "witnessed": lane.witnessed,
        "witnessOk": lane.witness_ok,
        "eventAt": lane.last_event_us // 1000,
        "stalledMs": lane.stalled_us(now_us) // 1000,
    }


def head(desk: Desk, now_us: int) -> dict[str, Any]:
    """Return what stands above the table: how old the picture is, and how much is decided how quickly."""
    pulse = desk.pulse
    p50, p99 = pulse.latency_us(0.5), pulse.latency_us(0.99)
    return {
        "now": now_us // 1000,
        "silentMs": pulse.silent_us(now_us) // 1000,
        "caughtUp": pulse.caught_up,
        "approved": pulse.approved,
        "refused": pulse.refused,
        "seconds": [list(second) for second in pulse.seconds],
        "p50Ms": None if p50 is None else round(p50 / 1000, 1),
        "p99Ms": None if p99 is None else round(p99 / 1000, 1),
        "lanes": [lane_row(lane, now_us) for lane in desk.lanes],
        "markets": sorted(desk.markets.items()),
    }


def reason_texts() -> dict[str, str]:
    """Return what each reason code means, in a sentence."""
    return {str(reason): rule.text for reason, rule in RULES.items()}
