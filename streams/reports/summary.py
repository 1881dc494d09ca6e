"""The summary of a batch's verification for people."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from streams.reports.page import findings, page, rows, section, table, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.reports.verify import BatchReport

# What a verification goes through; see `streams.reports.verify`.
CHECKED: Final = (
    "The manifest is signed by the report key, has its form, and names every file with its digest.",
    "Each checkpoint is signed by its log, in the time in which the key counts, and no two of one size differ.",
    "The leaves, put together with the tree before them, give the root that each checkpoint signs.",
    "Each leaf in the range makes its records, these and no others, in their order; each fits its schema.",
    "No leaf in the range is left out; the leaf before the first record is shown to be outside.",
    "Who runs each bot is what its registration says, itself proven to be in the log.",
    "Identifiers were looked up in their lists, and the Parquet files compared, as far as said below.",
)
_SHOWN: Final = 500


def summary_page(report: BatchReport, folder: str) -> str:
    """Return the page of a verification."""
    manifest = report.manifest
    figures = f"{report.records:,} records, {report.leaves:,} leaves under {report.checkpoints:,} signed checkpoints"
    return page(
        f"Report batch {report.batch_id[:12]}",
        f"<h1>Report batch</h1><p>{escape(folder)}<br>batch id <code>{escape(report.batch_id)}</code></p>",
        verdict(figures, len(report.problems)),
        _about(manifest) if manifest else "",
        findings(report.problems, report.gaps),
        section("What was checked", rows(CHECKED, numbered=True), "") if manifest else "",
        section("With which keys", rows(report.keys, code=True), "No signature of a known key was found."),
        _logs(manifest.get("logs", ())),
        _parties(manifest.get("parties", {})),
    )


def _about(manifest: dict[str, Any]) -> str:
    corrects = manifest["corrects"]
    facts = [
        ("From", manifest["range_from"]),
        ("To, not included", manifest["range_to"]),
        ("Bot", manifest["bot"] or "all"),
        ("Market", manifest["market"] or "all"),
        *([("Corrects batch", f"{corrects['batch_id']}: {corrects['reason']}")] if corrects else []),
    ]
    counts = [(name, f"{count:,}") for name, count in manifest["records"].items()]
    return table("The batch", ("", ""), facts) + table("Records", ("kind", "records"), counts, numbers={1})


def _logs(logs: Iterable[dict[str, Any]]) -> str:
    cells = [(log["origin"], log["begin"], log["first"], log["last"], log["end"]) for log in logs]
    columns = ("log", "leaves from", "records from", "records up to", "leaves up to")
    return table("The logs", columns, cells, numbers={1, 2, 3, 4}) if cells else ""


def _parties(parties: dict[str, dict[str, Any]]) -> str:
    cells = [
        (bot, party["operator"], party["regulator_id"], f"leaf {party['log_index']} of log {party['partition']}")
        for bot, party in parties.items()
    ]
    columns = ("bot", "operator", "its identifier", "registration")
    return table("Who runs each bot", columns, cells[:_SHOWN]) if cells else ""
