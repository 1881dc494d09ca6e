"""The main job from end to end: ticks in, orders signed, decided, logged, stored, reported, verified, judged."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.batching import export_and_verify
from streams.rig.collector import Collector
from streams.rig.exchange import Exchange
from streams.rig.load import play
from streams.rig.settling import wait_until_settled
from streams.rig.stage import open_stage
from streams.rig.storing import store_the_rest, stored_events
from streams.rig.summary import DemoResult, bot_figures
from streams.sim.fleet import fleet
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.warehouse.connection import connect
from streams.wire.decisions import decode_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streams.rig.processes import Service
    from streams.rig.stage import Stage
    from streams.settings import Settings
    from streams.sim.tape import Tick


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to play and how fast."""

    tape: Path | None
    orders: int
    bots: int
    seed: int
    rate: int
    keep: bool


def run_demo(settings: Settings, options: DemoOptions, tell: Callable[[str], None]) -> DemoResult:
    """Run the demo in `<home>/demo` and return what came of it.

    Raises: PortcullisError where a part of it cannot run; the text says which.
    """
    ticks = list(read_tape(options.tape or BUNDLED_TAPE))
    bots = fleet(options.bots)
    tell(f"Starting Kafka, making keys of three parties, registering {options.bots} bots ...")
    with open_stage(settings.home / "demo", settings, ticks, bots) as stage:
        played = play_all(stage, ticks, options, tell)
        tell("Storing the rest in ClickHouse, reading everything back ...")
        result = _examine(stage, played, tell)
    if not options.keep:
        for name in ("kafka", "warehouse"):
            shutil.rmtree(stage.folder / name, ignore_errors=True)
    return result


@dataclass(frozen=True, slots=True)
class _Played:
    """What was seen while it ran."""

    requested: int
    seconds: float
    latency_ms: dict[str, float]
    refused_by_venue: tuple[str, ...]


def play_all(stage: Stage, ticks: Sequence[Tick], options: DemoOptions, tell: Callable[[str], None]) -> _Played:
    """Let the bots trade until every message is answered and every trade checked."""
    with ExitStack() as running:
        worker = _started(stage.worker(), running)
        warehouse = _started(stage.warehouse(), running)
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        exchange.start()
        collector = Collector(stage.settings)
        collector.start()
        worker.wait_for_line("ready at offsets")

        def check() -> None:
            for service in (worker, warehouse):
                service.require_running()
            collector.check()

        def progress(sent: int) -> None:
            check()
            refused = collector.rejected.total()
            figures = ((sent, "sent"), (collector.approved, "approved"), (refused, "refused"))
            tell("  ".join(f"{count:>7,} {what}" for count, what in (*figures, (exchange.open_orders, "open"))))

        began_s = time.monotonic()
        play(stage, exchange, ticks, options.orders, seed=options.seed, rate=options.rate, tell=progress)
        collector.wait_for(options.orders, check)
        seconds = time.monotonic() - began_s
        exchange.stop_after(collector.approved, check)
        wait_until_settled(stage.settings, check=check)
        collector.stop()
        latency = {name: round(collector.percentile_ms(share), 1) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return _Played(options.orders, seconds, latency, tuple(exchange.refused))


def _started(service: Service, running: ExitStack) -> Service:
    service.start()
    running.callback(service.stop)
    return service


def _examine(stage: Stage, played: _Played, tell: Callable[[str], None]) -> DemoResult:
    """Read everything back as strangers would, and hold it against itself."""
    settings = stage.settings
    names = [stage.topic(topic) for topic in Topic]
    history = History.of(
        read_all(settings.kafka_bootstrap_servers, names, settings.kafka_security), prefix=settings.topic_prefix
    )
    store_the_rest(settings)
    with closing(connect(settings.warehouse)) as warehouse:
        rows, problems = stored_events(warehouse, stage.partitions)
        tell("The oracle decides every message again ...")
        judged = judge(replace(history, rows=rows))
        tell("Writing the regulator's batch and verifying it off-line ...")
        batch = export_and_verify(stage, warehouse)
    problems += [f"venue refused {refusal}" for refusal in played.refused_by_venue]
    problems += [f"oracle: {mismatch}" for mismatch in judged.mismatches]
    problems += batch.problems
    approved, rejected = _verdicts(history)
    return DemoResult(
        requested=played.requested,
        approved=approved,
        rejected=rejected,
        dead_lettered=len(history.read(Topic.ORDERS_DEAD_LETTER)),
        audit_events=len(history.read(Topic.AUDIT_EVENTS)),
        warehouse_rows=len(rows),
        trades=len(history.read(Topic.TRADES_EXECUTED)),
        alerts=len(history.read(Topic.RISK_ALERTS)),
        breaker_events=len(history.read(Topic.RISK_CIRCUIT_BREAKERS)),
        oracle_mismatches=judged.mismatches_total,
        report_batch=str(batch.folder),
        report_records=batch.records,
        verified=batch.verified,
        orders_per_second=round(played.requested / played.seconds, 1),
        latency_ms=played.latency_ms,
        problems=tuple(problems),
        bots=bot_figures(stage.bots, stage.policies, history.topics),
    )


def _verdicts(history: History) -> tuple[int, dict[str, int]]:
    reasons: Counter[str] = Counter()
    for record in history.read(Topic.ORDERS_REJECTED):
        reasons[decode_verdict(record.value or b"").reason.value] += 1
    return len(history.read(Topic.ORDERS_APPROVED)), dict(reasons.most_common())
