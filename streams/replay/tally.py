"""What a tried policy would change, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streams.core.orders import MONEY_SCALE, decimal_text

if TYPE_CHECKING:
    from streams.replay.course import Retried

_EXAMPLES_MAX: Final = 20


@dataclass(slots=True)
class Tally:
    """Counts over the orders that were decided again. Money in EUR at scale 5."""

    orders: int = 0
    approved_before: int = 0
    approved_after: int = 0
    estimated: int = 0
    newly_approved_e5: int = 0
    newly_refused_e5: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Reason before and after (NONE: approved) → orders."""
    bots: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Return how many verdicts would be others."""
        return self.changes.total()

    def add(self, lane: int, retried: Retried) -> None:
        """Count an order."""
        before, after = retried.before, retried.after
        self.orders += 1
        self.approved_before += before.approved
        self.approved_after += after.approved
        self.estimated += retried.estimated
        if not retried.changed:
            return
        self.changes[before.reason.value, after.reason.value] += 1
        self.bots[retried.agent_id] += 1
        worth_e5 = after.value_e5 or 0
        if after.approved and not before.approved:
            self.newly_approved_e5 += worth_e5
        elif before.approved and not after.approved:
            self.newly_refused_e5 += worth_e5
        if len(self.examples) < _EXAMPLES_MAX:
            self.examples.append(example(lane, retried))

    def merge(self, other: Tally) -> None:
        """Add another lane's counts."""
        for name in (
            "orders",
            "approved_before",
            "approved_after",
            "estimated",
            "newly_approved_e5",
            "newly_refused_e5",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.changes += other.changes
        self.bots += other.bots
        self.examples = [*self.examples, *other.examples][:_EXAMPLES_MAX]

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for scripts."""
        return {
            "orders": self.orders,
            "changed": self.changed,
            "approved_before": self.approved_before,
            "approved_after": self.approved_after,
            "newly_approved_eur": decimal_text(self.newly_approved_e5, MONEY_SCALE),
            "newly_refused_eur": decimal_text(self.newly_refused_e5, MONEY_SCALE),
            "estimated": self.estimated,
            "changes": [
                {"before": before, "after": after, "orders": count}
                for (before, after), count in self.changes.most_common()
            ],
            "bots": dict(self.bots.most_common()),
            "examples": self.examples,
        }


def example(lane: int, retried: Retried) -> dict[str, Any]:
    """Return a changed verdict as a person looks it up: its place in the log, both outcomes, what decides it now."""
    first = retried.after.failures[0] if retried.after.failures else None
    return {
        "lane": lane,
        "log_index": retried.log_index,
        "agent_id": retried.agent_id,
        "cl_ord_id": retried.cl_ord_id,
        "decided_at_us": retried.decision_time_us,
        "before": retried.before.reason.value,
        "after": retried.after.reason.value,
        "limit": None if first is None else first.limit,
        "observed": None if first is None else first.observed,
    }
