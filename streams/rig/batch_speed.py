"""How fast batches are written and checked, and in how much memory: each in a process of its own.

Beside them, what anybody's reader does at least: hash each line and parse it.
"""

from __future__ import annotations

import multiprocessing
import resource as usage
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.reports.export import BatchRange, export_batch
from streams.reports.identity import load_lists
from streams.reports.layout import KEY_NAME, ORDERS, lines_file
from streams.reports.verify import verify_batch
from streams.rig.made import ORIGIN, MadeLogs, log_signer
from streams.wire.note import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LANES: Final = 4
_YEAR_2100_US: Final = 4_102_444_800_000_000
# Of five leaves one is a trade, which is two records.
_LEAVES_PER_RECORD: Final = 5 / 6


@dataclass(frozen=True, slots=True)
class BatchSpeed:
    """Records per second, CPU per record of all processes, and the most memory (megabytes) that any of them had."""

    records: int
    leaves: int
    made_per_second: float
    export_per_second: float
    verify_per_second: float
    export_cpu_us: float
    verify_cpu_us: float
    beside_cpu_us: float
    """To hash a line (SHA-256) and parse it (orjson)."""
    export_rss_mb: float
    verify_rss_mb: float
    batch_mb: float
    verified: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


def measure_batch(records: int, folder: Path, tell: Callable[[str], None]) -> BatchSpeed:
    """Make logs for so many records, write their batch, check it; the folder is emptied before and after."""
    each = max(1, int(records * _LEAVES_PER_RECORD) // LANES)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tell(f"Making {LANES} logs of {each:,} leaves ...")
    logs = MadeLogs(folder, LANES, each)
    began_s = time.monotonic()
    logs.write()
    made_s = time.monotonic() - began_s
    tell("Writing the batch ...")
    written, exporting = _apart(_export, logs)
    tell("Checking it ...")
    verified, verifying = _apart(_verify, logs)
    lines, beside = _apart(_parse, logs)
    size = sum(path.stat().st_size for path in (folder / "batch").rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return BatchSpeed(
        records=written,
        leaves=LANES * each,
        made_per_second=round(written / made_s),
        export_per_second=round(written / exporting.seconds),
        verify_per_second=round(written / verifying.seconds),
        export_cpu_us=round(exporting.cpu_s / max(written, 1) * 1e6, 1),
        verify_cpu_us=round(verifying.cpu_s / max(written, 1) * 1e6, 1),
        beside_cpu_us=round(beside.cpu_s / max(lines, 1) * 1e6, 1),
        export_rss_mb=round(exporting.rss_mb),
        verify_rss_mb=round(verifying.rss_mb),
        batch_mb=round(size / 1e6),
        verified=bool(verified),
    )


@dataclass(frozen=True, slots=True)
class _Spent:
    seconds: float
    cpu_s: float
    rss_mb: float


def _apart(step: Callable[[MadeLogs], int], logs: MadeLogs) -> tuple[int, _Spent]:
    """Run a step in a process of its own, so that its memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, step, logs).result()


def _timed(step: Callable[[MadeLogs], int], logs: MadeLogs) -> tuple[int, _Spent]:
    began_s = time.monotonic()
    result = step(logs)
    seconds = time.monotonic() - began_s
    spent = [usage.getrusage(who) for who in (usage.RUSAGE_SELF, usage.RUSAGE_CHILDREN)]
    cpu_s = sum(each.ru_utime + each.ru_stime for each in spent)
    return result, _Spent(seconds, cpu_s, max(each.ru_maxrss for each in spent) / 1024)


def _export(logs: MadeLogs) -> int:
    signer = Signer.from_seed(KEY_NAME, bytes(32))
    return export_batch(logs, BatchRange(0, _YEAR_2100_US), logs.folder / "batch", signer, ORIGIN).records


def _parse(logs: MadeLogs) -> int:
    count = 0
    with (logs.folder / "batch" / lines_file(ORDERS)).open("rb") as file:
        for line in file:
            sha256(line).digest()
            orjson.loads(line)
            count += 1
    return count


def _verify(logs: MadeLogs) -> int:
    keys = [Signer.from_seed(KEY_NAME, bytes(32)), *map(log_signer, logs.partitions())]
    report = verify_batch(logs.folder / "batch", [key.verifier for key in keys], load_lists())
    return report.records if report.verified else 0
