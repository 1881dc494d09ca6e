"""The anomaly agent: scores each bot's orders against its own past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.core.anomaly import (
    MODEL,
    BotProfile,
    observation,
    observe,
    record_cancellation,
    record_execution,
    record_outcome,
    worse_bps,
)
from streams.core.orders import MsgType
from streams.core.reasons import FAILURES
from streams.core.situation import value_e5
from streams.wire.decisions import ScoreDetail

if TYPE_CHECKING:
    from streams.agents.lane import Lane
    from streams.core.executions import ExecutionReport
    from streams.core.gate import Decision
    from streams.core.orders import Order, ReferencePrice
    from streams.engine.tables import PartitionTable


class AnomalyAgent:
    """Keeps a rolling profile per bot; scores before the decision, so that the message which crosses is refused."""

    def __init__(self, lane: Lane, table: PartitionTable[BotProfile]) -> None:
        self._lane = lane
        self._table = table

    def score(
        self, order: Order, reference: ReferencePrice | None, received_us: int, order_qty_max_e17: int | None
    ) -> ScoreDetail:
        """Score an authenticated order against what the policy allows, and take it into the bot's profile."""
        profile = self._table.get(order.agent_id)
        if profile is None:
            profile = BotProfile()
            self._table.put(order.agent_id, profile)
        else:
            self._table.touch(order.agent_id)
        usable = reference if reference is not None and reference.price_e13 > 0 else None
        worth_e5 = None if usable is None else value_e5(order, usable)
        score = observe(profile, observation(order, received_us, worth_e5, usable, order_qty_max_e17))
        return ScoreDetail(MODEL, score.value, score.contributions)

    def after(self, order: Order, decision: Decision, score: ScoreDetail | None) -> None:
        """Take the outcome into the profile."""
        profile = self._table.get(order.agent_id)
        if profile is not None:
            if score is not None:
                record_outcome(profile, rejected=decision.reason in FAILURES)
            elif order.msg_type is MsgType.ORDER_CANCEL_REQUEST:
                record_cancellation(profile)
                self._table.touch(order.agent_id)

    def on_execution(self, report: ExecutionReport) -> float | None:
        """Take into the bot's profile by how many bps its order was executed worse than the reference price; return it.

        None where there is nothing to compare. The log must name it: it depends on the price of this moment.
        """
        profile = self._table.get(report.agent_id)
        reference = self._lane.references.get(report.symbol)
        if profile is None or reference is None or reference.price_e13 <= 0:
            return None
        worse = worse_bps(report, reference)
        record_execution(profile, worse_bps=worse)
        self._table.touch(report.agent_id)
        return worse
