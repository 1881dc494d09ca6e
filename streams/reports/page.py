"""A page for people: one HTML file without scripts or links, to be read or printed."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_SHOWN: Final = 500


def page(title: str, *parts: str) -> str:
    """Return a page of these parts."""
    head = f"{_HEAD}<title>{escape(title)}</title><style>{_STYLE}</style><body>"
    return "".join((head, *parts, "</body></html>\n"))


def verdict(figures: str, problems: int) -> str:
    """Return the line that says whether everything holds."""
    if not problems:
        return f'<p class="verdict good">Verified: {escape(figures)}.</p>'
    return f'<p class="verdict bad">Not verified: {problems} problems in {escape(figures)}.</p>'


def findings(problems: Sequence[str], gaps: Sequence[str]) -> str:
    """Return what a verification found."""
    wrong = section("What does not hold", rows(problems), "Nothing was found.")
    return wrong + section("What is missing, or could not be checked", rows(gaps), "Nothing.")


def section(title: str, listed: str, otherwise: str) -> str:
    """Return a heading and a list, or a sentence where there is nothing to list."""
    return f"<h2>{escape(title)}</h2>{listed or f'<p>{escape(otherwise)}</p>'}"


def rows(texts: Sequence[str], *, numbered: bool = False, code: bool = False) -> str:
    """Return texts as a list, the first few hundred of them."""
    tag = "ol" if numbered else "ul"
    cells = (f"<code>{escape(text)}</code>" if code else escape(text) for text in texts[:_SHOWN])
    items = "".join(f"<li>{cell}</li>" for cell in cells)
    more = f"<p>and {len(texts) - _SHOWN} more</p>" if len(texts) > _SHOWN else ""
    return f"<{tag}>{items}</{tag}>{more}" if texts else ""


def table(
    title: str,
    columns: Sequence[str],
    cells: Iterable[Sequence[object]],
    numbers: frozenset[int] | set[int] = frozenset(),
) -> str:
    """Return a heading and a table; `numbers`: which columns are."""

    def cell(tag: str, place: int, value: object) -> str:
        return f"<{tag}{' class=number' if place in numbers else ''}>{escape(str(value))}</{tag}>"

    head = "".join(cell("th", place, name) for place, name in enumerate(columns)) if any(columns) else ""
    body = "".join(f"<tr>{''.join(cell('td', p, v) for p, v in enumerate(row))}</tr>" for row in cells)
    return f"<h2>{escape(title)}</h2><table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
