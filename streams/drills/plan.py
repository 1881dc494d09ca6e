"""The nouns of a drill: what is rehearsed, with which bots, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.sim.fleet import OPERATOR, Bot, Habit

if TYPE_CHECKING:
    from streams.drills.evidence import Evidence
    from streams.drills.ground import Ground


@unique
class DrillName(StrEnum):
    """Every drill, as the command line names it."""

    FLASH_CRASH = "flash-crash"
    COUNTERPARTY_DEFAULT = "counterparty-default"
    PUMP_AND_DUMP = "pump-and-dump"
    RUNAWAY = "runaway"
    FAT_FINGER_BASKET = "fat-finger-basket"
    DOUBLE_LOAD = "double-load"


PURPOSES: Final = {
    DrillName.FLASH_CRASH: "The market falls 30 % in 5 s: panic is stopped, old quotes and large orders are refused.",
    DrillName.COUNTERPARTY_DEFAULT: "The venue goes dark with orders in flight: safe retries, none lost or twice.",
    DrillName.PUMP_AND_DUMP: "Four bots pump a market together, each inside its limits: detected, stopped, cancelled.",
    DrillName.RUNAWAY: "A bot repeats child orders without end (2012): stopped, exposure bounded, killed by a person.",
    DrillName.FAT_FINGER_BASKET: "58 million typed as a quantity (2022): blocked on every line, nothing of it passes.",
    DrillName.DOUBLE_LOAD: "Twice the highest load seen: all decided, nothing late without a reason, a kill holds.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a pass list: what must hold, whether it did, and what was seen."""

    name: str
    passed: bool
    observed: str


@dataclass(slots=True)
class Notes:
    """What a drill's course writes down for its pass list; times in microseconds UTC."""

    moments_us: dict[str, int] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    """ClOrdIDs of the messages that a check is about, by what they are."""
    figures: dict[str, float | int | str] = field(default_factory=dict)

    def add(self, what: str, cl_ord_id: str) -> None:
        """Note a message."""
        self.orders.setdefault(what, []).append(cl_ord_id)


Limits = Mapping[str, Mapping[str, Any]]
"""Part of the policy (`scope`, `risk_controls`) → its fields as the bot has them."""


@dataclass(frozen=True, slots=True)
class Load:
    """The highest load seen, in messages and in EUR of orders per second, and where it was seen."""

    messages_per_s: float
    eur_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Instrument:
    """A market of a drill: its name and its first price, as decimal text."""

    symbol: str
    price: str


@dataclass(frozen=True, slots=True)
class Kill:
    """A person's kill: its scope and target as the log names them, and the bots that it reaches."""

    scope: str
    reaches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """A drill: `play` acts it out, `judge` yields the checks that are its own."""

    name: DrillName
    source: str
    bots: tuple[Bot, ...]
    limits: Mapping[str, Limits]
    """By agent_id; what is not named is as in `streams.sim.fleet`."""
    instruments: tuple[Instrument, ...]
    """No two drills share one: what happens to a market here must not stop another drill."""
    play: Callable[[Ground, Notes], None]
    judge: Callable[[Evidence, Notes], list[Check]]
    kill: Kill | None = None
    """The kill that a person gives, so that the time until the last approval is measured."""

    @property
    def agents(self) -> frozenset[str]:
        """Return the bots' names; no two drills share one."""
        return frozenset(bot.agent_id for bot in self.bots)


def bot(agent_id: str) -> Bot:
    """Return a bot of a drill; what it does is the drill's to say."""
    return Bot(agent_id, Habit.TAKER, OPERATOR, 1)
