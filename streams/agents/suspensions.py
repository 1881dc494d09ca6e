"""Suspended and revoked certificates: a kill by score suspends, and nobody's answer in time revokes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streams.agents.alerts import CRITICAL
from streams.agents.deadlines import Kind
from streams.core.alert_kinds import AlertKind
from streams.core.reasons import Reason
from streams.names import Topic
from streams.wire.avro import Schema, encode
from streams.wire.commands import Scope
from streams.wire.headers import cloud_event

if TYPE_CHECKING:
    from streams.agents.deadlines import Due
    from streams.agents.lane import Cause, Lane
    from streams.core.policy import Policy
    from streams.core.state import BotState
    from streams.wire.decisions import ScoreDetail

_US: Final = 1_000_000
ISSUER: Final = "portcullis-gate"
GRACE_OVER: Final = "GRACE_OVER"


class SuspensionsAgent:
    """Runs the grace period of each suspended certificate."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._topic = lane.services.topic(Topic.AGENTS_REVOCATIONS)

    def on_kill_score(self, record: Cause, policy: Policy, bot: BotState, score: ScoreDetail) -> None:
        """Begin the grace period where this message suspended the certificate; a later one changes nothing."""
        lane, agent_id = self._lane, policy.agent_id
        running = lane.deadlines.get(Kind.GRACE, agent_id) is not None
        if running or bot.suspended_at_us != lane.now_us or bot.revoked_at_us is not None:
            return
        due_us = lane.now_us + policy.kill_grace_s * _US
        lane.deadlines.set(Kind.GRACE, agent_id, due_us)
        lane.record_event(
            record,
            "CERTIFICATE_SUSPENDED",
            agent_id,
            bot,
            score=score,
            state_before=bot.trading_state.value,
            outcome=Reason.CERTIFICATE_SUSPENDED,
            details={"issued_by": ISSUER, "revoked_unless_acknowledged_by_us": str(due_us)},
        )
        message = (
            f"{agent_id} was killed at score {score.value:.2f} and its certificate suspended;"
            f" unless somebody acknowledges within {policy.kill_grace_s} s it is revoked for good"
        )
        lane.alerts.raise_alert(
            CRITICAL, AlertKind.CERTIFICATE_SUSPENDED, message, agent_id=agent_id, cause_us=record.timestamp * 1000
        )

    def acknowledge(self, agent_id: str) -> str:
        """Stop the clock; the certificate stays suspended until a person releases the bot."""
        if self._lane.deadlines.cancel(Kind.GRACE, agent_id):
            return f"certificate of {agent_id} stays suspended and is not revoked"
        return ""

    def on_grace_over(self, due: Due) -> None:
        """Make the revocation final: nobody answered in time."""
        lane, agent_id = self._lane, due.key
        bot = lane.bot(agent_id)
        bot.revoke(lane.now_us)
        lane.clock_event(
            due,
            agent_id,
            bot,
            outcome=Reason.CERTIFICATE_REVOKED,
            details={"deadline": due.kind, "revoked_at_us": str(lane.now_us)},
        )
        cause_id = str(lane.journal.next_index - 1)
        lane.breakers.mass_cancel(Scope.BOT, agent_id, Reason.CERTIFICATE_REVOKED, ISSUER, cause_id)
        self.request(agent_id, GRACE_OVER, ISSUER)
        message = f"nobody acknowledged the kill of {agent_id} in time: its certificate is revoked for good"
        lane.alerts.raise_alert(
            CRITICAL, AlertKind.CERTIFICATE_REVOKED, message, agent_id=agent_id, cause_us=due.due_us
        )

    def revoke(self, agent_id: str, at_us: int) -> None:
        """Revoke because a person orders it."""
        lane = self._lane
        lane.bot(agent_id).revoke(at_us)
        lane.bots.touch(agent_id)
        lane.deadlines.cancel(Kind.GRACE, agent_id)

    def request(self, agent_id: str, reason: str, requested_by: str) -> None:
        """Ask the certificate authority to put the registered certificate on its list; the gate refuses it already."""
        lane = self._lane
        registered = lane.registry.get(agent_id)
        if registered is None or registered.registration is None:
            return
        registration, request_id = registered.registration, f"{lane.name}-{lane.journal.next_index - 1}"
        value = encode(
            Schema.REVOCATION_REQUEST,
            {
                "request_id": request_id,
                "agent_id": agent_id,
                "serial": f"{registration.serial:x}",
                "certificate_sha256": registration.thumbprint,
                "reason": reason,
                "requested_by": requested_by,
                "requested_at": lane.now_us,
            },
        )
        headers = cloud_event("portcullis.revocation", f"/lanes/{lane.partition}", request_id)
        lane.outputs.send(self._topic, agent_id.encode(), value, headers)
