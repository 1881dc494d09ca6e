"""Metrics and health of the services around the gate: sink, witness, archive, notifier, desk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.telemetry.server import serve_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from prometheus_client import Metric

    from streams.pulse import Pulse
    from streams.settings import Settings

# A loop that waits for the cluster or the store turns all the same; the longest single step is a large block's.
_HANGS_S: Final = 120.0


class ServiceCollector(Collector):
    """Reads a service's pulse when somebody asks."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def describe(self) -> Iterable[Metric]:
        """Name no families ahead."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        pulse = self._pulse
        counts = (
            ("portcullis_service_records", "Records dealt with.", pulse.records),
            ("portcullis_service_failures", "What did not succeed, and is tried again.", pulse.failures),
        )
        for name, text, count in counts:
            family = CounterMetricFamily(name, text, labels=["service"])
            family.add_metric([pulse.service], count)
            yield family
        ready = float(all(pulse.parts.values()))
        gauges = (
            ("portcullis_service_behind_records", "Committed records that wait to be read.", pulse.behind),
            ("portcullis_service_turn_age_seconds", "Since its loop last turned.", time.monotonic() - pulse.turned_s),
            ("portcullis_service_ready", "Whether every part of it holds.", ready),
        )
        for name, text, value in gauges:
            gauge = GaugeMetricFamily(name, text, labels=["service"])
            gauge.add_metric([pulse.service], value)
            yield gauge


def live(pulse: Pulse) -> dict[str, bool]:
    """Tell whether the service's loop turns."""
    return {"loop": time.monotonic() - pulse.turned_s < _HANGS_S}


def ready(pulse: Pulse) -> dict[str, bool]:
    """Tell whether it does what it is there for."""
    return {**live(pulse), **pulse.parts}


def serve_pulse(settings: Settings, pulse: Pulse) -> AbstractContextManager[int]:
    """Serve a service's metrics and health on the settings' port; nothing where none is set."""
    return serve_telemetry(settings, ServiceCollector(pulse), live=lambda: live(pulse), ready=lambda: ready(pulse))
