"""The evaluation's data: what there is in a folder, read strictly."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAB: Final = "anomaly_nab"
PUMPS: Final = "ticks_pump_events"
QUIET: Final = "ticks_quiet"
ACCOUNT: Final = "accounts_yobit"
ACCOUNTS: Final = "accounts_lighter"

# An announcement that nobody followed has hardly a trade in the six minutes around it: there is no pump to find.
_TRADES_OF_A_PUMP_MIN: Final = 100
# A bot that trades in one currency: amounts in several cannot be compared without their rates.
_ACCOUNT_QUOTE: Final = "/BTC"


class DetectDataError(PortcullisError):
    """The evaluation's data is not there or does not hold; the text names the file."""


class Series(NamedTuple):
    """A file of the Numenta Anomaly Benchmark; windows are the first and last row of each labelled anomaly."""

    name: str
    times: tuple[datetime, ...]
    values: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]


class Trade(NamedTuple):
    """A trade of a market."""

    time_us: int
    buy: bool
    price: float
    amount: float


@dataclass(frozen=True, slots=True)
class PumpEvent:
    """An announced pump with its market's trades, two days before to two days after."""

    name: str
    label_ms: int
    """When it began: as labelled by hand, else to the second by others, else as announced."""
    happened: bool
    """Whether anybody traded around the announcement."""
    path: Path


def read_series(folder: Path) -> list[Series]:
    """Return the benchmark's files that are labelled and there. Raises: DetectDataError."""
    labels = folder / NAB / "labels" / "combined_windows.json"
    if not labels.is_file():
        return []
    found = []
    for name, windows in sorted(json.loads(labels.read_text()).items()):
        for path in (folder / NAB / "data" / f"{name}.gz", folder / NAB / "data" / name):
            if path.is_file():
                found.append(_series(name, path, windows))
                break
    return found


def _series(name: str, path: Path, windows: list[list[str]]) -> Series:
    rows = list(_rows(path))
    times = tuple(datetime.fromisoformat(row["timestamp"]) for row in rows)
    place = {time: number for number, time in reversed(list(enumerate(times)))}
    try:
        bounds = tuple((place[_time(first)], place[_time(last)]) for first, last in windows)
    except KeyError as error:
        raise DetectDataError(f"{path}: no row at the window's bound {error}") from None
    return Series(name, times, tuple(float(row["value"]) for row in rows), bounds)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def read_profiles(folder: Path) -> dict[str, dict[str, float]]:
    """Return the benchmark's weights by profile."""
    profiles = json.loads((folder / NAB / "config" / "profiles.json").read_text())
    return {name: profile["CostMatrix"] for name, profile in profiles.items()}


def read_pump_events(folder: Path) -> list[PumpEvent]:
    """Return the announced pumps whose trades are there."""
    table = folder / PUMPS / "events.csv"
    if not table.is_file():
        return []
    return [
        PumpEvent(
            name=row["file"].removesuffix(".trades.csv.gz"),
            label_ms=int(row["lamorgia_label_5s_ms"] or row["b0r0koko_time_ms"] or row["announced_ms"]),
            happened=int(row["ticks_minus60s_to_plus300s"]) >= _TRADES_OF_A_PUMP_MIN,
            path=folder / PUMPS / row["file"],
        )
        for row in _rows(table)
        if (folder / PUMPS / row["file"]).is_file()
    ]


def quiet_tapes(folder: Path) -> list[Path]:
    """Return the files of calm trades."""
    return sorted((folder / QUIET).glob("*.csv*"))


def account_tapes(folder: Path) -> list[Path]:
    """Return the files of one real account each."""
    return sorted((folder / ACCOUNT).glob("*.csv*"))


def accounts_tapes(folder: Path) -> list[Path]:
    """Return the files of trades with both accounts' names."""
    return sorted((folder / ACCOUNTS).glob("*.csv*"))


def read_trades(path: Path) -> list[Trade]:
    """Return a market's trades in their order. Raises: DetectDataError."""
    return [Trade(_time_us(row), _is_buy(row), float(row["price"]), float(row["amount"])) for row in _rows(path)]


def read_account(path: Path) -> list[Trade]:
    """Return an account's own trades in its main currency. Raises: DetectDataError."""
    return [
        Trade(_time_us(row), _is_buy(row), float(row["price"]), float(row["amount"]))
        for row in _rows(path)
        if row["pair"].endswith(_ACCOUNT_QUOTE)
    ]


def read_accounts(path: Path) -> list[tuple[int, Trade]]:
    """Return each trade of the order book beside its buyer's and its seller's account. Raises: DetectDataError."""
    found = []
    for row in _rows(path):
        if row["type"] != "trade":
            continue
        time_us, price, amount = _time_us(row), float(row["price"]), float(row["size"])
        for column, buy in (("bid_account_id", True), ("ask_account_id", False)):
            found.append((int(row[column]), Trade(time_us, buy, price, amount)))
    found.sort(key=lambda order: order[1].time_us)
    return found


def _time_us(row: dict[str, str]) -> int:
    for column, factor in (("timestamp_ms", 1_000), ("local_timestamp", 1), ("timestamp", 1)):
        if column in row:
            return int(row[column]) * factor
    return int(datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _is_buy(row: dict[str, str]) -> bool:
    return (row.get("side") or row["type"]).lower() == "buy"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DetectDataError(f"{path}: cannot be read ({error})") from error
