"""What each bot of a partition holds in each market, and what its approved open orders may still trade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.core.exposure import FLAT, Exposure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.core.executions import Approval, ExecutionReport
    from streams.engine.tables import PartitionTable


class Positions:
    """Exposure by bot and market. The net position is a row, written when it trades; the rest is in the approvals.

    It is the position by this log: what a bot held before it was registered here is not known.
    """

    def __init__(self, table: PartitionTable[str], approvals: Iterable[tuple[str, Approval]]) -> None:
        """Start from the rows; `approvals` are those that may still trade, by bot."""
        self._table = table
        self._held: dict[tuple[str, str], Exposure] = {}
        for key, net_e17 in table.items():
            agent_id, _, symbol = key.partition(" ")
            self._held[agent_id, symbol] = Exposure(net_e17=int(net_e17))
        for agent_id, approval in approvals:
            self.opened(agent_id, approval, approval.leaves_e17)

    def get(self, agent_id: str, symbol: str) -> Exposure:
        """Return a bot's exposure in a market; not to be changed."""
        return self._held.get((agent_id, symbol), FLAT)

    def opened(self, agent_id: str, approval: Approval, qty_e17: int) -> None:
        """Count what an approval may still trade; a negative quantity takes it off again."""
        if qty_e17:
            self._of(agent_id, approval.symbol).opened(approval.side, qty_e17)

    def traded(self, report: ExecutionReport) -> None:
        """Count an execution, whether it was approved or not."""
        if report.last_qty_e17 > 0:
            held = self._of(report.agent_id, report.symbol)
            held.traded(report.side, report.last_qty_e17)
            self._table.put(f"{report.agent_id} {report.symbol}", str(held.net_e17))

    def _of(self, agent_id: str, symbol: str) -> Exposure:
        held = self._held.get((agent_id, symbol))
        if held is None:
            held = self._held[agent_id, symbol] = Exposure()
        return held
