"""The checks that every drill has, and what drills' own checks are put together from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.core.orders import MONEY_SCALE, decimal_text
from streams.core.reasons import Reason
from streams.drills.plan import Check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.drills.evidence import Evidence, Told

ALERT_MAX_US: Final = 5_000_000
_SHOWN: Final = 3
_HELD: Final = frozenset({Reason.KILL_SWITCH_ENGAGED, Reason.TRADING_HALTED, Reason.CIRCUIT_BREAKER_ACTIVE})


def common_checks(evidence: Evidence) -> list[Check]:
    """Return what must hold after every drill, whatever was rehearsed."""
    return [
        _decided_once(evidence),
        _within_scope(evidence),
        _log_complete(evidence),
        _oracle_agrees(evidence),
        _venue_took_proofs(evidence),
        _alerts_in_time(evidence),
    ]


def count(told: Iterable[Told]) -> Counter[str]:
    """Return how often each reason came first."""
    return Counter(one.verdict.reason.value for one in told)


def shown(reasons: Counter[str]) -> str:
    """Return counted reasons in words."""
    return ", ".join(f"{reason} {times}" for reason, times in reasons.most_common()) or "none"


def euros(told: Iterable[Told]) -> int:
    """Return the value of orders in EUR (scale 5), as their verdicts say it."""
    return sum(one.verdict.order_value_e5 or 0 for one in told)


def euro_text(value_e5: int) -> str:
    """Return an amount in words."""
    return f"EUR {decimal_text(value_e5, MONEY_SCALE)}"


def opened_by_score(evidence: Evidence, agent_id: str) -> list[tuple[str, float]]:
    """Return where in the log a score opened the bot's breaker, and the score."""
    return [
        (f"{partition}/{event.log_index}", event.score.value)
        for partition, event in evidence.events
        if event.event_type == "BREAKER_CHANGED"
        and event.agent_id == agent_id
        and event.score is not None
        and event.score.value > evidence.policies[agent_id].breaker_threshold
        and event.state_after != "ACTIVE"
    ]


def approved_after(evidence: Evidence, agent_id: str, since_us: int) -> list[Told]:
    """Return what of a bot's entering orders was approved at or after a moment."""
    return [told for told in evidence.approved(agent_id) if told.verdict.decision_time_us >= since_us]


def held(told: Iterable[Told]) -> bool:
    """Say whether each message was refused because the bot, or what it trades, is stopped."""
    return all(not one.verdict.approved and _HELD & one.reasons for one in told)


def _decided_once(evidence: Evidence) -> Check:
    verdicts = len(evidence.verdicts)
    places = {(told.verdict.request_partition, told.verdict.request_offset) for told in evidence.verdicts}
    decisions = ("ORDER_APPROVED", "ORDER_REJECTED")
    logged = sum(event.event_type in decisions and event.agent_id in evidence.sent for _, event in evidence.events)
    passed = evidence.sent.total() == verdicts == len(places) == logged
    text = f"{evidence.sent.total()} messages, {verdicts} verdicts on {len(places)} of them, {logged} in the log"
    return Check("every_order_decided_once", passed, text)


def _within_scope(evidence: Evidence) -> Check:
    """Check approvals against the policy's limits, and executions against approvals."""
    wrong = []
    spent_e5: Counter[str] = Counter()
    approved_e17: Counter[tuple[str, str]] = Counter()
    for told in evidence.approved():
        verdict, policy = told.verdict, evidence.policies[told.verdict.agent_id]
        value_e5, quantity_e17 = verdict.order_value_e5 or 0, told.order.order_qty_e17
        spent_e5[policy.agent_id] += value_e5
        approved_e17[verdict.agent_id, verdict.cl_ord_id] = max(
            quantity_e17, approved_e17[verdict.agent_id, verdict.cl_ord_id]
        )
        if (
            value_e5 > policy.max_order_value_e5
            or quantity_e17 > policy.max_order_qty_e17.get(told.order.symbol, 0)
            or spent_e5[policy.agent_id] > policy.max_daily_value_e5
        ):
            wrong.append(verdict.cl_ord_id)
    traded_e17: Counter[tuple[str, str]] = Counter()
    for report in evidence.reports:
        traded_e17[report.agent_id, report.cl_ord_id] += report.last_qty_e17
    wrong += [cl_ord_id for (bot, cl_ord_id), qty in traded_e17.items() if qty > approved_e17[bot, cl_ord_id]]
    text = f"{sum(1 for _ in evidence.approved())} approvals, {len(evidence.reports)} venue reports; above a limit: "
    return Check("no_trade_above_scope_limit", not wrong, text + (", ".join(wrong[:_SHOWN]) or "none"))


def _log_complete(evidence: Evidence) -> Check:
    audit = evidence.audit
    text = f"{audit.leaves} leaves in {audit.logs} logs, {audit.checkpoints} checkpoints, {audit.warehouse_rows} rows"
    passed = audit.verified and audit.leaves == audit.warehouse_rows == len(evidence.events) > 0
    return Check("audit_log_complete", passed, "; ".join((text, *audit.problems[:_SHOWN])))


def _oracle_agrees(evidence: Evidence) -> Check:
    oracle = evidence.oracle
    text = f"{oracle.orders} orders decided again, {oracle.mismatches_total} mismatches"
    return Check(
        "oracle_agrees", oracle.mismatches_total == 0, "; ".join((text, *map(str, oracle.mismatches[:_SHOWN])))
    )


def _venue_took_proofs(evidence: Evidence) -> Check:
    refused = evidence.refused_by_venue
    return Check("venue_accepted_every_proof", not refused, "; ".join(refused[:_SHOWN]) or "none refused")


def _alerts_in_time(evidence: Evidence) -> Check:
    """Check that each alert could be seen within 5 s of its cause. Source: RTS 6 Art. 16(5)."""
    delays = sorted((alert.seen_us - alert.cause_us, alert.kind) for alert in evidence.alerts)
    if not delays:
        return Check("alerts_within_5_s", passed=False, observed="no alert")
    slowest_us, kind = delays[-1]
    text = f"{len(delays)} alerts, the slowest {kind} after {slowest_us / 1_000:.0f} ms"
    return Check("alerts_within_5_s", slowest_us <= ALERT_MAX_US, text)
