"""The reader's own process: `python -m streams.bench.watcher JOB` sees verdicts as a read-committed stranger does.

Latency is from the moment when the broker appended the request to the moment when its verdict is in this process.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson
from confluent_kafka import TopicPartition

from streams.clock import now_us
from streams.kafka.reading import partitions_of, reader
from streams.wire.decisions import decode_verdict

_POLL_S: Final = 0.5
_SILENCE_S: Final = 15.0
READY: Final = "watching"


@dataclass(frozen=True, slots=True)
class WatchJob:
    """What to see: `count` verdicts on these topics, those after their ends now."""

    bootstrap_servers: str
    topics: list[str]
    count: int
    skipped_share: float = 0.1
    security: dict[str, str] = field(default_factory=dict)

    def argument(self) -> str:
        """Return the job as the process's argument."""
        return orjson.dumps(asdict(self)).decode()


def watch(job: WatchJob) -> dict[str, Any]:
    """Wait for the verdicts; return count, approvals and percentiles in ms, the first tenth left out as warm-up."""
    consumer = reader(
        job.bootstrap_servers,
        job.security,
        **{"enable.partition.eof": False, "fetch.wait.max.ms": 500, "fetch.queue.backoff.ms": 2},
    )
    try:
        places = [TopicPartition(t, p) for t, p in partitions_of(consumer, job.topics)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place)[1]
        consumer.assign(places)
        consumer.poll(0)
        print(READY, flush=True)  # noqa: T201 - read by whoever started us
        seen: list[tuple[int, bytes]] = []
        last_s = time.monotonic()
        while len(seen) < job.count and time.monotonic() - last_s < _SILENCE_S:
            message = consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                seen.append((now_us(), message.value() or b""))
                last_s = time.monotonic()
    finally:
        consumer.close()
    return _summary(seen, job.skipped_share)


def _summary(seen: list[tuple[int, bytes]], skipped_share: float) -> dict[str, Any]:
    latencies_ms, approved = [], 0
    for number, (seen_us, value) in enumerate(seen):
        verdict = decode_verdict(value)
        approved += verdict.approved
        if number >= skipped_share * len(seen):
            latencies_ms.append((seen_us - verdict.request_time_us) / 1000)
    latencies_ms.sort()

    def share(part: float) -> float:
        return latencies_ms[min(len(latencies_ms) - 1, int(part * len(latencies_ms)))] if latencies_ms else 0.0

    return {"seen": len(seen), "approved": approved, "p50": share(0.5), "p90": share(0.9), "p99": share(0.99)}


if __name__ == "__main__":
    print(orjson.dumps(watch(WatchJob(**orjson.loads(sys.argv[1])))).decode())  # noqa: T201 - the result
