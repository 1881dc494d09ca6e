"""The figures of a chaos run, for scripts and people."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streams.rig.faults import Fault

if TYPE_CHECKING:
    from streams.rig.ledger import Ledger
    from streams.rig.strikes import Strike

_US: Final = 1_000_000
_ENDS: Final = (Fault.KILL_WORKER, Fault.STOP_WORKER, Fault.JOIN_THEN_KILL, Fault.JOIN_THEN_STOP)


@dataclass(slots=True)
class Figures:
    """What is measured and counted round by round; times in seconds."""

    rounds: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    times_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def observe(self, strikes: list[Strike], ledger: Ledger, until_us: int) -> None:
        """Measure a round without a broker's death, from what the ledger saw until everything had recovered."""
        for strike in strikes:
            if strike.what in _ENDS:
                resumed = [ledger.resumed_us(partition, strike.done_us) for partition in strike.partitions]
                if strike.partitions and None not in resumed:
                    self.times_s[strike.what].append((max(filter(None, resumed)) - strike.began_us) / _US)
            if strike.what in (Fault.STOP_WORKER, Fault.REPLACE_WORKER) and len(strikes) == 1:
                gap_us = ledger.longest_gap_us(strike.partitions, strike.began_us, until_us)
                self.times_s[f"{strike.what}: pause"].append(gap_us / _US)
            rebalance = strike.what in ("join", Fault.JOIN_THEN_KILL, Fault.JOIN_THEN_STOP)
            if rebalance and len(strikes) == 2:  # a guest's coming and going, and nothing else
                gap_us = ledger.longest_gap_us(strike.others, strike.began_us, _end_of(strike, strikes, until_us))
                self.times_s["rebalance"].append(gap_us / _US)
            elif strike.what == Fault.KILL_WORKER and len(strikes) == 1:
                self.times_s["others"].append(ledger.longest_gap_us(strike.others, strike.began_us, until_us) / _US)

    def observe_broker(self, strike: Strike, ledger: Ledger, until_us: int) -> None:
        """Measure a round in which nothing but a broker died: until all decide again, and the longest pause of any."""
        self.times_s["broker"].append((until_us - strike.done_us) / _US)
        gap_us = ledger.longest_gap_us(strike.others, strike.began_us, until_us)
        self.times_s["broker pause"].append(gap_us / _US)

    def spread(self, what: str) -> dict[str, float]:
        """Return the median and the longest of the times; empty where there is none."""
        times = self.times_s[what]
        return {"p50": round(statistics.median(times), 3), "max": round(max(times), 3)} if times else {}


@dataclass(slots=True)
class ChaosResult:
    """What a chaos run found; `problems` say it in words."""

    figures: Figures
    orders: int = 0
    approved: int = 0
    lost: int = 0
    duplicated: int = 0
    limit_breaches: int = 0
    log_forks: int = 0
    row_mismatches: int = 0
    oracle_mismatches: int = 0
    unexpected_exits: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    failed_at: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Say whether nothing was lost, doubled, or decided wrongly, and everything recovered."""
        counts = (self.lost, self.duplicated, self.limit_breaches, self.log_forks, self.row_mismatches)
        return not (any(counts) or self.oracle_mismatches or self.unexpected_exits or self.failed_at or self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for scripts."""
        figures, happened = self.figures, self.figures.happened
        kills = happened[Fault.KILL_WORKER] + happened[Fault.JOIN_THEN_KILL] + happened[Fault.KILL_WAREHOUSE]
        return {
            "ok": self.ok,
            "rounds": figures.rounds,
            "orders": self.orders,
            "approved": self.approved,
            "kills": kills,
            "worker_kills": happened[Fault.KILL_WORKER] + happened[Fault.JOIN_THEN_KILL],
            "broker_kills": happened[Fault.KILL_BROKER],
            "warehouse_kills": happened[Fault.KILL_WAREHOUSE],
            "replacements": happened[Fault.REPLACE_WORKER],
            "stops": happened[Fault.STOP_WORKER] + happened[Fault.JOIN_THEN_STOP] + happened[Fault.STOP_WAREHOUSE],
            "freezes": happened[Fault.FREEZE_WORKER] + happened[Fault.FREEZE_BROKER],
            "rebalances": 2 * (happened[Fault.JOIN_THEN_KILL] + happened[Fault.JOIN_THEN_STOP]),
            "lost": self.lost,
            "duplicated": self.duplicated,
            "limit_breaches": self.limit_breaches,
            "log_forks": self.log_forks,
            "row_mismatches": self.row_mismatches,
            "oracle_mismatches": self.oracle_mismatches,
            "unexpected_exits": self.unexpected_exits,
            "exits": self.exits,
            "recovery_s": figures.spread(Fault.KILL_WORKER),
            "restart_s": figures.spread(Fault.STOP_WORKER),
            "restart_pause_s": figures.spread(f"{Fault.STOP_WORKER}: pause"),
            "replace_pause_s": figures.spread(f"{Fault.REPLACE_WORKER}: pause"),
            "others_pause_s": figures.spread("others"),
            "rebalance_pause_s": figures.spread("rebalance"),
            "takeover_s": figures.spread(Fault.JOIN_THEN_KILL),
            "broker_back_s": figures.spread("broker"),
            "broker_pause_s": figures.spread("broker pause"),
            "seconds": round(self.seconds, 1),
            "failed_at": self.failed_at,
            "problems": self.problems,
        }


def _end_of(strike: Strike, strikes: list[Strike], until_us: int) -> int:
    """Return until when a strike's effects are its own: the next one's begin."""
    return min((other.began_us for other in strikes if other.began_us > strike.began_us), default=until_us)
