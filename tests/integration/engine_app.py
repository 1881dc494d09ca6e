"""The smallest application that uses all of the engine; the tests run it as a worker process.

An order adds its value to its key's total and gets one decision. A command "block" or "free" changes how orders of all
keys are decided; each is answered in `applied`, and "echo N" makes the lane write a command of its own.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.cli.spared import spared

with spared("aiohttp", "aiohttp.client"):
    from streams.engine.app import EngineApp, create_app
from streams.engine.application import Application, Outputs
from streams.engine.changelog import TableKind
from streams.engine.options import EngineOptions, LaneTopics
from streams.engine.reader import LatestReader
from streams.engine.succession import Predecessor
from streams.engine.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.structs import ConsumerRecord

    from streams.engine.tables import PartitionTable, WindowedPartitionTable

DAY_US = 86_400_000_000


@dataclass(slots=True)
class Total:
    """How many orders a key had, and their sum."""

    count: int
    total: int


class TotalCodec:
    """Totals as two numbers in text."""

    def encode(self, row: Total, /) -> bytes:
        return b"%d %d" % (row.count, row.total)

    def decode(self, data: bytes, /) -> Total:
        count, total = data.split()
        return Total(int(count), int(total))


class Totals(Application):
    """Decides orders by adding them up."""

    def __init__(self, prefix: str, tables: Mapping[str, PartitionTable[Any]], outputs: Outputs) -> None:
        self.prefix = prefix
        self.totals: PartitionTable[Total] = tables["totals"]
        self.daily: WindowedPartitionTable[Total] = tables["daily"]  # type: ignore[assignment]
        self.outputs = outputs
        self.batch = 0
        self.blocked = False

    def prepare(self, record: ConsumerRecord) -> object:
        return record.value

    def due_us(self) -> int | None:
        return None

    def begin(self, now_us: int) -> None:
        self.now_us = now_us
        self.batch += 1

    def process(self, record: ConsumerRecord, prepared: bytes) -> None:
        if record.topic.endswith("orders"):
            self.order(record, int(prepared.split(b" ", 1)[0]))
        elif record.topic.endswith("commands"):
            self.command(record, prepared)
        else:
            self.outputs.send(self.prefix + "applied", record.key, b"trade %d %d" % (record.offset, self.batch))

    def order(self, record: ConsumerRecord, value: int) -> None:
        key = record.key.decode()
        row = self.totals.get(key)
        if row is None:
            row = Total(0, 0)
            self.totals.put(key, row)
        row.count += 1
        row.total += value
        self.totals.touch(key)
        day = self.daily.window_start_us(record.timestamp * 1_000)
        self.daily.put(key, day, Total(row.count, row.total))
        self.outputs.send(
            self.prefix + "decisions",
            record.key,
            b"%d %d %d %d %d" % (record.offset, row.count, row.total, self.blocked, self.batch),
            (("at", b"%d" % self.now_us),),
        )

    def command(self, record: ConsumerRecord, value: bytes) -> None:
        word, _, rest = value.partition(b" ")
        self.blocked = {b"block": True, b"free": False}.get(word, self.blocked)
        if word == b"raise":
            raise RuntimeError("asked to raise")
        if word == b"huge":
            self.outputs.send(self.prefix + "applied", record.key, bytes(2_000_000))
        if word == b"echo" and int(rest):
            self.outputs.send(self.prefix + "commands", record.key, b"echo %d" % (int(rest) - 1))
        self.outputs.send(self.prefix + "applied", record.key, b"command %d %d" % (record.offset, self.batch))

    def finish(self) -> None:
        self.daily.expire(self.now_us - 365 * DAY_US)


def check_price(record: ConsumerRecord) -> None:
    """Decode a price, as an owner of a reader would."""
    float(record.value)


def make_app(bootstrap_servers: str, prefix: str, **settings: Any) -> EngineApp:
    """Return the worker's app."""
    options = EngineOptions(bootstrap_servers=bootstrap_servers, app_id=f"{prefix}totals", partitions=4, **settings)
    sources = [f"{prefix}{name}" for name in ("commands", "trades", "orders")]
    topics = LaneTopics(sources=sources, outputs=[f"{prefix}{name}" for name in ("decisions", "applied", "commands")])
    prices = LatestReader(f"{prefix}prices", bootstrap_servers=bootstrap_servers, on_record=check_price)

    def totals(_: int, tables: Mapping[str, PartitionTable[Any]], outputs: Outputs) -> Totals:
        return Totals(prefix, tables, outputs)

    kinds = {"totals": TableKind(TotalCodec()), "daily": TableKind(TotalCodec(), window_s=86_400)}
    app = create_app(options, topics, kinds, totals, services=[prices], ready=lambda: prices.caught_up)

    @app.agent(app.topic(*sources))
    async def decide(stream: Any) -> None:
        async for batch in stream:
            await app.engine.deliver(batch)

    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    given = json.loads(sys.argv[3])
    succeeds = given.pop("succeeds", None)
    worker = make_app(sys.argv[1], sys.argv[2], **given)
    if succeeds is not None:
        worker.succeed(Predecessor(succeeds), then=lambda: None)
    sys.exit(run_worker(worker))
