"""The sink's speed: real audit events from Kafka into an embedded warehouse, beside the same rows without Kafka.

Each way is a process of its own, `python -m streams.bench.storing JOB`, as an embedded engine serves one folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.bench.gauge import peak_rss_mb
from streams.bench.ground import open_cluster, open_field
from streams.bench.material import prepare
from streams.bench.offline import OfflineLane
from streams.kafka.producing import Sender
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.warehouse.rows import Record, cut_blocks
from streams.warehouse.sink import SinkOptions, open_sink, read_ends
from streams.warehouse.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.bench.ground import Field
    from streams.bench.material import Material
    from streams.settings import Settings

_BOTS: Final = 100
_ROUNDS: Final = 3
_BLOCK_ROWS: Final = 30_000
_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class StoreJob:
    """What to store where; `straight`: without the sink, from memory."""

    dsn: str
    bootstrap_servers: str
    prefix: str
    straight: bool
    security: dict[str, str] = field(default_factory=dict)

    def argument(self) -> str:
        """Return the job as the process's argument."""
        return orjson.dumps(asdict(self)).decode()


def run_storing(settings: Settings, rows: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Store at least `rows` audit events in `<home>/bench` each way, in turns; return medians and their ratio.

    Raises: PortcullisError where a part of it cannot run.
    """
    folder = settings.home / "bench"
    material = prepare(folder / f"material-{_BOTS}", bots=_BOTS, orders=rows, processes=2, tell=tell)
    figures: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    with open_cluster(folder, settings) as cluster, open_field(folder, cluster, material, "sink") as field_:
        tell(f"Deciding {rows:,} orders for their audit events ...")
        written = _write_events(field_, material, rows)
        for number in range(_ROUNDS):
            for way in ("sink", "straight"):
                figures[way].append(_one(field_, f"{way}-{number}", straight=way == "straight"))
                tell(f"  {way}: {figures[way][-1]['rows_per_second']:,.0f} rows/s")
    return _result(written, figures)


def _write_events(field_: Field, material: Material, rows: int) -> int:
    settings, topic = field_.settings, field_.topic(Topic.AUDIT_EVENTS)
    sender, written = Sender(settings.kafka_bootstrap_servers, settings.kafka_security), 0
    for outputs in OfflineLane(material).decide(material.load, rows):
        for message in outputs[Topic.AUDIT_EVENTS]:
            sender.send(topic, message.key, message.value)
            written += 1
    sender.flush()
    return written


def _one(field_: Field, name: str, *, straight: bool) -> dict[str, float]:
    settings, folder = field_.settings, field_.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    servers, security = settings.kafka_bootstrap_servers, dict(settings.kafka_security)
    job = StoreJob(f"chdb://{folder.resolve()}", servers, settings.topic_prefix, straight, security)
    process = field_.child(name, "storing", job.argument())
    field_.wait_for_end(process, name, _TIMEOUT_S)
    shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, float] = orjson.loads(field_.log(name).read_text().splitlines()[-1])
    return found


def _result(written: int, figures: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    middle = {way: sorted(f["rows_per_second"] for f in found)[_ROUNDS // 2] for way, found in figures.items()}
    return {
        "rows": written,
        "rows_per_second": round(middle["sink"]),
        "straight_rows_per_second": round(middle["straight"]),
        "to_straight": round(middle["sink"] / middle["straight"], 2),
        "cpu_us_per_row": sorted(f["cpu_us_per_row"] for f in figures["sink"])[_ROUNDS // 2],
        "rss_mb": round(max(f["rss_mb"] for f in figures["sink"])),
        "by_round": dict(figures),
    }


def _store(job: StoreJob) -> dict[str, float]:
    """Store the audit events of the cluster and return what it took; `straight`: read before the clock starts."""
    topic, lanes = job.prefix + Topic.AUDIT_EVENTS, defaultdict[int, list[Record]](list)
    if job.straight:
        for r in read_all(job.bootstrap_servers, [topic], job.security):
            record = Record(Topic.AUDIT_EVENTS, r.partition, r.offset, r.timestamp_us // 1000, r.key, r.value)
            lanes[r.partition].append(record)
        with closing(Store.open(job.dsn)) as store:
            began_s, used_s = time.monotonic(), time.process_time()
            rows = _append_all(store, list(lanes.values()))
            taken_s, spent_s = time.monotonic() - began_s, time.process_time() - used_s
    else:
        options = SinkOptions(job.bootstrap_servers, job.prefix, security=job.security)
        with closing(options.consumer()) as consumer:
            ends = read_ends(consumer, options)
        with open_sink(job.dsn, options, threading.Event()) as sink:
            began_s, used_s = time.monotonic(), time.process_time()
            sink.drain(ends)
            taken_s, spent_s = time.monotonic() - began_s, time.process_time() - used_s
        rows = sum(end for (name, _), end in ends.items() if name == Topic.AUDIT_EVENTS)
    return {
        "rows_per_second": round(rows / taken_s),
        "cpu_us_per_row": round(spent_s * 1e6 / rows, 1),
        "rss_mb": round(peak_rss_mb([os.getpid()])),
    }


def _append_all(store: Store, lanes: list[list[Record]]) -> int:
    share, rows = _BLOCK_ROWS // len(lanes), 0
    for first in range(0, max(map(len, lanes)), share):
        for block in cut_blocks([lane[first : first + share] for lane in lanes]):
            store.append(block)
            rows += len(block.records)
    return rows


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(_store(StoreJob(**orjson.loads(sys.argv[1])))).decode() + "\n")
