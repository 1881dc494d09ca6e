"""Trying a policy on a past: every lane's log followed in a process of its own, and the counts put together."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from streams.replay.course import Course
from streams.replay.history import FileHistory, HistoryError, TopicHistory, WarehouseHistory
from streams.replay.making import LANES, make_lane, prepare_past
from streams.replay.tally import Tally, example

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streams.core.policy import Policy
    from streams.replay.history import History
    from streams.settings import Settings

_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried, on how much, and what would be different."""

    policy: Policy
    source: str
    lanes: int
    seconds: float
    tally: Tally

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "policy_id": self.policy.policy_id.hex(),
            "source": self.source,
            "lanes": self.lanes,
            **self.tally.as_dict(),
            "seconds": round(self.seconds, 2),
            "orders_per_second": round(self.tally.orders / self.seconds) if self.seconds else 0,
        }


def open_history(settings: Settings) -> tuple[str, History] | None:
    """Return the past that there is: the cluster's topic, else the warehouse's rows, else none."""
    if settings.kafka_bootstrap_servers:
        return "audit.events", TopicHistory(settings)
    if settings.warehouse_dsn:
        return "warehouse", WarehouseHistory(settings.warehouse)
    return None


def try_on(history: History, source: str, policy: Policy, *, every: bool, orders: int | None) -> Trial:
    """Follow every lane from its first leaf; decide at most `orders` again, shared by the lanes.

    Raises: HistoryError where there are no lanes; PortcullisError where the past cannot be read.
    """
    lanes = history.lanes()
    if not lanes:
        raise HistoryError(f"{source}: no log to read")
    began_s = time.monotonic()
    tally = Tally()
    shares = [None if orders is None else orders // len(lanes) + (n < orders % len(lanes)) for n in range(len(lanes))]
    follow = partial(_follow, history, policy, every)
    if history.parallel and len(lanes) > 1:
        with _pool(len(lanes)) as pool:
            for found in pool.map(follow, lanes, shares):
                tally.merge(found)
    else:
        for found in map(follow, lanes, shares):
            tally.merge(found)
    return Trial(policy, source, len(lanes), time.monotonic() - began_s, tally)


def shadow(history: TopicHistory, policy: Policy, *, every: bool, seconds: float, tell: Callable[[str], None]) -> Trial:
    """Decide what the cluster has decided, and what it decides meanwhile, under the policy too; tell each difference.

    Nothing is written: the cluster's own verdicts are the ones that count.
    """
    courses, tally = defaultdict[int, Course](lambda: Course(policy, every=every)), Tally()
    for lane, leaf in history.follow(seconds):
        retried = courses[lane].take(leaf)
        if retried is not None:
            tally.add(lane, retried)
            if retried.changed:
                tell(str(example(lane, retried)))
    return Trial(policy, "audit.events, followed", len(history.lanes()), seconds, tally)


def try_on_made(folder: Path, policy: Policy, *, orders: int, tell: Callable[[str], None]) -> Trial:
    """Make a past of so many orders in `folder`, try the policy on all of its bots, and remove it."""
    tell(f"Making a past of {orders:,} orders in {folder} ...")
    prepare_past(folder)
    try:
        shares = [orders // LANES + (lane < orders % LANES) for lane in range(LANES)]
        with _pool(LANES) as pool:
            list(pool.map(partial(make_lane, folder), range(LANES), shares, [_SEED] * LANES))
        tell("Deciding it again ...")
        return try_on(FileHistory(folder), "made", policy, every=True, orders=None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _follow(history: History, policy: Policy, every: bool, lane: int, orders: int | None) -> Tally:  # noqa: FBT001 - bound by partial
    course, tally = Course(policy, every=every), Tally()
    for leaf in history.leaves(lane):
        retried = course.take(leaf)
        if retried is not None:
            tally.add(lane, retried)
            if orders is not None and tally.orders >= orders:
                break
    return tally


def _pool(lanes: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads could hang
    return ProcessPoolExecutor(min(lanes, os.cpu_count() or 1), spawn)
