"""A worker's metrics, read from its lanes when somebody asks; and whether it does what it is there for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from streams.agents.lane import Lane as Agents
from streams.core.orders import TradingState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from streams.agents.tally import Histogram, LaneTally
    from streams.engine.app import EngineApp
    from streams.engine.lane import Lane

_US: Final = 1_000_000
_LOOP_TIMEOUT_S: Final = 2.0
# With work waiting, a lane commits many times a second; a broker that moves its leaders may take this long.
_STALLED_S: Final = 10.0


class WorkerCollector(Collector):
    """Reads counters that lanes keep per micro-batch; nothing here is on the way of an order."""

    def __init__(self, app: EngineApp) -> None:
        self._app = app

    def describe(self) -> Iterable[Metric]:
        """Say nothing before the first question: there are no lanes yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        lanes = dict(self._app.engine.lanes)
        tallies = {number: tally for number, lane in lanes.items() if (tally := _tally(lane)) is not None}
        yield from _decisions(tallies)
        yield _histogram("portcullis_decision_latency_seconds", "From append to decision.", "latency", tallies, _US)
        yield _histogram("portcullis_score", "Anomaly scores of decided orders.", "score", tallies, 1)
        yield from _states(tallies)
        yield from _transactions(lanes)
        yield from self._lag(lanes)

    def _lag(self, lanes: Mapping[int, Lane]) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "portcullis_consumer_lag_records", "Records not decided yet.", labels=["topic", "partition"]
        )
        for number in lanes:
            for topic, lag in self._app.waiting(number).items():
                family.add_metric([topic, str(number)], lag)
        yield family


def live(app: EngineApp) -> dict[str, bool]:
    """Tell whether the worker's loop still turns."""
    loop = app.worker_loop
    if loop is None or loop.is_closed():
        return {"loop": loop is None}
    turned = threading.Event()
    loop.call_soon_threadsafe(turned.set)
    return {"loop": turned.wait(_LOOP_TIMEOUT_S)}


def ready(app: EngineApp) -> dict[str, bool]:
    """Tell whether it decides: partitions are assigned, restored and positioned, and what waits gets done."""
    lanes = list(app.engine.lanes.values())
    now_s = time.monotonic()
    return {
        **live(app),
        "assigned": bool(lanes),
        "positioned": all(lane.positioned for lane in lanes),
        "references": app.engine.caught_up,
        "progress": not any(
            now_s - lane.progress_s > _STALLED_S and any(app.waiting(lane.partition).values()) for lane in lanes
        ),
    }


def _tally(lane: Lane) -> LaneTally | None:
    application: Any = lane.application
    return application.tally if isinstance(application, Agents) else None


def _decisions(tallies: Mapping[int, LaneTally]) -> Iterator[Metric]:
    decisions = CounterMetricFamily("portcullis_decisions", "Verdicts, by reason.", labels=["decision", "reason"])
    reasons: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    alerts: Counter[str] = Counter()
    for tally in tallies.values():
        reasons.update(dict(tally.reasons))
        letters.update(dict(tally.dead_letters))
        alerts.update(dict(tally.alerts))
    for reason, count in reasons.items():
        decisions.add_metric(["APPROVED" if reason == "NONE" else "REJECTED", str(reason)], count)
    yield decisions
    for name, text, label, counts in (
        ("portcullis_dead_letters", "Messages that could not be read.", "reason", letters),
        ("portcullis_alerts", "Alerts raised.", "severity", alerts),
    ):
        family = CounterMetricFamily(name, text, labels=[label])
        for value, count in counts.items():
            family.add_metric([str(value)], count)
        yield family


def _histogram(
    name: str, text: str, which: str, tallies: Mapping[int, LaneTally], unit: float
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text)
    found: list[Histogram] = [getattr(tally, which) for tally in tallies.values()]
    if found:
        sums = [sum(counts) for counts in zip(*(list(one.counts) for one in found), strict=True)]
        names = [*(repr(bound / unit) for bound in found[0].bounds), "+Inf"]
        buckets = list(zip(names, accumulate(sums), strict=True))
        family.add_metric([], buckets, sum(one.total for one in found) / unit)
    return family


def _states(tallies: Mapping[int, LaneTally]) -> Iterator[Metric]:
    restricted: Counter[TradingState] = Counter()
    for tally in tallies.values():
        restricted.update(list(tally.restricted.values()))
    bots = GaugeMetricFamily("portcullis_bots_restricted", "Bots that do not trade freely.", labels=["state"])
    for state in (TradingState.REDUCING, TradingState.HALTED):
        bots.add_metric([state.value], restricted[state])
    yield bots
    age = GaugeMetricFamily("portcullis_checkpoint_age_seconds", "Since the newest checkpoint.", labels=["partition"])
    size = GaugeMetricFamily("portcullis_log_leaves", "Leaves of the audit log.", labels=["partition"])
    now_us = time.time_ns() // 1000
    for number, tally in tallies.items():
        size.add_metric([str(number)], tally.log_size)
        if tally.checkpoint_us:
            age.add_metric([str(number)], max(0.0, (now_us - tally.checkpoint_us) / _US))
    yield age
    yield size


def _transactions(lanes: Mapping[int, Lane]) -> Iterator[Metric]:
    count = CounterMetricFamily("portcullis_transactions", "Transactions committed.", labels=["partition"])
    spent = CounterMetricFamily("portcullis_transaction_seconds", "Time spent in them.", labels=["partition"])
    progress = GaugeMetricFamily("portcullis_progress_age_seconds", "Since the last commit.", labels=["partition"])
    for number, lane in lanes.items():
        count.add_metric([str(number)], lane.transactions)
        spent.add_metric([str(number)], lane.transaction_s)
        progress.add_metric([str(number)], time.monotonic() - lane.progress_s)
    yield count
    yield spent
    yield progress
