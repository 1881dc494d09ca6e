"""The way through the enforcer, measured as bots see it: from the moment an order was due to its verdict over HTTPS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.bench.gauge import cpu_s
from streams.bench.ground import BenchError
from streams.client.bot import BotClient, open_link
from streams.client.hsm import load_signer
from streams.client.link import VerdictTimeoutError
from streams.clock import now_us
from streams.core.orders import PRICE_SCALE, QTY_SCALE, decimal_text
from streams.rig.exchange import Exchange
from streams.rig.processes import Service
from streams.rig.stage import open_stage
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire import devtls
from streams.wire.keys import save_credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from streams.core.orders import Order
    from streams.rig.stage import Stage
    from streams.settings import Settings
    from streams.sim.bots import PlannedMessage
    from streams.sim.tape import Tick

_CONNECTIONS: Final = 16  # of each bot, opened before the first order: a bot's connections are kept
_WARM_SHARE: Final = 0.1
_START_S: Final = 60.0
_SEED: Final = 1


@dataclass(slots=True)
class Seen:
    """What came back: HTTP statuses, or the ones that the enforcer gives to what came over Kafka."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return how many were approved, refused and not answered in time."""
        total, timed_out = self.statuses.total(), self.statuses[503] + self.statuses[504]
        approved = self.statuses[200]
        return {
            "orders": total,
            "approved": approved,
            "refused": total - approved - timed_out,
            "timed_out": timed_out,
        }

    def latency_ms(self) -> dict[str, float]:
        """Return percentiles; the first tenth is warming up and does not count."""
        ordered = sorted(self.latencies_ms[round(_WARM_SHARE * len(self.latencies_ms)) :])
        return {
            name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        }


class Connection:
    """One kept-alive HTTPS connection of a bot."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context

    async def open(self) -> None:
        """Shake hands."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)

    async def post(self, body: bytes) -> int:
        """Post an order and return the status."""
        head = (
            f"POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"idempotency-key: {uuid.uuid4().hex}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        await self._reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def run_enforcer_bench(
    settings: Settings, *, bots: int, rate: int, seconds: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Send orders at a steady rate to a worker, first over Kafka alone and then as many through an enforcer.

    Raises: BenchError, ProcessEndedError where a process does not start.
    """
    ticks = list(read_tape(BUNDLED_TAPE))
    folder, count = settings.home / "bench" / "enforcer", round(rate * seconds)
    with open_stage(folder, settings, ticks, fleet(bots, GOOD_HABITS)) as stage:
        for credentials in stage.credentials.values():
            save_credentials(folder / "agents", credentials)
        ours = replace(stage.settings, enforcer_port=_free_port())
        worker, enforcer = stage.worker(), Service("enforcer", ["enforcer"], ours, folder / "logs")
        exchange = Exchange(ours, stage.markets, stage.verifiers(), stage.operators())
        messages = _messages(stage, exchange, ticks, 2 * count)
        try:
            worker.start()
            exchange.start()
            worker.wait_for_line("ready at offsets")
            tell(f"{rate} orders/s over Kafka for {seconds:g} s ...")
            bare = asyncio.run(_over_kafka(ours, list(stage.credentials), islice(messages, count), rate))
            enforcer.start()
            _wait_until_ready(ours)
            tell(f"{rate} orders/s through the enforcer for {seconds:g} s ...")
            before_s = cpu_s([enforcer.pid])
            seen = asyncio.run(_over_https(ours, list(stage.credentials), messages, rate))
            used_s = cpu_s([enforcer.pid]) - before_s
        finally:
            exchange.stop()
            enforcer.stop()
            worker.stop()
    mine, theirs = seen.latency_ms(), bare.latency_ms()
    return {
        "via": "enforcer",
        "rate": rate,
        **seen.counts(),
        "latency_ms": mine,
        "kafka": bare.counts() | {"latency_ms": theirs},
        "ratios": {f"{name}_to_kafka": round(mine[name] / theirs[name], 2) for name in mine},
        "enforcer_cpu_us_per_order": round(used_s * 1e6 / max(1, seen.statuses.total())),
    }


async def _over_https(settings: Settings, agents: list[str], messages: Iterable[PlannedMessage], rate: int) -> Seen:
    """Post each order on whichever connection of its bot is free."""
    pools: dict[str, asyncio.LifoQueue[Connection]] = {}
    for agent_id in agents:
        pool = pools[agent_id] = asyncio.LifoQueue()
        context = _context(settings, agent_id)
        for _ in range(_CONNECTIONS):
            connection = Connection(settings.enforcer_port, context)
            await connection.open()
            pool.put_nowait(connection)

    async def post(order: Order) -> int:
        pool = pools[order.agent_id]
        connection = await pool.get()
        status = await connection.post(_body(order))
        pool.put_nowait(connection)
        return status

    seen = await _play(messages, rate, post)
    for pool in pools.values():
        while not pool.empty():
            pool.get_nowait().close()
    return seen


async def _over_kafka(settings: Settings, agents: list[str], messages: Iterable[PlannedMessage], rate: int) -> Seen:
    """Sign and send each order as a bot does, with the bot library."""
    link = open_link(settings)
    bots = {agent_id: BotClient(link, load_signer(settings.home / "agents", agent_id)) for agent_id in agents}

    async def submit(order: Order) -> int:
        dated = replace(order, transact_time_us=now_us())
        try:
            answer = await bots[order.agent_id].submit_async(dated, timeout_s=settings.enforcer_timeout_ms / 1000)
        except VerdictTimeoutError:
            return 504
        return 200 if answer.approved else 422

    await asyncio.to_thread(link.start)
    try:
        return await _play(messages, rate, submit)
    finally:
        await asyncio.to_thread(link.stop)


async def _play(messages: Iterable[PlannedMessage], rate: int, send: Callable[[Order], Awaitable[int]]) -> Seen:
    """Send each order when it is due; its latency counts from then on."""
    seen, loop = Seen(), asyncio.get_running_loop()

    async def follow(order: Order, due_s: float) -> None:
        status = await send(order)
        seen.latencies_ms.append((loop.time() - due_s) * 1000)
        seen.statuses[status] += 1

    started_s = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number, message in enumerate(messages):
            due_s = started_s + number / rate
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            tasks.create_task(follow(message.order, due_s))
    return seen


def _messages(stage: Stage, exchange: Exchange, ticks: list[Tick], count: int) -> Iterator[PlannedMessage]:
    place = -1
    for message in plan(ticks, stage.bots, count, _SEED, markets=stage.markets):
        while place < message.tick_index:
            place += 1
            exchange.on_tick(ticks[place])
        yield message


def _body(order: Order) -> bytes:
    body = {
        "cl_ord_id": order.cl_ord_id,
        "msg_type": order.msg_type,
        "symbol": order.symbol,
        "side": order.side,
        "order_qty": decimal_text(order.order_qty_e17, QTY_SCALE),
        "time_in_force": order.time_in_force,
        "ex_destination": order.ex_destination,
        "region": order.region,
    }
    if order.orig_cl_ord_id is not None:
        body["orig_cl_ord_id"] = order.orig_cl_ord_id
    if order.price_e13 is not None:
        body["price"] = decimal_text(order.price_e13, PRICE_SCALE)
    return orjson.dumps(body)


def _context(settings: Settings, agent_id: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(devtls.services_ca(settings.pki)))
    if agent_id is not None:
        own: Path = settings.home / "agents" / agent_id
        context.load_cert_chain(own / "chain.pem", own / "key.pem")
    return context


def _wait_until_ready(settings: Settings) -> None:
    """Wait until the enforcer says that an order could get its verdict. Raises: BenchError."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            context = _context(settings, None)
            with (
                socket.create_connection(("127.0.0.1", settings.enforcer_port), 1.0) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                if b" 200 " in secure.recv(64):
                    return
        except OSError:  # not listening yet, or its certificate is not made yet
            pass
        time.sleep(0.1)
    raise BenchError(f"the enforcer was not ready within {_START_S:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
