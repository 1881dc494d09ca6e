"""A bench's figures as a picture: SVG that any browser shows, in light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH: Final = 800
_LABEL: Final = 230
_BAR: Final = 20
_GAP: Final = 8
_TITLE: Final = 40
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-weight:600}.ours{fill:#1f6feb}.peer{fill:#8c959f}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#58a6ff}.peer{fill:#6e7681}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `ours` sets the product apart from its peers."""

    label: str
    value: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars on one scale, under a title that names the unit."""

    title: str
    bars: tuple[Bar, ...]


def panels(result: Mapping[str, Any]) -> tuple[Panel, ...]:
    """Return what a bench's figures (`portcullis bench --json`) have to show."""
    found = [_compared(result, "cpu_us_per_order", "CPU of the worker, us per order, in bulk")]
    found.append(_compared(result, "orders_per_second", "orders per second, in bulk"))
    rate = f"{result['rate']:,} orders/s"
    found.append(_compared(result, "cpu_us_per_order_at_rate", f"CPU of the worker, us per order, at {rate}"))
    latency = [
        Bar(f"{who} {name}", float(result[f"{prefix}latency_ms"][name]), not prefix)
        for who, prefix in (("Portcullis", ""), ("leanest loop", "lean_"))
        if f"{prefix}latency_ms" in result
        for name in ("p50", "p99")
    ]
    found.append(Panel(f"from request to visible verdict, ms, at {rate}", tuple(latency)))
    parts = tuple(Bar(part, float(spent), ours=True) for part, spent in result["parts_us"].items() if part != "sum")
    found.append(Panel("the parts of an order without a broker, CPU us", parts))
    return tuple(found)


def draw(shown: Sequence[Panel]) -> str:
    """Return the panels one under the other."""
    parts, top = [], 10
    for panel in shown:
        parts.append(f'<text class="title" x="10" y="{top + 18}">{escape(panel.title)}</text>')
        top += _TITLE - 10
        largest = max((bar.value for bar in panel.bars), default=0.0) or 1.0
        for bar in panel.bars:
            length = max(1.0, bar.value / largest * (_WIDTH - _LABEL - 90))
            kind = "ours" if bar.ours else "peer"
            parts += (
                f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(bar.label)}</text>',
                f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="3"/>',
                f'<text x="{_LABEL + length + 6:.1f}" y="{top + 15}">{bar.value:,.4g}</text>',
            )
            top += _BAR + _GAP
        top += 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}"'
    return (
        f'{head} role="img"><title>Portcullis beside its peers</title><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _compared(result: Mapping[str, Any], name: str, title: str) -> Panel:
    """Return one figure of all contestants that have it."""
    bars = tuple(
        Bar(who, float(result[prefix + name]), not prefix)
        for who, prefix in (("Portcullis", ""), ("leanest loop", "lean_"), ("plain Faust", "faust_"))
        if prefix + name in result
    )
    return Panel(title, bars)
