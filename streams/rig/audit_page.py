"""The summary of an audit's verification for people."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from streams.reports.page import findings, page, rows, section, verdict

if TYPE_CHECKING:
    from streams.rig.auditing import AuditReport

_CHECKED: Final = (
    "Each checkpoint is signed by its log's key, in the time in which that key counts.",
    "The records, hashed one by one in their order, give the root that each checkpoint signs.",
    "No checkpoint is smaller than the one before it, and no two of one size differ.",
    "No record is without a checkpoint over it, and no checkpoint covers records that are not there.",
    "Every log whose key is known is there, and every log that a closed one names.",
)
_COSIGNED: Final = "Each log has a checkpoint that the policy's witnesses have cosigned, and its root is the records'."
_ROWS: Final = "Each row of the warehouse is its record's, column by column, and none is missing or too many."


def audit_page(report: AuditReport, source: str) -> str:
    """Return the page of a verification; `source`: where the logs were read."""
    figures = f"{report.logs} logs, {report.leaves:,} leaves, {report.checkpoints:,} signed checkpoints"
    if report.cosigned:
        figures += f", {report.cosigned:,} leaves cosigned"
    if report.warehouse_rows:
        figures += f", {report.warehouse_rows:,} rows of the warehouse"
    checked = (*_CHECKED, *([_COSIGNED] if report.cosigned else []), *([_ROWS] if report.warehouse_rows else []))
    return page(
        "Audit log",
        f"<h1>Audit log</h1><p>{escape(source)}</p>",
        verdict(figures, len(report.problems)),
        findings(report.problems, report.gaps),
        section("What was checked", rows(checked, numbered=True), ""),
        section("With which keys", rows(report.keys, code=True), "No key of a log was known."),
    )
