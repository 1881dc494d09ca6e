"""The yearly self-assessment's skeleton: nature, scale and complexity, with what the log says filled in.

What only a person can say is left open and marked. Source: RTS 6 Art. 9 and Annex I.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from streams.core.gate import CHECKS
from streams.core.orders import MONEY_SCALE, decimal_text
from streams.wire.keys import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from streams.drills.fitness import Answer
    from streams.drills.plan import Load
    from streams.drills.survey import Survey

_OPEN: Final = "_to be completed by:_"


def write_assessment(path: Path, survey: Survey, highest: Load, answers: Iterable[Answer], at_us: int) -> Path:
    """Write the skeleton as Markdown and return its file."""
    moment = datetime.fromtimestamp(at_us / 1e6, UTC)
    lines = [
        "# Self-assessment of algorithmic trading (RTS 6 Art. 9, Annex I)",
        "",
        (
            f"Made {moment:%Y-%m-%d %H:%M} UTC from {survey.events:,} events of the audit log,"
            f" {_day(survey.first_us)} to {_day(survey.last_us)}."
        ),
        "Places are `partition/log index`. Lines marked open are a person's to complete, sign and have approved.",
        "",
        *_criteria(survey, highest),
        "## The four questions of the yearly fitness test",
        "",
    ]
    for answer in answers:
        lines += [f"### {answer.question}", "", f"**{'Yes' if answer.holds else 'No'}.**", ""]
        lines += [*(f"- {line}" for line in answer.evidence), ""]
    lines += ["## Completed by", "", *(f"- {who}: {_OPEN}" for who in ("risk", "compliance", "management body")), ""]
    write_file(path, "\n".join(lines).encode())
    return path


def _criteria(survey: Survey, highest: Load) -> list[str]:
    sections = {
        "Nature": (
            ("regulatory status and role on each venue", _OPEN),
            ("markets traded", ", ".join(sorted(survey.markets)) or "none"),
            ("venues", ", ".join(sorted(survey.venues)) or "none"),
            ("strategies and their dependence on speed", _OPEN),
        ),
        "Scale": (
            ("bots registered", str(len(survey.bots))),
            ("operators", ", ".join(sorted(survey.operators)) or "none"),
            ("orders approved / refused", f"{survey.approved:,} / {survey.rejected.total():,}"),
            ("busiest second, messages", f"{highest.messages_per_s:,.0f} ({highest.source})"),
            ("value approved, EUR", decimal_text(survey.approved_e5, MONEY_SCALE)),
            ("venue reports", f"{survey.trades:,}"),
            ("staff, clients, positions overnight", _OPEN),
        ),
        "Complexity": (
            ("checks before each order", f"{len(CHECKS)}, in the order of topology/gate.md"),
            ("breakers opened by a score", str(len(survey.breakers))),
            ("kills by people", str(len(survey.kills))),
            ("outsourcing, changes of code since the last assessment", _OPEN),
        ),
    }
    lines = []
    for name, rows in sections.items():
        lines += [f"## {name}", "", "| what | evidence |", "|---|---|"]
        lines += [*(f"| {what} | {evidence} |" for what, evidence in rows), ""]
    return lines


def _day(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}"
