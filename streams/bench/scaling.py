"""A backlog on one to three brokers by one to four workers: what more of each brings on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from streams.bench.contestants import Portcullis
from streams.bench.ground import open_field
from streams.bench.material import prepare
from streams.bench.measuring import Measuring
from streams.local.several import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streams.bench.material import Material
    from streams.bench.measuring import Cost
    from streams.settings import Settings

_BOTS: Final = 100
_BROKERS: Final = (1, 2, 3)
_WORKERS: Final = (1, 2, 4)


def run_scaling(settings: Settings, orders: int, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Decide the same backlog with each number of brokers and workers in `<home>/bench`; return medians and ratios.

    Every topic has a copy on each broker, all of them but one must take a write. Ratios are to one of each.

    Raises: PortcullisError where a part of it cannot run; the text says which.
    """
    folder = settings.home / "bench"
    material = prepare(folder / f"material-{_BOTS}", bots=_BOTS, orders=orders, processes=2, tell=tell)
    costs: dict[tuple[int, int], list[Cost]] = {}
    for number in range(1, rounds + 1):
        for brokers in _BROKERS:
            tell(f"Round {number} of {rounds}: {brokers} brokers ...")
            _measure(folder, settings, material, brokers, costs, orders)
    rows = [_row(brokers, workers, found) for (brokers, workers), found in costs.items()]
    for row in rows:
        row["ratio"] = round(row["orders_per_second"] / rows[0]["orders_per_second"], 2)
    return {"orders": orders, "rounds": rounds, "rows": rows}


def _measure(
    folder: Path,
    settings: Settings,
    material: Material,
    brokers: int,
    costs: dict[tuple[int, int], list[Cost]],
    orders: int,
) -> None:
    data = folder / "kafka"
    shutil.rmtree(data, ignore_errors=True)
    with LocalCluster(data, brokers=brokers) as cluster:
        ours = replace(settings, kafka_bootstrap_servers=cluster.bootstrap_servers)
        for workers in _WORKERS:
            with open_field(folder, ours, material, f"scale-{brokers}-{workers}") as field:
                contestant = Portcullis(field, workers)
                try:
                    contestant.start()
                    costs.setdefault((brokers, workers), []).append(Measuring(field, contestant).backlog(orders))
                finally:
                    contestant.stop()
    shutil.rmtree(data, ignore_errors=True)


def _row(brokers: int, workers: int, costs: list[Cost]) -> dict[str, Any]:
    return {
        "brokers": brokers,
        "workers": workers,
        "orders_per_second": round(median(cost.orders_per_second for cost in costs)),
        "cpu_us_per_order": round(median(cost.cpu_us_per_order for cost in costs)),
    }
