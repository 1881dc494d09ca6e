"""A lane without a broker: the worker's own application, fed from a load file, so that its parts can be timed."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.producer.message_accumulator import BatchBuilder

from streams.agents.lane import Lane, Services
from streams.agents.references import References
from streams.agents.trust import TrustSource
from streams.app import TABLES, load_incident_rules
from streams.engine.application import Message, Outputs
from streams.engine.changelog import LaneRows
from streams.names import Topic
from streams.sim.load import read_load
from streams.wire.log_keys import log_signers
from streams.wire.messages import decode_order, encode_reference_price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from streams.bench.material import Material
    from streams.wire.signed_orders import WireMessage

_BATCH: Final = 2_000
_BATCH_BYTES: Final = 900_000
_ORDERS_PER_MS: Final = 20


class Record(NamedTuple):
    """A record as a lane sees it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Parts:
    """CPU time of each part of the work, in seconds, and how many orders it was for."""

    orders: int
    seconds: defaultdict[str, float]

    def us_per_order(self) -> dict[str, float]:
        """Return CPU microseconds per order of each part, and their sum."""
        found = {part: round(spent_s * 1e6 / self.orders, 1) for part, spent_s in self.seconds.items()}
        return {**found, "sum": round(sum(self.seconds.values()) * 1e6 / self.orders, 1)}


class OfflineLane:
    """One lane with the material's bots registered and every market's price known."""

    def __init__(self, material: Material) -> None:
        references = References()
        references.attach(lambda: True)
        pki = material.pki
        services = Services(
            TrustSource.of(pki),
            references,
            lambda number: log_signers(pki, f"bench/{number}"),
            "",
            load_incident_rules(),
        )
        self.outputs = Outputs()
        self.rows = LaneRows(TABLES)
        self.lane = Lane(0, self.rows.tables, self.outputs, services)
        self._now_us = time.time_ns() // 1_000
        for number, market in enumerate(material.markets.values()):
            price = encode_reference_price(market.reference(market.first_price_e13, self._now_us))
            symbol = market.symbol.encode()
            references.on_price(Record(Topic.MARKETS_REFERENCE, 0, number, self._now_us // 1000, symbol, price, ()))
        self.lane.begin(self._now_us)
        for record in self._records(material.registry, Topic.AGENTS_REGISTRY, material.bots):
            self.lane.process(record, None)
        self._end_batch()

    def decide(self, load: Path, orders: int) -> Iterator[dict[str, list[Message]]]:
        """Decide a load file's orders in batches and yield what each writes."""
        for batch in _batches(self._records(load, Topic.ORDERS_REQUESTED, orders)):
            self.lane.begin(batch[-1].timestamp * 1000)
            for record in batch:
                self.lane.process(record, self.lane.prepare(record))
            yield self._end_batch()

    def time_parts(self, load: Path, orders: int) -> Parts:
        """Decide a load file's orders and return what each part of it took."""
        parts = Parts(0, defaultdict(float))
        for batch in _batches(self._records(load, Topic.ORDERS_REQUESTED, orders)):
            parts.orders += len(batch)
            self._time_batch(batch, parts.seconds)
        return parts

    def _time_batch(self, batch: Sequence[Record], spent_s: defaultdict[str, float]) -> None:
        lane, clock = self.lane, time.process_time
        times = [clock()]
        for record in batch:
            decode_order(record.value)
        times.append(clock())
        prepared = [lane.prepare(record) for record in batch]
        times.append(clock())
        lane.begin(batch[-1].timestamp * 1000)
        for record, found in zip(batch, prepared, strict=True):
            lane.process(record, found)
        times.append(clock())
        lane.finish()
        times.append(clock())
        outputs = self.outputs.take()
        rows = self.rows.take_changes()
        times.append(clock())
        for messages in (*outputs.values(), rows):
            _build(messages, batch[-1].timestamp)
        times.append(clock())
        decode_s, prepare_s, process_s, finish_s, rows_s, build_s = (
            after - before for before, after in pairwise(times)
        )
        spent_s["decode"] += decode_s
        spent_s["signature"] += prepare_s - decode_s
        spent_s["score, checks, verdict and event"] += process_s
        spent_s["log, checkpoint and proofs"] += finish_s
        spent_s["table rows"] += rows_s
        spent_s["record batches"] += build_s

    def _end_batch(self) -> dict[str, list[Message]]:
        self.lane.finish()
        self.rows.take_changes()
        return self.outputs.take()

    def _records(self, load: Path, topic: Topic, count: int) -> Iterator[Record]:
        """Yield records as the broker would date them: from now on, so many in a millisecond."""
        messages: Iterable[WireMessage] = islice(read_load(load), count)
        for number, message in enumerate(messages):
            time_ms = self._now_us // 1000 + number // _ORDERS_PER_MS
            yield Record(topic, 0, number, time_ms, message.key, message.value, message.headers)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, _BATCH)):
        yield batch


def _build(messages: Sequence[Message], time_ms: int) -> None:
    """Put messages into record batches, as a lane's producer does."""
    builder = None
    for key, value, headers in messages:
        if builder is None or builder.append(timestamp=time_ms, key=key, value=value, headers=headers) is None:
            builder = BatchBuilder(_BATCH_BYTES, 0, is_transactional=True)
            builder.append(timestamp=time_ms, key=key, value=value, headers=headers)
