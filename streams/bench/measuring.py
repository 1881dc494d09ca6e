"""Measurements of one contestant: a backlog at full speed, and a steady rate with a reader that watches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.bench.contestants import pause, resume
from streams.bench.gauge import Progress, cpu_s
from streams.bench.ground import BenchError
from streams.bench.watcher import READY, WatchJob
from streams.names import Topic

if TYPE_CHECKING:
    from streams.bench.contestants import Contestant, Portcullis
    from streams.bench.ground import Field

_WARM_SHARE: Final = 0.1
_SAMPLE_S: Final = 0.02
_SLOWEST_PER_S: Final = 100
_START_S: Final = 60.0
RESTART_ORDERS: Final = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of orders took."""

    orders_per_second: float
    cpu_us_per_order: float


@dataclass(frozen=True, slots=True)
class Steady:
    """A steady rate: cost, and how long a verdict took to be visible."""

    rate: float
    cost: Cost
    latency_ms: dict[str, float]
    approved_share: float


@dataclass(slots=True)
class Measuring:
    """One contestant in its field; `sent` orders of the load are behind it."""

    field: Field
    contestant: Contestant
    sent: int = 0

    def backlog(self, orders: int) -> Cost:
        """Write orders while the contestant is stopped, let it go on, and see what they cost.

        All of their cost counts: whoever checks signatures ahead has done much of the work by the first decision.

        Raises: BenchError where it does not get through.
        """
        pause(self.contestant)
        try:
            sending = self.field.sending(self.sent, orders)
            self.field.wait_for_end(sending, "sender", _START_S + orders / _SLOWEST_PER_S)
        finally:
            resume(self.contestant)
        return self._follow(orders, warm_share=0.0)

    def restart_s(self, contestant: Portcullis) -> float:
        """Kill the workers, let orders wait, and return how long it takes from the start to all of their verdicts."""
        contestant.kill()
        self.field.wait_for_end(self.field.sending(self.sent, RESTART_ORDERS), "sender", _START_S)
        began_s = time.monotonic()
        contestant.start_again()
        self._follow(RESTART_ORDERS, warm_share=0.0)
        return time.monotonic() - began_s

    def steady(self, rate: float, seconds: float) -> Steady:
        """Send at a steady rate and watch the verdicts as a live reader does. Raises: BenchError."""
        count, settings = max(1, round(rate * seconds)), self.field.settings
        answers = [self.field.topic(topic) for topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
        job = WatchJob(settings.kafka_bootstrap_servers, answers, count, _WARM_SHARE, dict(settings.kafka_security))
        watching = self.field.child("watcher", "watcher", job.argument())
        self.field.wait_for_line(watching, "watcher", READY, _START_S)
        sending = self.field.sending(self.sent, count, rate)
        cost = self._follow(count, warm_share=_WARM_SHARE)
        self.field.wait_for_end(sending, "sender", _START_S)
        self.field.wait_for_end(watching, "watcher", _START_S)
        seen: dict[str, Any] = orjson.loads(self.field.log("watcher").read_text().splitlines()[-1])
        if seen["seen"] != count:
            raise BenchError(f"{count} verdicts expected, {seen['seen']} seen")
        latency_ms = {name: round(seen[name], 2) for name in ("p50", "p90", "p99")}
        return Steady(rate, cost, latency_ms, seen["approved"] / count)

    def _follow(self, orders: int, *, warm_share: float) -> Cost:
        """Sample CPU time and progress until the orders are decided, from when a share of them is."""
        field, pids = self.field, self.contestant.pids
        settings, topic = field.settings, field.topic(Topic.ORDERS_REQUESTED)
        progress = Progress(settings.kafka_bootstrap_servers, settings.kafka_security, self.contestant.group)
        deadline = time.monotonic() + _START_S + orders / _SLOWEST_PER_S
        began: tuple[float, float, int] | None = None
        try:
            while True:
                done = progress.committed(topic, field.partitions) - self.sent
                now_s, used_s = time.monotonic(), cpu_s(pids)
                if began is None and done >= warm_share * orders:
                    began = now_s, used_s, done
                if began is not None and done >= orders:
                    break
                self.contestant.require_running()
                if now_s > deadline:
                    raise BenchError(f"{orders} orders expected, {done} decided in time")
                time.sleep(_SAMPLE_S)
        finally:
            progress.close()
        self.sent += orders
        began_s, began_used_s, began_done = began
        counted = max(1, done - began_done)
        return Cost(counted / max(now_s - began_s, _SAMPLE_S), (used_s - began_used_s) * 1e6 / counted)
