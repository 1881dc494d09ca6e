"""The enforcer's metrics: what it answered, and how long bots waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

_BOUNDS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class EnforcerMetrics(Collector):
    """Counts answers to `POST /v1/orders`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "portcullis_enforcer_answers", "Answers, by status.", ["status"], registry=self._registry
        )
        self._seconds = Histogram(
            "portcullis_enforcer_seconds", "From request to answer.", buckets=_BOUNDS_S, registry=self._registry
        )

    def note(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self._answers.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def describe(self) -> Iterable[Metric]:
        """Name no families ahead."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return every metric family."""
        return self._registry.collect()
