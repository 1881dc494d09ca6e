"""The anomaly agent: scores each bot's orders against its own past, opens breakers and halts what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.agents.alerts import CRITICAL, INFO, WARNING
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
from streams.core.orders import MsgType, TradingState
from streams.core.reasons import FAILURES, Reason
from streams.core.situation import value_e5
from streams.names import Topic
from streams.wire.avro import Schema, encode
from streams.wire.commands import Scope
from streams.wire.decisions import ScoreDetail
from streams.wire.headers import cloud_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Lane
    from streams.core.executions import ExecutionReport
    from streams.core.gate import Decision
    from streams.core.orders import Order, ReferencePrice
    from streams.core.state import BotState
    from streams.engine.tables import PartitionTable

ISSUER: Final = "anomaly-agent"


class AnomalyAgent:
    """Keeps a rolling profile per bot; scores before the decision, so that the message which crosses is refused."""

    def __init__(self, lane: Lane, table: PartitionTable[BotProfile]) -> None:
        self._lane = lane
        self._table = table
        self._topic = lane.services.topic(Topic.RISK_CIRCUIT_BREAKERS)

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

    def after(
        self,
        record: ConsumerRecord,
        order: Order,
        decision: Decision,
        bot: BotState,
        before: TradingState,
        score: ScoreDetail | None,
    ) -> None:
        """Take the outcome into the profile; log, publish and act on a change of the bot's state."""
        profile = self._table.get(order.agent_id)
        if profile is not None:
            if score is not None:
                record_outcome(profile, rejected=decision.reason in FAILURES)
            elif order.msg_type is MsgType.ORDER_CANCEL_REQUEST:
                record_cancellation(profile)
                self._table.touch(order.agent_id)
        if bot.trading_state is not before:
            self._changed(record, order.agent_id, bot, before, score)

    def on_execution(self, report: ExecutionReport) -> None:
        """Take into the bot's profile how its order was executed, held against the reference price of this moment."""
        profile = self._table.get(report.agent_id)
        reference = self._lane.references.get(report.symbol)
        if profile is not None and reference is not None and reference.price_e13 > 0:
            record_execution(profile, worse_bps=worse_bps(report, reference))
            self._table.touch(report.agent_id)

    def _changed(
        self, record: ConsumerRecord, agent_id: str, bot: BotState, before: TradingState, score: ScoreDetail | None
    ) -> None:
        lane, after = self._lane, bot.trading_state
        by_score = after is TradingState.REDUCING or bot.halt_reason is Reason.CIRCUIT_BREAKER_ACTIVE
        reason = Reason.NONE
        if after is not TradingState.ACTIVE:
            reason = bot.halt_reason or Reason.CIRCUIT_BREAKER_ACTIVE
        lane.record_event(
            record,
            "BREAKER_CHANGED",
            agent_id,
            bot,
            score=score,
            state_before=before.value,
            outcome=reason,
            details={"issued_by": ISSUER, "open_until_us": str(bot.breaker_open_until_us)},
        )
        shown = score if by_score else None
        self.publish(agent_id, before, after, reason, issued_by=ISSUER, score=shown)
        cause_us = record.timestamp * 1000
        if after is TradingState.HALTED:
            cause_id = f"{lane.partition}-{lane.journal.next_index - 1}"
            lane.controls.mass_cancel(Scope.BOT, agent_id, reason, ISSUER, cause_id)
        message = _sentence(agent_id, before, after, reason, shown)
        severity = {TradingState.ACTIVE: INFO, TradingState.REDUCING: WARNING, TradingState.HALTED: CRITICAL}[after]
        lane.alerts.raise_alert(severity, f"BREAKER_{after}", message, agent_id=agent_id, cause_us=cause_us)

    def publish(
        self,
        agent_id: str,
        before: TradingState,
        after: TradingState,
        reason: Reason,
        *,
        issued_by: str,
        score: ScoreDetail | None = None,
    ) -> None:
        """Write a change of a bot's trading state to `risk.circuit-breakers`."""
        lane = self._lane
        event_id = f"lane-{lane.partition}-{lane.journal.next_index - 1}"
        features: Mapping[str, float] = {} if score is None else score.features
        value = encode(
            Schema.BREAKER_EVENT,
            {
                "event_id": event_id,
                "scope": "BOT",
                "target": agent_id,
                "previous": before.value,
                "state": after.value,
                "reason": reason.value,
                "score": None if score is None else score.value,
                "threshold": None,
                "features": dict(features),
                "issued_by": issued_by,
                "event_time": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.breaker", f"/lanes/{lane.partition}", event_id)
        lane.outputs.send(self._topic, agent_id.encode(), value, headers)


def _sentence(
    agent_id: str, before: TradingState, after: TradingState, reason: Reason, score: ScoreDetail | None
) -> str:
    if score is None:
        return f"{agent_id}: {before} to {after}, {reason}"
    top = ", ".join(f"{name} {share:.2f}" for name, share in _largest(score.features)[:3])
    return f"{agent_id}: {before} to {after}, score {score.value:.2f} ({top})"


def _largest(features: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(features.items(), key=lambda feature: -feature[1])
