"""The trades that come along, read once for all tests of a process."""

from __future__ import annotations

from functools import cache

from streams.sim.tape import BUNDLED_TAPE, Tick, read_tape


@cache
def bundled_ticks() -> tuple[Tick, ...]:
    return tuple(read_tape(BUNDLED_TAPE))
