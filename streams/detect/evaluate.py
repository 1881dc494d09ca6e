"""The evaluation from data to figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.detect import data
from streams.detect.nab import NabScore, nab_score, rows_of
from streams.detect.pumps import TUNED_ON, Found, judge_at
from streams.detect.quiet import BOTS, BREAKER, THRESHOLDS, Quiet, deal, score_orders
from streams.detect.series import SeriesDetector, news

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streams.detect.data import PumpEvent, Series

CHUNKS_S: Final = (5, 25)
_CURVE_CHUNK_S: Final = 25
FALSE_BREAKERS_MAX: Final = 1.0
_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured; a part whose data is not there is empty."""

    nab: Mapping[str, NabScore]
    """By profile."""
    pumps: Mapping[int, Found]
    """By chunk in seconds, on events that nothing was tuned on."""
    tuned_pumps: Mapping[int, Found]
    quiet: Mapping[str, Quiet]
    """By set."""
    pump_curve: Mapping[float, Found]
    """By threshold, in chunks of 25 s, on events that nothing was tuned on."""
    silent_events: int
    """Announced pumps without trades: not counted."""

    @property
    def all_quiet(self) -> Quiet:
        """Return all quiet sets together."""
        return sum(self.quiet.values(), start=Quiet())

    @property
    def false_breakers_per_bot_week(self) -> float | None:
        """Return how often a bot is stopped for nothing."""
        quiet = self.all_quiet
        return quiet.breakers / quiet.bot_weeks if quiet.bot_weeks else None

    @property
    def complete(self) -> bool:
        """Say whether there was data for every figure, and quiet bots were left alone."""
        false = self.false_breakers_per_bot_week
        return (
            bool(self.nab)
            and any(of.pumps for of in self.pumps.values())
            and false is not None
            and false <= FALSE_BREAKERS_MAX
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts; None where there was no data."""
        quiet = self.all_quiet
        found: dict[str, Any] = {f"nab_{name}": round(score.normalised, 2) for name, score in self.nab.items()}
        found.setdefault("nab_standard", None)
        for chunk_s in CHUNKS_S:
            for suffix, events in (("", self.pumps), ("_tuned", self.tuned_pumps)):
                of = events.get(chunk_s)
                found[f"pump_f1_{chunk_s}s{suffix}"] = round(of.f1, 3) if of is not None and of.pumps else None
                if of is not None and of.pumps:
                    found[f"pump_precision_{chunk_s}s{suffix}"] = round(of.precision, 3)
                    found[f"pump_recall_{chunk_s}s{suffix}"] = round(of.recall, 3)
        pumps = next(iter(self.pumps.values()), Found())
        false = self.false_breakers_per_bot_week
        return found | {
            "pump_events": pumps.pumps,
            "pump_events_without_trades": self.silent_events,
            "false_breakers_per_bot_week": None if false is None else round(false, 3),
            "false_alarms_per_bot_day": None
            if false is None
            else round(quiet.above_breaker / quiet.bot_weeks / _DAYS, 3),
            "quiet_orders": quiet.orders,
            "quiet_bot_weeks": round(quiet.bot_weeks, 1),
            "quiet_orders_above_breaker": quiet.above_breaker,
            "quiet_orders_above_kill": quiet.above_kill,
            "us_per_order": round(quiet.seconds / quiet.orders * 1e6, 2) if quiet.orders else None,
        }


def evaluate(folder: Path, tell: Callable[[str], None]) -> Evaluation:
    """Measure the detector on what the folder holds.

    Raises: DetectDataError where it holds nothing of use, or a file cannot be read.
    """
    series, events = data.read_series(folder), data.read_pump_events(folder)
    tapes = data.quiet_tapes(folder)
    if not series and not events and not tapes:
        names = f"{data.NAB}, {data.PUMPS}, {data.QUIET}"
        raise data.DetectDataError(f"{folder}: no data: one of the folders {names} is needed")
    tell(f"{len(series)} series of the Numenta Anomaly Benchmark")
    nab = _nab(series, data.read_profiles(folder)) if series else {}
    tell(f"{len(events)} announced pumps")
    pumps, tuned, curve = _pumps(events)
    tell(f"{len(tapes)} quiet tapes")
    return Evaluation(nab, pumps, tuned, _quiet(folder), curve, sum(not event.happened for event in events))


def _nab(series: Sequence[Series], profiles: Mapping[str, Mapping[str, float]]) -> dict[str, NabScore]:
    files = [(series_scores(one), rows_of(len(one.values), one.windows)) for one in series]
    return {name: nab_score(files, weights) for name, weights in profiles.items()}


def series_scores(series: Series) -> list[float]:
    """Return the detector's score of each row, an alarm once."""
    detector = SeriesDetector()
    return news(detector.score(at, value) for at, value in zip(series.times, series.values, strict=True))


def _pumps(events: Sequence[PumpEvent]) -> tuple[dict[int, Found], dict[int, Found], dict[float, Found]]:
    """Return by chunk what was found of the events that nothing was tuned on, the same of the others, and the curve."""
    found = {chunk_s: Found() for chunk_s in CHUNKS_S}
    tuned, curve = dict(found), {threshold: Found() for threshold in THRESHOLDS}
    for event in events:
        if not event.happened:
            continue
        trades = data.read_trades(event.path)
        untouched = event.name not in TUNED_ON
        for chunk_s in CHUNKS_S:
            at = judge_at(event, trades, chunk_s, THRESHOLDS)
            (found if untouched else tuned)[chunk_s] += at[BREAKER]
            if untouched and chunk_s == _CURVE_CHUNK_S:
                curve = {threshold: so_far + at[threshold] for threshold, so_far in curve.items()}
    return found, tuned, curve


def _quiet(folder: Path) -> dict[str, Quiet]:
    found: dict[str, Quiet] = {}
    for path in data.quiet_tapes(folder):
        trades = data.read_trades(path)
        for bots in BOTS:
            found[f"{path.name.split('.')[0]}, {bots} bots"] = score_orders(deal(trades, bots))
    for path in data.account_tapes(folder):
        account = [(0, trade) for trade in data.read_account(path)]
        found[f"{data.ACCOUNT}/{path.name.split('.')[0]}"] = score_orders(account, with_reference=False)
    for path in data.accounts_tapes(folder):
        found[f"{data.ACCOUNTS}/{path.name.split('.')[0]}"] = score_orders(data.read_accounts(path))
    return found
