"""Other detectors on the same series, to know what ours is worth: two that everybody knows, and River's where it is.

River is no dependency: `python -m pip install river` beside Portcullis, then its detectors take part.
"""

from __future__ import annotations

import time
from collections import deque
from importlib import import_module
from importlib.util import find_spec
from math import erfc, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from streams.detect.nab import nab_score, rows_of
from streams.detect.series import SeriesDetector, news

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from streams.detect.data import Series

_WINDOW_ROWS: Final = 500
_ROBUST_ROWS: Final = 100
_MAD_TO_SIGMA: Final = 1.4826


class _Detector(Protocol):
    def score(self, at: datetime, value: float) -> float: ...


class Peer(NamedTuple):
    """What a detector reached: NAB's standard profile with each alarm told once and as scored, and time per value."""

    name: str
    nab_standard: float
    nab_standard_untold: float
    us_per_value: float


class WindowedGaussian:
    """The two-sided tail of a normal distribution with mean and variance of the last 500 values."""

    def __init__(self) -> None:
        self._window: deque[float] = deque()
        self._sum = self._squares = 0.0

    def score(self, _: datetime, value: float) -> float:
        """Return one minus the tail, then take the value in."""
        window, count = self._window, len(self._window)
        result = 0.0
        if count > 1:
            mean = self._sum / count
            sigma = sqrt(max(self._squares / count - mean * mean, 0.0)) or 1e-6
            result = 1.0 - erfc(abs(value - mean) / sigma / sqrt(2.0))
        window.append(value)
        self._sum += value
        self._squares += value * value
        if len(window) > _WINDOW_ROWS:
            old = window.popleft()
            self._sum -= old
            self._squares -= old * old
        return result


class RobustZ:
    """The distance from the median of the last 100 values in units of their median absolute deviation."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=_ROBUST_ROWS)

    def score(self, _: datetime, value: float) -> float:
        """Return the distance, brought into [0, 1), then take the value in."""
        distance = 0.0
        if len(self._window) > 1:
            middle = median(self._window)
            spread = _MAD_TO_SIGMA * median(abs(x - middle) for x in self._window)
            distance = abs(value - middle) / (spread or 1e-6)
        self._window.append(value)
        return distance / (1.0 + distance)


class RiverDetector:
    """One of River's anomaly detectors on the value, scaled to [0, 1] by what was seen."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self._detector = getattr(import_module("river.anomaly"), name)(**arguments)
        self._low: float | None = None
        self._high: float | None = None

    def score(self, _: datetime, value: float) -> float:
        """Return River's score, then learn."""
        low = self._low = value if self._low is None else min(self._low, value)
        high = self._high = value if self._high is None else max(self._high, value)
        features = {"value": (value - low) / (high - low) if high > low else 0.5}
        result = self._detector.score_one(features)
        self._detector.learn_one(features)
        return float(result)


def _makers() -> dict[str, Callable[[], _Detector]]:
    makers: dict[str, Callable[[], _Detector]] = {
        "Portcullis": SeriesDetector,
        "windowed Gaussian": WindowedGaussian,
        "robust z": RobustZ,
    }
    if find_spec("river") is not None:
        trees = {"n_trees": 25, "height": 8, "window_size": 250, "seed": 1}
        makers["River, half-space trees"] = lambda: RiverDetector("HalfSpaceTrees", trees)
    return makers


def compare(series: Sequence[Series], weights: Mapping[str, float], tell: Callable[[str], None]) -> list[Peer]:
    """Return what each detector reaches on the series with the same rule."""
    found = []
    rows = [rows_of(len(one.values), one.windows) for one in series]
    values = sum(len(one.values) for one in series)
    for name, make in _makers().items():
        tell(name)
        begun = time.process_time()
        scores = [_scores(make(), one) for one in series]
        seconds = time.process_time() - begun
        told = nab_score(list(zip(map(news, scores), rows, strict=True)), weights)
        untold = nab_score(list(zip(scores, rows, strict=True)), weights)
        found.append(Peer(name, told.normalised, untold.normalised, seconds / values * 1e6))
    return found


def _scores(detector: _Detector, series: Series) -> list[float]:
    return [detector.score(at, value) for at, value in zip(series.times, series.values, strict=True)]
