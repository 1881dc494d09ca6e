"""The summary of a verification for people: one HTML page without scripts or links, to be read or printed."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.reports.verify import BatchReport

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; margin: 1rem 0; font-weight: 600 }
.good { border-color: #1a7f37; background: #e9f7ee } .bad { border-color: #b42318; background: #fdecea }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top }
th { border-bottom: 2px solid #8c959f } td { border-bottom: 1px solid #d8dee4; overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums } code { font-size: .85em }
@media print { body { margin: 0; max-width: none } tr, .verdict { break-inside: avoid } }
"""
_HEAD: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)
# What a verification goes through; see `streams.reports.verify`.
CHECKED: Final = (
    "The manifest is signed by the report key, has its form, and names every file with its digest.",
    "Each checkpoint is signed by its log, and no two of one size differ.",
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
    return "".join(
        (
            _HEAD,
            f"<title>Report batch {escape(report.batch_id[:12])}</title><style>{_STYLE}</style><body>",
            f"<h1>Report batch</h1><p>{escape(folder)}<br>batch id <code>{escape(report.batch_id)}</code></p>",
            _verdict(report),
            _about(manifest) if manifest else "",
            _section("What does not hold", _rows(report.problems), "Nothing was found."),
            _section("What is missing, or could not be checked", _rows(report.gaps), "Nothing."),
            _section("What was checked", _rows(CHECKED, numbered=True), "") if manifest else "",
            _section("With which keys", _rows(report.keys, code=True), "No signature of a known key was found."),
            _logs(manifest.get("logs", ())),
            _parties(manifest.get("parties", {})),
            "</body></html>\n",
        )
    )


def _verdict(report: BatchReport) -> str:
    figures = f"{report.records:,} records, {report.leaves:,} leaves under {report.checkpoints:,} signed checkpoints"
    if report.verified:
        return f'<p class="verdict good">Verified: {figures}.</p>'
    return f'<p class="verdict bad">Not verified: {len(report.problems)} problems in {figures}.</p>'


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
    return _table("The batch", ("", ""), facts) + _table("Records", ("kind", "records"), counts, numbers={1})


def _logs(logs: Iterable[dict[str, Any]]) -> str:
    rows = [(log["origin"], log["begin"], log["first"], log["last"], log["end"]) for log in logs]
    columns = ("log", "leaves from", "records from", "records up to", "leaves up to")
    return _table("The logs", columns, rows, numbers={1, 2, 3, 4}) if rows else ""


def _parties(parties: dict[str, dict[str, Any]]) -> str:
    rows = [
        (bot, party["operator"], party["regulator_id"], f"leaf {party['log_index']} of log {party['partition']}")
        for bot, party in parties.items()
    ]
    columns = ("bot", "operator", "its identifier", "registration")
    return _table("Who runs each bot", columns, rows[:_SHOWN]) if rows else ""


def _section(title: str, rows: str, otherwise: str) -> str:
    return f"<h2>{escape(title)}</h2>{rows or f'<p>{escape(otherwise)}</p>'}"


def _rows(texts: Sequence[str], *, numbered: bool = False, code: bool = False) -> str:
    tag = "ol" if numbered else "ul"
    cells = (f"<code>{escape(text)}</code>" if code else escape(text) for text in texts[:_SHOWN])
    items = "".join(f"<li>{cell}</li>" for cell in cells)
    more = f"<p>and {len(texts) - _SHOWN} more</p>" if len(texts) > _SHOWN else ""
    return f"<{tag}>{items}</{tag}>{more}" if texts else ""


def _table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: frozenset[int] | set[int] = frozenset(),
) -> str:
    def cell(tag: str, place: int, value: object) -> str:
        return f"<{tag}{' class=number' if place in numbers else ''}>{escape(str(value))}</{tag}>"

    head = "".join(cell("th", place, name) for place, name in enumerate(columns)) if any(columns) else ""
    body = "".join(f"<tr>{''.join(cell('td', p, v) for p, v in enumerate(row))}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
