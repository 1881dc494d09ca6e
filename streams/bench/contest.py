"""The contest: Portcullis and its peers in turn on one broker, and the medians of their figures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from streams.bench.contestants import PeerProcess, Portcullis
from streams.bench.gauge import peak_rss_mb
from streams.bench.ground import open_cluster, open_field
from streams.bench.material import prepare
from streams.bench.measuring import RESTART_ORDERS, Cost, Measuring, Steady
from streams.bench.offline import OfflineLane
from streams.bench.transaction import empty_transaction_ms
from streams.engine.worker import collect_seldom

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.bench.contestants import Contestant
    from streams.bench.ground import Field
    from streams.settings import Settings

OURS: Final = "portcullis"
LEAN: Final = "lean"
FAUST: Final = "plain_faust"
_FAUST_SHARE: Final = 10  # plain Faust gets a tenth of the orders: it takes ten times as long
_HEAVY_SHARE: Final = 0.7
_WARM_ORDERS_MIN: Final = 2_000
_PARTS_ORDERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure; `peers` off measures Portcullis alone."""

    orders: int
    bots: int
    workers: int
    rate: int
    seconds: float
    rounds: int
    peers: bool


@dataclass(slots=True)
class Figures:
    """What was measured of one contestant, a value per round."""

    backlog: list[Cost] = field(default_factory=list)
    light: list[Steady] = field(default_factory=list)
    heavy: list[Steady] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    restart_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything of a bench."""

    options: BenchOptions
    figures: dict[str, Figures]
    empty_transaction_ms: float
    parts_us: dict[str, float]


def run_bench(settings: Settings, options: BenchOptions, tell: Callable[[str], None]) -> Outcome:
    """Measure in `<home>/bench`; the contestants take turns, so that what disturbs one round disturbs all.

    Raises: PortcullisError where a part of it cannot run; the text says which.
    """
    folder = settings.home / "bench"
    # A day's load of heavy work is not known before; what is not sent costs only the signing.
    total = options.orders + round(options.rate * options.seconds) + round(2 * options.orders) + RESTART_ORDERS
    material = prepare(folder / f"material-{options.bots}", bots=options.bots, orders=total, processes=2, tell=tell)
    figures: defaultdict[str, Figures] = defaultdict(Figures)
    empty_ms: list[float] = []
    with open_cluster(folder, settings) as cluster:
        for number in range(1, options.rounds + 1):
            for name in _turns(options):
                tell(f"Round {number} of {options.rounds}: {name} ...")
                with open_field(folder, cluster, material, name.replace("_", "-")) as field_:
                    _measure(field_, name, options, figures[name])
                    if name == OURS:
                        empty_ms.append(empty_transaction_ms(field_))
                tell(_said(name, figures[name]))
    tell("The parts of an order, without a broker ...")
    lane = OfflineLane(material)
    collect_seldom()
    parts = lane.time_parts(material.load, min(options.orders, _PARTS_ORDERS))
    return Outcome(options, dict(figures), round(median(empty_ms), 2), parts.us_per_order())


def _turns(options: BenchOptions) -> tuple[str, ...]:
    return (OURS, LEAN, FAUST) if options.peers else (OURS,)


def _measure(field_: Field, name: str, options: BenchOptions, figures: Figures) -> None:
    contestant: Contestant = Portcullis(field_, options.workers) if name == OURS else PeerProcess(field_, name)
    try:
        contestant.start()
        measuring = Measuring(field_, contestant)
        if name == FAUST:
            figures.backlog.append(measuring.backlog(max(_WARM_ORDERS_MIN, options.orders // _FAUST_SHARE)))
        else:
            backlog = measuring.backlog(options.orders)
            figures.backlog.append(backlog)
            figures.light.append(measuring.steady(options.rate, options.seconds))
            heavy = _HEAVY_SHARE * backlog.orders_per_second
            left = field_.material.orders - measuring.sent - RESTART_ORDERS
            seconds = min(options.seconds, left / heavy)
            figures.heavy.append(measuring.steady(heavy, seconds))
        figures.rss_mb.append(peak_rss_mb(contestant.pids))
        if isinstance(contestant, Portcullis):
            figures.restart_s.append(measuring.restart_s(contestant))
    finally:
        contestant.stop()


def _said(name: str, figures: Figures) -> str:
    cost = figures.backlog[-1]
    text = f"  {name}: {cost.orders_per_second:,.0f} orders/s, {cost.cpu_us_per_order:.0f} us of CPU per order"
    for steady in (*figures.light[-1:], *figures.heavy[-1:]):
        latency, used = steady.latency_ms, steady.cost.cpu_us_per_order
        text += f"; at {steady.rate:,.0f}/s {used:.0f} us, p50 {latency['p50']:.1f}, p99 {latency['p99']:.1f} ms"
    return text


def middle(values: list[float]) -> float:
    """Return the median, 0 where nothing was measured."""
    return median(values) if values else 0.0


def latency(steadies: list[Steady]) -> dict[str, float]:
    """Return the medians over the rounds of the rate and of each percentile."""
    return {
        "rate": round(middle([steady.rate for steady in steadies])),
        **{name: round(middle([s.latency_ms[name] for s in steadies]), 1) for name in ("p50", "p90", "p99")},
    }


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome for scripts: medians over the rounds, ratios to the peers, and every round."""
    found = {name: outcome.figures.get(name, Figures()) for name in (OURS, LEAN, FAUST)}
    ours, lean = found[OURS], found[LEAN]
    cpu = {name: middle([c.cpu_us_per_order for c in f.backlog]) for name, f in found.items()}
    speed = {name: middle([c.orders_per_second for c in f.backlog]) for name, f in found.items()}
    light = {name: middle([s.cost.cpu_us_per_order for s in f.light]) for name, f in found.items()}
    approved = [steady.approved_share for steady in (*ours.light, *ours.heavy)]
    result: dict[str, Any] = {
        "orders": outcome.options.orders,
        "bots": outcome.options.bots,
        "workers": outcome.options.workers,
        "rate": outcome.options.rate,
        "rounds": outcome.options.rounds,
        "approved_share": round(middle(approved), 4),
        "orders_per_second": round(speed[OURS]),
        "cpu_us_per_order": round(cpu[OURS], 1),
        "cpu_us_per_order_at_rate": round(light[OURS], 1),
        "latency_ms": latency(ours.light),
        "latency_ms_at_70_percent": latency(ours.heavy),
        "empty_transaction_ms": outcome.empty_transaction_ms,
        "rss_mb": round(middle(ours.rss_mb), 1),
        "restart_s": round(middle(ours.restart_s), 2),
        "parts_us": outcome.parts_us,
    }
    if outcome.options.peers:
        result |= {
            "lean_orders_per_second": round(speed[LEAN]),
            "lean_cpu_us_per_order": round(cpu[LEAN], 1),
            "lean_cpu_us_per_order_at_rate": round(light[LEAN], 1),
            "lean_latency_ms": latency(lean.light),
            "lean_latency_ms_at_70_percent": latency(lean.heavy),
            "lean_rss_mb": round(middle(lean.rss_mb), 1),
            "faust_orders_per_second": round(speed[FAUST]),
            "faust_cpu_us_per_order": round(cpu[FAUST], 1),
            "faust_rss_mb": round(middle(found[FAUST].rss_mb), 1),
        }
    return result | {"ratios": _ratios(result), "by_round": by_round(outcome)}


def _ratios(result: dict[str, Any]) -> dict[str, float]:
    """Return ours by theirs; a ratio to what was not measured is left out."""
    pairs = {
        "cpu_to_lean": (result["cpu_us_per_order"], result.get("lean_cpu_us_per_order")),
        "cpu_to_faust": (result["cpu_us_per_order"], result.get("faust_cpu_us_per_order")),
        "speed_to_lean": (result["orders_per_second"], result.get("lean_orders_per_second")),
        "cpu_at_rate_to_lean": (result["cpu_us_per_order_at_rate"], result.get("lean_cpu_us_per_order_at_rate")),
        "p50_to_empty_transaction": (result["latency_ms"]["p50"], result["empty_transaction_ms"]),
        "p99_to_empty_transaction": (result["latency_ms"]["p99"], result["empty_transaction_ms"]),
    }
    return {name: round(ours / theirs, 3) for name, (ours, theirs) in pairs.items() if theirs}


def by_round(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    """Return each contestant's figures round by round."""
    return {
        name: [
            {
                "orders_per_second": round(cost.orders_per_second),
                "cpu_us_per_order": round(cost.cpu_us_per_order, 1),
                **{
                    which: {"rate": round(s.rate), "cpu_us": round(s.cost.cpu_us_per_order, 1), **s.latency_ms}
                    for which, steadies in (("light", figures.light), ("heavy", figures.heavy))
                    for s in steadies[place : place + 1]
                },
            }
            for place, cost in enumerate(figures.backlog)
        ]
        for name, figures in outcome.figures.items()
    }
