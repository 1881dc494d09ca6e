"""`tamper`: thousands of single changes of a run's evidence, each looked for and, if found, named by record."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from streams.core.errors import PortcullisError
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.reports.export import BatchRange
from streams.reports.layout import KEY_NAME
from streams.rig.batch_mutations import KINDS, change_batch
from streams.rig.batching import FOREVER_US, write_batch
from streams.rig.demo import DemoOptions, play_all
from streams.rig.evidence import Evidence, LogCopy, write_archive
from streams.rig.mutations import (
    ARCHIVE_KINDS,
    LOG_KINDS,
    Target,
    change_archive,
    change_log,
)
from streams.rig.stage import open_stage
from streams.rig.storing import store_the_rest
from streams.rig.warehouse_mutations import WAREHOUSE_KINDS, WarehouseTable, change_warehouse
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.warehouse.connection import connect
from streams.wire import devpki

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from streams.rig.mutations import Mutation
    from streams.rig.stage import Stage
    from streams.settings import Settings

_ORDERS: Final = 120
_BOTS: Final = 20
_TELL_EVERY: Final = 500
_SHOWN: Final = 50

Change = tuple[Target, str, "Callable[[Evidence, Random, str], AbstractContextManager[Mutation]]"]
CHANGES: Final[tuple[Change, ...]] = (
    *((Target.LOG, kind, change_log) for kind in LOG_KINDS),
    *((Target.WAREHOUSE, kind, change_warehouse) for kind in WAREHOUSE_KINDS),
    *((Target.BATCH, kind, change_batch) for kind in KINDS),
    *((Target.ARCHIVE, kind, change_archive) for kind in ARCHIVE_KINDS),
)


class TamperError(PortcullisError):
    """The evidence does not hold before anything was changed."""


@dataclass(slots=True)
class TamperResult:
    """How many changes were made, found, and named; those that were not, in words."""

    mutations: int = 0
    found: int = 0
    named: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    not_found: list[str] = field(default_factory=list)
    not_named: list[str] = field(default_factory=list)

    def add(self, other: TamperResult) -> None:
        """Count another's changes too."""
        for name in ("mutations", "found", "named"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.targets += other.targets
        self.not_found += other.not_found
        self.not_named += other.not_named

    @property
    def missed(self) -> int:
        """How many changes nobody noticed."""
        return self.mutations - self.found

    @property
    def ok(self) -> bool:
        """Say whether every change was found and named."""
        return self.mutations == self.found == self.named > 0

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        return {
            "ok": self.ok,
            **{name: getattr(self, name) for name in ("mutations", "found", "named", "missed")},
            "targets": {str(target): made for target, made in self.targets.items()},
            "problems": [*self.not_found, *self.not_named][:_SHOWN],
        }


def run_tamper(settings: Settings, count: int, seed: int, tell: Callable[[str], None]) -> TamperResult:
    """Let bots trade on a broker of its own, copy what that leaves, and change the copies.

    The batch, which is half of the work, is changed in a process of its own.

    Raises: TamperError where the copies do not hold as they are.
    """
    ticks, bots = list(read_tape(BUNDLED_TAPE)), fleet(_BOTS)
    options = DemoOptions(tape=None, orders=_ORDERS, bots=_BOTS, seed=seed, rate=_ORDERS, keep=False)
    with open_stage(settings.home / "tamper", settings, ticks, bots) as stage:
        tell("Letting bots trade ...")
        play_all(stage, ticks, options, lambda _: None)
        tell("Copying log, warehouse, batch and archive ...")
        ours = stage.settings
        store_the_rest(ours)
        logs = {number: _copy_of(stage, number) for number in range(stage.partitions)}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        closing(connect(ours.warehouse)) as writer,
        closing(connect(ours.warehouse)) as admin,
    ):
        folder = ours.home / "report"
        write_batch(ours, writer, BatchRange(0, FOREVER_US), folder)
        write_archive(logs, ours.home / "archive")
        evidence = replace(evidence_of(ours, logs, folder), table=WarehouseTable(admin))
        result = TamperResult()
        in_batch = [change for change in CHANGES if change[0] is Target.BATCH]
        batches = count * len(in_batch) // len(CHANGES)
        beside = pool.submit(_tamper_batch, ours, logs, folder, batches, seed)
        others = [change for change in CHANGES if change[0] is not Target.BATCH]
        result.add(tamper(evidence, others, count - batches, seed, tell))
        result.add(beside.result())
    return result


def _tamper_batch(settings: Settings, logs: dict[int, LogCopy], folder: Path, count: int, seed: int) -> TamperResult:
    changes = [change for change in CHANGES if change[0] is Target.BATCH]
    return tamper(evidence_of(settings, logs, folder), changes, count, seed, lambda _: None)


def tamper(
    evidence: Evidence, changes: Sequence[Change], count: int, seed: int, tell: Callable[[str], None]
) -> TamperResult:
    """Make so many single changes, one after the other, kinds in turn, places by the seed."""
    problems = [*_everything(evidence, {target for target, _, _ in changes})]
    if problems:
        raise TamperError(f"the copy does not hold before any change: {problems[0]}")
    rng, result = Random(seed), TamperResult()  # noqa: S311 - which record is changed
    for number in range(count):
        target, kind, change = changes[number % len(changes)]
        with change(evidence, rng, kind) as mutation:
            found = mutation.check()
        result.mutations += 1
        result.targets[target] += 1
        result.found += bool(found)
        named = bool(found) and mutation.is_named(found)
        result.named += named
        said = f"{target}, {kind}: {mutation.what}"
        if not found:
            result.not_found.append(f"not found: {said}")
        elif not named:
            result.not_named.append(f"not named: {said}, but: {found[0]}")
        if result.mutations % _TELL_EVERY == 0:
            tell(f"{result.mutations:>7,} changed {result.found:>7,} found {result.named:>7,} named")
    return result


def evidence_of(settings: Settings, logs: dict[int, LogCopy], batch: Path) -> Evidence:
    """Return what a run left, with the keys of its PKI; the archive is beside the batch."""
    pki = settings.pki
    signers = {number: devpki.log_signer(pki, log.origin) for number, log in logs.items()}
    keys = tuple(signer.verifier for signer in signers.values())
    report = devpki.report_signer(pki, KEY_NAME)
    return Evidence(
        origin=settings.log_origin,
        logs=logs,
        batch=batch,
        archive=batch.parent / "archive",
        keys=keys,
        batch_keys=(report.verifier, *keys),
        signers=signers,
        report_signer=report,
    )


def _copy_of(stage: Stage, number: int) -> LogCopy:
    events, checkpoints = (_values(stage, topic, number) for topic in (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS))
    return LogCopy(f"{stage.settings.log_origin}/{number}", events, checkpoints)


def _values(stage: Stage, topic: Topic, number: int) -> list[bytes]:
    settings = stage.settings
    records = read_all(
        settings.kafka_bootstrap_servers, [stage.topic(topic)], settings.kafka_security, partition=number
    )
    return [record.value for record in records]


def _everything(evidence: Evidence, targets: set[Target]) -> Iterator[str]:
    checks: dict[Target, Callable[[], list[str]]] = {
        Target.LOG: lambda: [problem for number in evidence.logs for problem in evidence.check_log(number)],
        Target.WAREHOUSE: lambda: [problem for number in evidence.logs for problem in evidence.check_rows(number)],
        Target.BATCH: evidence.check_batch,
        Target.ARCHIVE: evidence.check_archive,
    }
    for target, check in checks.items():
        if target in targets:
            yield from check()
