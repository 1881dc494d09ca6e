"""The evaluation as a picture: what a threshold finds and what it costs; SVG that any browser shows, light and dark."""

from __future__ import annotations

from html import escape
from math import log10
from typing import TYPE_CHECKING, Final

from streams.detect.quiet import BREAKER, THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.detect.evaluate import Evaluation

_WIDTH: Final = 800
_HEIGHT: Final = 300
_PANEL: Final = 310
_TOP: Final = 50
_FLOOR: Final = 240
_LEFTS: Final = (60, 460)
_RATE_MIN: Final = 0.1
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-weight:600}.axis{stroke:#8c959f;fill:none}"
    ".mark{stroke:#8c959f;stroke-dasharray:4 4}polyline{fill:none;stroke-width:2}"
    ".one{stroke:#1f6feb}.two{stroke:#bf5b04}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.one{stroke:#58a6ff}.two{stroke:#f0883e}}"
)

Point = tuple[float, float]


def draw(evaluation: Evaluation) -> str:
    """Return the picture: precision and recall of pumps, and false breakers of quiet bots, against the threshold."""
    pumps = [(threshold, found) for threshold, found in evaluation.pump_curve.items() if found.pumps]
    quiet = evaluation.all_quiet
    weeks = quiet.bot_weeks or 1.0
    rates = [(t, count / weeks) for t, count in zip(THRESHOLDS, quiet.breakers_at, strict=False)]
    most = max([1.0, *(rate for _, rate in rates)])
    decades = log10(most / _RATE_MIN)
    parts = [
        *_panel(
            _LEFTS[0], "announced pumps, 25 s chunks", [(share, f"{share:.2g}") for share in (0.0, 0.5, 1.0)], float
        ),
        *_line(_LEFTS[0], [(t, found.precision) for t, found in pumps], "one", "precision"),
        *_line(_LEFTS[0], [(t, found.recall) for t, found in pumps], "two", "recall"),
    ]

    def height(rate: float) -> float:
        return log10(rate / _RATE_MIN) / decades

    ticks = [(rate, f"{rate:g}") for rate in (0.1, 1.0, 10.0, 100.0) if rate <= most]
    parts += _panel(_LEFTS[1], "false breakers per bot-week, quiet data", ticks, height)
    shown = [(t, height(rate)) for t, rate in rates if rate >= _RATE_MIN]
    parts += _line(_LEFTS[1], shown, "one", f"{quiet.bot_weeks:.1f} bot-weeks")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    )
    title = "What a threshold of the anomaly score finds, and what it costs"
    return f'{head} role="img"><title>{title}</title><style>{_STYLE}</style>{"".join(parts)}</svg>\n'


def _panel(left: int, title: str, ticks: Sequence[tuple[float, str]], height: Callable[[float], float]) -> list[str]:
    """Return a panel's axes: thresholds below, `ticks` at the left, the breaker's threshold as a line."""
    mark = _x(left, BREAKER)
    parts = [
        f'<text class="title" x="{left}" y="{_TOP - 25}">{escape(title)}</text>',
        f'<path class="axis" d="M{left} {_TOP}V{_FLOOR}H{left + _PANEL}"/>',
        f'<path class="mark" d="M{mark:.1f} {_TOP}V{_FLOOR}"/>',
        f'<text x="{left + _PANEL / 2}" y="{_FLOOR + 42}" text-anchor="middle">threshold of the score</text>',
    ]
    for threshold in (THRESHOLDS[0], 0.6, 0.7, BREAKER, THRESHOLDS[-1]):
        where = f'x="{_x(left, threshold):.1f}" y="{_FLOOR + 20}"'
        parts.append(f'<text {where} text-anchor="middle">{threshold:g}</text>')
    for value, text in ticks:
        parts.append(f'<text x="{left - 8}" y="{_y(height(value)) + 4:.1f}" text-anchor="end">{text}</text>')
    return parts


def _line(left: int, points: Sequence[Point], kind: str, label: str) -> list[str]:
    if not points:
        return []
    path = " ".join(f"{_x(left, threshold):.1f},{_y(share):.1f}" for threshold, share in points)
    threshold, share = points[0]
    where = f'x="{_x(left, threshold) + 6:.1f}" y="{_y(share) - 8:.1f}"'
    return [f'<polyline class="{kind}" points="{path}"/>', f"<text {where}>{escape(label)}</text>"]


def _x(left: int, threshold: float) -> float:
    return left + (threshold - THRESHOLDS[0]) / (THRESHOLDS[-1] - THRESHOLDS[0]) * _PANEL


def _y(share: float) -> float:
    return _FLOOR - share * (_FLOOR - _TOP)
