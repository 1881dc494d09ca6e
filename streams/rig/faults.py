"""The plan of a chaos run: what dies when, a pure function of its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import Final

_WINDOW_S: Final = 2.0
_STAY_MAX_S: Final = 2.0
_SECOND_FAULT: Final = 0.4
_WAREHOUSE_FAULT: Final = 0.5


@unique
class Fault(StrEnum):
    """What may happen to a process."""

    KILL_WORKER = "kill a worker"
    STOP_WORKER = "stop a worker"
    REPLACE_WORKER = "replace a worker"
    JOIN_THEN_STOP = "add a worker, then stop it"
    JOIN_THEN_KILL = "add a worker, then kill it"
    FREEZE_WORKER = "freeze a worker"
    KILL_BROKER = "kill a broker"
    FREEZE_BROKER = "freeze a broker"
    KILL_WAREHOUSE = "kill the warehouse"
    STOP_WAREHOUSE = "stop the warehouse"


# How long it lasts at most; a frozen worker is a zombie once its session of 6 s is over.
_LASTS_MAX_S: Final = {Fault.KILL_BROKER: 3.0, Fault.FREEZE_BROKER: 5.0, Fault.FREEZE_WORKER: 9.0}
# Dealt like cards, the first deck before the second, so that three rounds show what matters most.
_FIRST: Final = (Fault.KILL_WORKER, Fault.KILL_BROKER, Fault.JOIN_THEN_STOP)
_THEN: Final = (
    Fault.KILL_WORKER,
    Fault.KILL_WORKER,
    Fault.STOP_WORKER,
    Fault.FREEZE_WORKER,
    Fault.KILL_BROKER,
    Fault.FREEZE_BROKER,
    Fault.JOIN_THEN_KILL,
)
_SECOND: Final = (Fault.KILL_WORKER, Fault.STOP_WORKER, Fault.FREEZE_WORKER, Fault.KILL_BROKER, Fault.FREEZE_BROKER)
_UPSETTING: Final = frozenset((Fault.KILL_BROKER, Fault.FREEZE_BROKER, Fault.FREEZE_WORKER))
_WAREHOUSE: Final = (Fault.KILL_WAREHOUSE, Fault.STOP_WAREHOUSE)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: `at_s` after its round's begin; `target` chooses among equals; `lasts_s` until the next move.

    A broker stays away for `lasts_s`, what is frozen goes on after it, a worker that joined stays for it once it
    decides.
    """

    at_s: float
    fault: Fault
    target: int
    lasts_s: float

    def __str__(self) -> str:
        return f"at {self.at_s:.2f} s: {self.fault} (target {self.target}, {self.lasts_s:.2f} s)"


@dataclass(frozen=True, slots=True)
class Round:
    """What happens at about the same time, before everything recovers."""

    number: int
    steps: tuple[Step, ...]

    @property
    def upsets(self) -> bool:
        """Say whether workers may end themselves in it: their broker is away, or they were and come back as zombies."""
        return not self.faults.isdisjoint(_UPSETTING)

    @property
    def faults(self) -> frozenset[Fault]:
        """Return what happens in the round."""
        return frozenset(step.fault for step in self.steps)

    def __str__(self) -> str:
        return f"round {self.number}: " + "; ".join(map(str, self.steps))


def plan_rounds(seed: int, count: int, only: Fault | None = None) -> tuple[Round, ...]:
    """Return the rounds of a run; a shorter run of the same seed is the beginning of a longer one.

    `only`: this fault alone, once in each round, on one equal after the other.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    if only is not None:
        each = (replace(_step(only, rng), target=number) for number in range(count))
        return tuple(Round(number, (step,)) for number, step in enumerate(each, 1))
    deck: list[Fault] = []
    rounds = []
    for number in range(1, count + 1):
        if not deck:
            deck = _shuffled(rng)
        faults = [deck.pop(0)]
        if rng.random() < _SECOND_FAULT:
            faults.append(rng.choice(_SECOND))
        if rng.random() < _WAREHOUSE_FAULT:
            faults.append(rng.choice(_WAREHOUSE))
        steps = sorted((_step(fault, rng) for fault in faults), key=lambda step: step.at_s)
        rounds.append(Round(number, tuple(steps)))
    return tuple(rounds)


def _shuffled(rng: random.Random) -> list[Fault]:
    return [*rng.sample(_FIRST, len(_FIRST)), *rng.sample(_THEN, len(_THEN))]


def _step(fault: Fault, rng: random.Random) -> Step:
    at_s, target, share = rng.uniform(0, _WINDOW_S), rng.randrange(1_000), rng.random()
    return Step(at_s, fault, target, share * _LASTS_MAX_S.get(fault, _STAY_MAX_S))
