"""An hour of backlog: orders that waited longer than their policies allow are all refused, and memory stays flat."""

from __future__ import annotations

import time
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from streams.bench.contestants import Portcullis, pause, resume
from streams.bench.gauge import Progress, cpu_s, rss_mb
from streams.bench.ground import BenchError, open_cluster, open_field
from streams.bench.material import prepare
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.bench.ground import Field
    from streams.settings import Settings

_BOTS: Final = 100
_AGE_MAX_MS: Final = 1_000
_SAMPLE_S: Final = 0.25
_SLOWEST_PER_S: Final = 200


def run_backlog(settings: Settings, orders: int, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Let orders wait that may be a second old, decide them in `<home>/bench`, and return what came of them.

    Raises: PortcullisError where a part of it cannot run.
    """
    folder = settings.home / "bench"
    name = f"material-{_BOTS}-{_AGE_MAX_MS}ms"
    material = prepare(folder / name, bots=_BOTS, orders=orders, processes=2, tell=tell, max_order_age_ms=_AGE_MAX_MS)
    with open_cluster(folder, settings) as cluster, open_field(folder, cluster, material, "backlog") as field:
        contestant = Portcullis(field, workers)
        try:
            contestant.start()
            return _decide(field, contestant, orders, tell)
        finally:
            contestant.stop()


def _decide(field: Field, contestant: Portcullis, orders: int, tell: Callable[[str], None]) -> dict[str, Any]:
    tell(f"Writing {orders:,} orders while the worker stands still ...")
    pause(contestant)
    try:
        field.wait_for_end(field.sending(0, orders), "sender", 60.0 + orders / _SLOWEST_PER_S)
    finally:
        resume(contestant)
    began_s, used_s = time.monotonic(), cpu_s(contestant.pids)
    samples = _follow(field, contestant, orders)
    taken_s, spent_s = time.monotonic() - began_s, cpu_s(contestant.pids) - used_s
    tell("Reading the verdicts ...")
    reasons = _reasons(field)
    quarter = max(1, len(samples) // 4)
    return {
        "orders": orders,
        "approved": reasons.pop("NONE", 0),
        "rejected": dict(reasons),
        "orders_per_second": round(orders / taken_s),
        "cpu_us_per_order": round(spent_s * 1e6 / orders, 1),
        "rss_mb": {
            "first_quarter": round(median(samples[:quarter])),
            "last_quarter": round(median(samples[-quarter:])),
            "peak": round(max(samples)),
        },
    }


def _follow(field: Field, contestant: Portcullis, orders: int) -> list[float]:
    """Wait until the orders are decided; return the workers' memory meanwhile."""
    settings, topic = field.settings, field.topic(Topic.ORDERS_REQUESTED)
    progress = Progress(settings.kafka_bootstrap_servers, settings.kafka_security, contestant.group)
    deadline, samples = time.monotonic() + 60.0 + orders / _SLOWEST_PER_S, []
    try:
        while progress.committed(topic, field.partitions) < orders:
            contestant.require_running()
            samples.append(rss_mb(contestant.pids))
            if time.monotonic() > deadline:
                raise BenchError(f"{orders} orders are not decided in time")
            time.sleep(_SAMPLE_S)
    finally:
        progress.close()
    return [*samples, rss_mb(contestant.pids)]


def _reasons(field: Field) -> Counter[str]:
    """Return how many verdicts there are of each reason."""
    settings = field.settings
    topics = [field.topic(topic) for topic in (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)]
    records = read_all(settings.kafka_bootstrap_servers, topics, settings.kafka_security)
    return Counter(str(decode_verdict(record.value).reason) for record in records)
