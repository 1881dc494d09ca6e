"""The Numenta Anomaly Benchmark's scoring rule: what detections are worth, and the threshold that is worth most.

A window counts once, by its earliest detection: 1 at its left edge, nearly 0 at its right. A detection outside costs
more the further it lies past the last window. The first 15 % of a file, at most 750 rows, are for learning. One
threshold for all files, the best, as NAB takes it. 0 is a detector that says nothing, 100 one that hits every left edge
and nothing else.
Source: Lavin and Ahmad 2015, "Evaluating Real-Time Anomaly Detection Algorithms"; numenta/NAB v1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PROBATION: Final = 0.15
_PROBATION_ROWS_MAX: Final = 750.0
_FAR: Final = 3.0
_NEVER: Final = 1.1


class Row(NamedTuple):
    """What a detection at a row is worth before weights, and the window it lies in; None outside."""

    worth: float
    window: int | None


class Detection(NamedTuple):
    """A scored row of some file."""

    score: float
    file: int
    row: Row


@dataclass(frozen=True, slots=True)
class NabScore:
    """The normalised score at the best threshold, and what it found."""

    normalised: float
    threshold: float
    windows: int
    found: int
    false_alarms: int


def sigmoid(position: float) -> float:
    """Return the worth at a position: -1 is a window's left edge, 0 its right, above 0 behind it."""
    return -1.0 if position >= _FAR else 2.0 / (1.0 + exp(5.0 * position)) - 1.0


def rows_of(count: int, windows: Sequence[tuple[int, int]]) -> list[Row | None]:
    """Return what each row of a file is worth; None in its probation."""
    probation = min(floor(_PROBATION * count), _PROBATION_ROWS_MAX)
    rows: list[Row | None] = []
    number, before = 0, None
    for place in range(count):
        inside = number < len(windows) and windows[number][0] <= place
        if inside:
            first, last = windows[number]
            row = Row(sigmoid(-(last - place + 1) / (last - first + 1)) / sigmoid(-1.0), number)
            if place == last:
                before, number = windows[number], number + 1
        elif before is None:
            row = Row(-1.0, None)
        else:
            row = Row(sigmoid((place - before[1]) / (before[1] - before[0])), None)
        rows.append(row if place >= probation else None)
    return rows


def nab_score(
    files: Sequence[tuple[Sequence[float], Sequence[Row | None]]], weights: Mapping[str, float], at: float | None = None
) -> NabScore:
    """Return the score of one detector over files of (scores, rows) at a threshold, by default the best one."""
    detections = [
        Detection(score, number, row)
        for number, (scores, rows) in enumerate(files)
        for score, row in zip(scores, rows, strict=True)
        if row is not None
    ]
    windows = len({(found.file, found.row.window) for found in detections if found.row.window is not None})
    detections.sort(key=lambda found: -found.score)
    nothing = -weights["fnWeight"] * windows
    best = total, _, _, _ = nothing, _NEVER, 0, 0
    for step in _sweep(detections, weights, nothing):
        wanted = step[1] >= at if at is not None else step[0] > best[0]
        if wanted:
            best = step
    total, threshold, found, false_alarms = best
    perfect = windows * weights["tpWeight"]
    normalised = 100.0 * (total - nothing) / (perfect - nothing) if windows else 0.0
    return NabScore(normalised, threshold, windows, found, false_alarms)


def _sweep(
    detections: Sequence[Detection], weights: Mapping[str, float], nothing: float
) -> Iterator[tuple[float, float, int, int]]:
    """Lower the threshold from score to score; yield total, threshold, windows found and false alarms."""
    worth: dict[tuple[int, int], float] = {}
    total, false_alarms = nothing, 0
    for place, (score, file, row) in enumerate(detections):
        if row.window is None:
            total += row.worth * weights["fpWeight"]
            false_alarms += 1
        else:
            window = file, row.window
            before = worth.get(window, -weights["fnWeight"])
            worth[window] = max(before, row.worth * weights["tpWeight"])
            total += worth[window] - before
        if place + 1 == len(detections) or detections[place + 1].score != score:
            yield total, score, len(worth), false_alarms
