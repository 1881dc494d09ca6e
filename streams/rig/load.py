"""Playing a plan: the tape moves, the bots' messages are signed and sent, revocations happen on time."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.names import Topic
from streams.sim.bots import plan, revocations
from streams.sim.signing import to_wire
from streams.wire import devpki
from streams.wire.commands import Action, Command, Scope, sign_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.rig.exchange import Exchange
    from streams.rig.stage import Stage
    from streams.sim.tape import Tick

_TELL_EVERY_S: Final = 1.0
_REVOKED_BY: Final = "compliance_lead@acme"


def play(
    stage: Stage,
    exchange: Exchange,
    ticks: Sequence[Tick],
    orders: int,
    *,
    seed: int,
    rate: int,
    tell: Callable[[int], None],
) -> Counter[str]:
    """Send `orders` messages along the tape at `rate` per second at most; return how many each habit sent."""
    sender, topic = stage.sender(), stage.topic(Topic.ORDERS_REQUESTED)
    due = {revocation.after_number: revocation.agent_id for revocation in revocations(stage.bots, orders)}
    sent: Counter[str] = Counter()
    started_s = told_s = time.monotonic()
    seen = -1
    for message in plan(ticks, stage.bots, orders, seed, markets=stage.markets):
        while seen < message.tick_index:
            seen += 1
            exchange.on_tick(ticks[seen])
        wire = to_wire(message, stage.keys, now_us())
        sender.send(topic, wire.key, wire.value, wire.headers)
        sent[message.habit] += 1
        if message.number in due:
            command(stage, Action.REVOKE, due[message.number], _REVOKED_BY, "the operator lost the key")
        now_s = time.monotonic()
        ahead_s = (message.number + 1) / rate - (now_s - started_s)
        if ahead_s > 0:
            time.sleep(ahead_s)
        if now_s - told_s >= _TELL_EVERY_S:
            told_s = now_s
            tell(message.number + 1)
    sender.flush()
    return sent


def command(stage: Stage, action: Action, agent_id: str, person: str, reason: str) -> None:
    """Send a named person's command about a bot."""
    issued = Command(
        command_id=str(uuid.uuid4()),
        action=action,
        scope=Scope.BOT,
        target=agent_id,
        reason=reason,
        issued_by=person,
        issued_at_us=now_us(),
    )
    value, headers = sign_command(issued, devpki.person_key(stage.settings.pki, person))
    sender = stage.sender()
    sender.send(stage.topic(Topic.AGENTS_COMMANDS), agent_id.encode(), value, headers)
    sender.flush()
