"""`tamper`: thousands of single changes of a run's evidence, each looked for and, if found, named by record."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from streams.core.errors import PortcullisError
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.reports.export import BatchRange
from streams.reports.layout import KEY_NAME
from streams.rig.batch_mutations import KINDS, change_batch
from streams.rig.batching import FOREVER_US, batch_keys, write_batch
from streams.rig.demo import DemoOptions, play_all
from streams.rig.evidence import Evidence, LogCopy, archive_of
from streams.rig.mutations import (
    ARCHIVE_KINDS,
    LOG_KINDS,
    WAREHOUSE_KINDS,
    Target,
    change_archive,
    change_log,
    change_warehouse,
)
from streams.rig.stage import open_stage
from streams.rig.storing import store_the_rest
from streams.sim.fleet import fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.warehouse.columns import read_rows
from streams.warehouse.connection import connect
from streams.warehouse.logs import WarehouseLogs
from streams.wire import devpki

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from streams.rig.mutations import Mutation
    from streams.rig.stage import Stage
    from streams.settings import Settings

_ORDERS: Final = 240
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

    Raises: TamperError where the copies do not hold as they are.
    """
    ticks, bots = list(read_tape(BUNDLED_TAPE)), fleet(_BOTS)
    options = DemoOptions(tape=None, orders=_ORDERS, bots=_BOTS, seed=seed, rate=_ORDERS, keep=False)
    with open_stage(settings.home / "tamper", settings, ticks, bots) as stage:
        tell("Letting bots trade ...")
        play_all(stage, ticks, options, lambda _: None)
        tell("Copying log, warehouse, batch and archive ...")
        evidence = collect(stage)
    return tamper(evidence, count, seed, tell)


def tamper(evidence: Evidence, count: int, seed: int, tell: Callable[[str], None]) -> TamperResult:
    """Make so many single changes, one after the other, kinds in turn, places by the seed."""
    problems = [*_everything(evidence)]
    if problems:
        raise TamperError(f"the copy does not hold before any change: {problems[0]}")
    rng, result = Random(seed), TamperResult()  # noqa: S311 - which record is changed
    for number in range(count):
        target, kind, change = CHANGES[number % len(CHANGES)]
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


def collect(stage: Stage) -> Evidence:
    """Copy what a run left: topics, warehouse, and the batch and archive that follow from them."""
    settings = stage.settings
    store_the_rest(settings)
    with closing(connect(settings.warehouse)) as warehouse:
        stored = WarehouseLogs(warehouse, stage.partitions)
        logs = {
            number: LogCopy(
                f"{settings.log_origin}/{number}",
                _values(stage, Topic.AUDIT_EVENTS, number),
                _values(stage, Topic.AUDIT_CHECKPOINTS, number),
                list(read_rows(warehouse, number)),
                [note for _, note in stored.checkpoints(number)],
            )
            for number in range(stage.partitions)
        }
        folder = stage.folder / "report"
        write_batch(settings, warehouse, BatchRange(0, FOREVER_US), folder)
    return Evidence(
        logs=logs,
        batch=folder,
        archive=archive_of(logs),
        keys=stage.verifiers(),
        batch_keys=batch_keys(stage),
        signers={number: devpki.log_signer(settings.pki, log.origin) for number, log in logs.items()},
        report_signer=devpki.report_signer(settings.pki, KEY_NAME),
    )


def _values(stage: Stage, topic: Topic, number: int) -> list[bytes]:
    settings = stage.settings
    records = read_all(
        settings.kafka_bootstrap_servers, [stage.topic(topic)], settings.kafka_security, partition=number
    )
    return [record.value for record in records]


def _everything(evidence: Evidence) -> Iterable[str]:
    for number in evidence.logs:
        yield from evidence.check_log(number)
    yield from evidence.check_batch()
    yield from evidence.check_archive(sorted(evidence.archive))
