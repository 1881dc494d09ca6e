"""The real worker without some of its controls, so that a drill can show that it would notice.

The product has no switch for this: what is taken away here is taken out of the loaded modules of this process alone.
"""

import sys
from typing import Any

from streams.agents.gate import GateAgent
from streams.agents.markets import MarketsAgent
from streams.cli.worker import worker_command
from streams.core import gate
from streams.core.reasons import Reason

_LATE = "LATE "
_LATE_US = 3_000_000


def late_for(bots: str) -> str:
    """Return the argument that makes the decisions on these bots' messages late; `bots`: how their names begin."""
    return _LATE + bots


def disarm(reasons: set[str]) -> None:
    """Take checks out of the gate, and a score's effect on bots and markets with the breaker's check."""
    kept = [(applies, check) for reason, applies, check in gate.CHECKS if reason.value not in reasons]
    gate._ENTERING_CHECKS = tuple(check for _, check in kept)  # type: ignore[misc]
    gate._CANCEL_CHECKS = tuple(check for applies, check in kept if applies is gate.Applies.ALL)  # type: ignore[misc]
    if Reason.CIRCUIT_BREAKER_ACTIVE in reasons:
        gate._act_on_score = lambda *_: None
        MarketsAgent.on_score = lambda *_: None  # type: ignore[method-assign]


def delay(bots: str) -> None:
    """Decide on some bots' messages as if they had waited for seconds."""
    on_order = GateAgent.on_order

    def late(self: GateAgent, record: Any, prepared: Any) -> None:
        if record.key is not None and record.key.startswith(bots.encode()):
            self._lane.now_us = max(self._lane.now_us, record.timestamp * 1000 + _LATE_US)
        on_order(self, record, prepared)

    GateAgent.on_order = late  # type: ignore[method-assign]


def main() -> None:
    controls = set(sys.argv[1:])
    for control in controls:
        if control.startswith(_LATE):
            delay(control.removeprefix(_LATE))
    disarm(controls)
    worker_command()


if __name__ == "__main__":
    main()
