"""The bench's picture shows the figures, each on its panel's scale."""

import xml.etree.ElementTree as ET
from typing import Any

from streams.bench.plot import Bar, Panel, draw, panels

RESULT: dict[str, Any] = {
    "rate": 500,
    "cpu_us_per_order": 150.0,
    "orders_per_second": 8_000,
    "cpu_us_per_order_at_rate": 700.0,
    "latency_ms": {"p50": 18.0, "p99": 36.0},
    "lean_cpu_us_per_order": 140.0,
    "lean_orders_per_second": 7_000,
    "lean_cpu_us_per_order_at_rate": 320.0,
    "lean_latency_ms": {"p50": 80.0, "p99": 140.0},
    "faust_cpu_us_per_order": 1_000.0,
    "faust_orders_per_second": 900,
    "parts_us": {"decode": 4.0, "signature": 65.0, "sum": 69.0},
}


def widths(svg: str) -> list[float]:
    return [float(rect.attrib["width"]) for rect in ET.fromstring(svg) if rect.tag.endswith("rect")]  # noqa: S314


def test_every_figure_of_every_contestant_has_a_bar() -> None:
    found = panels(RESULT)
    assert [len(panel.bars) for panel in found] == [3, 3, 2, 4, 2]
    assert found[0].bars == (
        Bar("Portcullis", 150.0, ours=True),
        Bar("leanest loop", 140.0),
        Bar("plain Faust", 1000.0),
    )
    assert len(widths(draw(found))) == 14


def test_bars_are_as_long_as_their_values_on_their_panels_scale() -> None:
    first, second, third = widths(draw([Panel("a <b>", (Bar("x", 1.0), Bar("y", 4.0))), Panel("c", (Bar("z", 7.0),))]))
    assert second == third
    assert abs(first * 4 - second) < 1


def test_without_peers_only_ours_is_drawn() -> None:
    alone = {name: value for name, value in RESULT.items() if not name.startswith(("lean", "faust"))}
    assert [len(panel.bars) for panel in panels(alone)] == [1, 1, 1, 2, 2]
