"""What a lane has done, in numbers: added up once per micro-batch, under 1 us an order; read by whoever watches."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.core.orders import TradingState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.core.state import BotState
    from streams.wire.decisions import Verdict

# From the request's append to its decision, microseconds.
LATENCY_BOUNDS_US: Final = (
    *(1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 100_000, 250_000, 500_000),
    *(1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000),
)
SCORE_BOUNDS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(slots=True)
class Histogram:
    """Counts per bucket; the last bucket has what is above all bounds."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, values: Iterable[float]) -> None:
        """Count values."""
        counts, bounds, total = self.counts, self.bounds, self.total
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.total = total


class LaneTally:
    """The figures of one partition since its lane began."""

    def __init__(self, bots: Iterable[tuple[str, BotState]]) -> None:
        self.decided: list[Verdict] = []
        """The verdicts of the micro-batch under way."""
        self.reasons: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.latency = Histogram(LATENCY_BOUNDS_US)
        self.score = Histogram(SCORE_BOUNDS)
        self.checkpoint_us = 0
        """Decision time of the newest checkpoint, microseconds UTC; 0: none yet."""
        self.log_size = 0
        self.restricted: dict[str, TradingState] = {}
        """Every bot that does not trade freely."""
        for agent_id, bot in bots:
            self.note_state(agent_id, bot.trading_state)

    def note_state(self, agent_id: str, state: TradingState) -> None:
        """Take a change of a bot's trading state."""
        if state is TradingState.ACTIVE:
            self.restricted.pop(agent_id, None)
        else:
            self.restricted[agent_id] = state

    def finish(self, now_us: int, log_size: int) -> None:
        """Add up the micro-batch that was decided at this time."""
        if log_size != self.log_size:
            self.log_size, self.checkpoint_us = log_size, now_us
        verdicts = self.decided
        if verdicts:
            self.reasons.update([verdict.reason for verdict in verdicts])
            self.latency.add([now_us - verdict.request_time_us for verdict in verdicts])
            self.score.add([verdict.score for verdict in verdicts if verdict.score is not None])
            self.decided = []
