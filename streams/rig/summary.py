"""What a demo shows: figures for scripts, tables and sentences for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import MONEY_SCALE
from streams.core.policy import parse_policy
from streams.names import Topic
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.sim.fleet import Bot
    from streams.sim.oracle_history import Stored

_Table = tuple[str, Sequence[str], list[Sequence[object]]]
_SHOWN_MISMATCHES: Final = 10


@dataclass(frozen=True, slots=True)
class DemoResult:
    """All figures of a demo run."""

    requested: int
    approved: int
    rejected: dict[str, int]
    dead_lettered: int
    audit_events: int
    warehouse_rows: int
    trades: int
    alerts: int
    breaker_events: int
    oracle_mismatches: int
    report_batch: str
    report_records: int
    verified: bool
    orders_per_second: float
    latency_ms: dict[str, float]
    problems: tuple[str, ...]
    bots: list[BotFigures] = field(default_factory=list)
    alert_texts: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Say whether everything holds."""
        answered = self.approved + sum(self.rejected.values()) + self.dead_lettered
        return (
            self.verified
            and not self.problems
            and self.oracle_mismatches == 0
            and self.requested == answered
            and self.audit_events == self.warehouse_rows
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        names = (
            "requested approved rejected dead_lettered audit_events warehouse_rows trades alerts breaker_events"
            " oracle_mismatches report_batch report_records verified orders_per_second latency_ms problems"
        )
        return {"ok": self.ok, **{name: getattr(self, name) for name in names.split()}}

    def tables(self) -> list[_Table]:
        """Return what a person reads."""
        verdicts: list[Sequence[object]] = [("approved", f"{self.approved:,}")]
        verdicts += [(reason, f"{count:,}") for reason, count in sorted(self.rejected.items(), key=lambda r: -r[1])]
        verdicts.append(("dead-lettered", f"{self.dead_lettered:,}"))
        bots: list[Sequence[object]] = [figures.row() for figures in self.bots]
        columns = ("bot", "sent", "approved", "mostly refused for", "value approved EUR", "of its daily cap", "state")
        return [("Verdicts", ("reason", "messages"), verdicts), ("Bots", columns, bots)]

    def sentences(self) -> list[str]:
        """Return the outcome in words."""
        answered = self.approved + sum(self.rejected.values()) + self.dead_lettered
        lines = [
            (
                f"{self.requested:,} messages requested, {answered:,} answered; {self.trades:,} trades,"
                f" {self.breaker_events} breaker events, {self.alerts} alerts."
            ),
            f"{self.audit_events:,} audit events in the log, {self.warehouse_rows:,} rows in the warehouse.",
            (
                f"{self.orders_per_second:,.0f} orders/s; from request to visible verdict"
                f" p50 {self.latency_ms['p50']:.0f} ms, p99 {self.latency_ms['p99']:.0f} ms."
            ),
            f"The oracle, which shares no code with the gate, disagrees {self.oracle_mismatches} times.",
            f"Report batch with {self.report_records:,} records: {self.report_batch}",
        ]
        lines += [f"[red]problem:[/] {problem}" for problem in self.problems[:_SHOWN_MISMATCHES]]
        lines.append("[bold green]Everything holds.[/]" if self.ok else "[bold red]Something does not hold.[/]")
        return lines


@dataclass(slots=True)
class BotFigures:
    """One bot's part."""

    agent_id: str
    cap_e5: int
    sent: int = 0
    approved: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    value_e5: int = 0
    state: str = "ACTIVE"

    def row(self) -> tuple[object, ...]:
        """Return the bot's line of the table."""
        mostly = self.reasons.most_common(1)
        value = f"{self.value_e5 // 10**MONEY_SCALE:,}"
        share = f"{100 * self.value_e5 / self.cap_e5:.1f} %" if self.cap_e5 else "-"
        return (
            self.agent_id,
            f"{self.sent:,}",
            f"{self.approved:,}",
            mostly[0][0] if mostly else "",
            value,
            share,
            self.state,
        )


def bot_figures(
    bots: Iterable[Bot], policies: Mapping[str, bytes], topics: Mapping[Topic, Sequence[Stored]]
) -> list[BotFigures]:
    """Return each bot's part in a run."""
    found: dict[str, BotFigures] = defaultdict(lambda: BotFigures("", 0))
    for bot in bots:
        document = policies.get(bot.agent_id)
        cap_e5 = 0 if document is None else parse_policy(document).max_daily_value_e5
        found[bot.agent_id] = BotFigures(bot.agent_id, cap_e5)
    for topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED):
        for record in topics[topic]:
            verdict = decode_verdict(record.value or b"")
            figures = found[verdict.agent_id]
            figures.sent += 1
            if verdict.approved:
                figures.approved += 1
            else:
                figures.reasons[verdict.reason] += 1
            figures.value_e5 = max(figures.value_e5, verdict.daily_value_e5 or 0)
    for record in topics[Topic.RISK_CIRCUIT_BREAKERS]:
        event = decode(Schema.BREAKER_EVENT, record.value or b"")
        found[event["target"]].state = event["state"]
    return [figures for figures in found.values() if figures.agent_id]
