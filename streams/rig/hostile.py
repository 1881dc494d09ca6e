"""Hostile messages on `orders.requested`: none may stop a worker, each must end as a verdict or a dead letter."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.collector import Collector
from streams.rig.exchange import Exchange
from streams.rig.settling import wait_until_settled
from streams.rig.stage import open_stage
from streams.sim.fleet import fleet
from streams.sim.hostile import hostile_messages
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.sim.tape import BUNDLED_TAPE, read_tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.rig.stage import Stage
    from streams.settings import Settings

_TICKS: Final = 500
_TELL_EVERY: Final = 10_000
# Nobody waits for these answers: full batches cost broker and worker less than many small ones.
_LINGER_MS: Final = 100


@dataclass(frozen=True, slots=True)
class HostileResult:
    """What became of the messages."""

    messages: int
    approved: int
    verdicts: int
    dead_lettered: int
    vanished: int
    worker_restarts: int
    oracle_mismatches: int
    messages_per_second: float

    @property
    def ok(self) -> bool:
        """Say whether nothing vanished, nothing stopped and nothing was decided wrongly."""
        return self.vanished == 0 and self.worker_restarts == 0 and self.oracle_mismatches == 0

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        return {"ok": self.ok, **asdict(self)}


def run_hostile(settings: Settings, *, count: int, seed: int, tell: Callable[[str], None]) -> HostileResult:
    """Send `count` mutated and random messages to a real worker in `<home>/hostile` and account for each.

    Raises: PortcullisError where a part of the rig cannot run or the worker ends.
    """
    ticks = list(islice(read_tape(BUNDLED_TAPE), _TICKS))
    with open_stage(settings.home / "hostile", settings, ticks, fleet(20)) as stage, ExitStack() as running:
        worker = stage.worker()
        worker.start()
        running.callback(worker.stop)
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        exchange.start()
        collector = Collector(stage.settings)
        collector.start()
        worker.wait_for_line("ready at offsets")
        pid, began_s = worker.pid, time.monotonic()
        sent = _send(stage, count, seed, tell)
        collector.wait_for(sent, worker.require_running)
        seconds = time.monotonic() - began_s
        exchange.stop_after(collector.approved, worker.require_running)
        wait_until_settled(stage.settings, check=worker.require_running)
        collector.stop()
        restarts = int(worker.pid != pid)
        worker.stop()
        return _account(stage, sent, restarts, seconds)


def _send(stage: Stage, count: int, seed: int, tell: Callable[[str], None]) -> int:
    sender, topic = stage.sender(linger_ms=_LINGER_MS), stage.topic(Topic.ORDERS_REQUESTED)
    messages = hostile_messages(stage.bots, stage.keys, count, seed, markets=stage.markets)
    for sent, message in enumerate(messages, 1):
        sender.send(topic, message.key, message.value, message.headers)
        if sent % _TELL_EVERY == 0:
            tell(f"{sent:>9,} sent")
    sender.flush()
    return sender.acknowledged


def _account(stage: Stage, sent: int, restarts: int, seconds: float) -> HostileResult:
    """Hold every request against the answers, by its place in the topic."""
    names = [stage.topic(topic) for topic in Topic]
    records = read_all(stage.settings.kafka_bootstrap_servers, names, stage.settings.kafka_security)
    history = History.of(records, prefix=stage.settings.topic_prefix)
    judged = judge(history)
    approved, rejected = len(history.read(Topic.ORDERS_APPROVED)), len(history.read(Topic.ORDERS_REJECTED))
    dead = len(history.read(Topic.ORDERS_DEAD_LETTER))
    return HostileResult(
        messages=sent,
        approved=approved,
        verdicts=approved + rejected,
        dead_lettered=dead,
        vanished=abs(len(history.read(Topic.ORDERS_REQUESTED)) - approved - rejected - dead),
        worker_restarts=restarts,
        oracle_mismatches=judged.mismatches_total,
        messages_per_second=round(sent / seconds, 1),
    )
