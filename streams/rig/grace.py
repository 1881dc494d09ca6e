"""Does a grace period end on time although the worker is killed in the middle of it? Measured on a real broker."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.stage import open_stage
from streams.sim.fleet import REGION, Habit, fleet, policies
from streams.sim.markets import VENUE_MIC
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire import devpki
from streams.wire.avro import body_of
from streams.wire.decisions import decode_audit_event
from streams.wire.headers import SIGNATURE, THUMBPRINT
from streams.wire.messages import encode_order, encode_reference_price
from streams.wire.signatures import ORDER_TYPE, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.kafka.producing import Sender
    from streams.rig.stage import Stage
    from streams.settings import Settings
    from streams.wire.decisions import AuditEvent

_USUAL_ORDERS: Final = 60
_ORDERS_MAX: Final = 400
_WAIT_S: Final = 90.0
# A score that a bot gets as soon as it does what it never did: here it is the clock that is measured, not the score.
_THRESHOLD: Final = "0.0001"


class NoKillError(PortcullisError):
    """The bot was not killed, or its grace period did not end."""


@dataclass(frozen=True, slots=True)
class GraceResult:
    """How late, in milliseconds, each grace period ended whose worker was killed in the middle."""

    grace_s: int
    late_ms: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Say whether each ended, none too soon, and none more than two seconds late."""
        return bool(self.late_ms) and all(0 <= late <= 2_000 for late in self.late_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {"grace_s": self.grace_s, "crashes": len(self.late_ms), "late_ms": list(self.late_ms)}


def run_grace(settings: Settings, *, crashes: int, grace_s: int, tell: Callable[[str], None]) -> GraceResult:
    """Kill a bot by its score, kill the worker in the middle of the grace period, and read when it ended.

    Raises: NoKillError.
    """
    ticks = list(read_tape(BUNDLED_TAPE))[:2_000]
    bots = fleet(crashes, (Habit.TAKER,))
    with open_stage(settings.home / "grace", settings, ticks, bots) as stage, ExitStack() as running:
        _register_again(stage, grace_s)
        worker = stage.worker()
        running.callback(worker.stop)
        late = []
        for bot in bots:
            worker.start()
            worker.wait_for_line("ready at offsets")
            due_us = _provoke(stage, bot.agent_id)
            tell(f"{bot.agent_id} is suspended; the worker is killed")
            time.sleep(max(0.0, (due_us - now_us()) / 2_000_000))
            worker.kill()
            worker.start()
            revoked = _wait_for(stage, "DEADLINE_PASSED", bot.agent_id)
            late.append((revoked.event_time_us - due_us) / 1000)
            worker.stop()
        return GraceResult(grace_s, tuple(late))


def _register_again(stage: Stage, grace_s: int) -> None:
    """Give each bot a policy whose thresholds any oddity crosses."""
    sender = stage.sender()
    for agent_id, document in policies(stage.bots, stage.markets, datetime.now(UTC)).items():
        body = json.loads(document)
        body["risk_controls"] |= {
            "kill_switch_automatic": _THRESHOLD,
            "circuit_breaker_threshold": _THRESHOLD,
            "kill_grace_s": grace_s,
        }
        policy = json.dumps(body).encode()
        issued = stage.credentials[agent_id] = devpki.issue_agent(stage.settings.pki, policy)
        record = devpki.make_registration(stage.settings.pki, policy, issued)
        sender.send(stage.topic(Topic.AGENTS_REGISTRY), agent_id.encode(), record)
    sender.flush()


def _provoke(stage: Stage, agent_id: str) -> int:
    """Let a bot do the usual, then ever more, until it is suspended; return until when it has, microseconds UTC."""
    sender = stage.sender()
    market = next(iter(stage.markets.values()))
    lots = 1
    for number in range(_ORDERS_MAX):
        price = market.reference(market.first_price_e13, now_us())
        sender.send(stage.topic(Topic.MARKETS_REFERENCE), market.symbol.encode(), encode_reference_price(price))
        if number >= _USUAL_ORDERS:
            lots *= 2
        qty_e17 = min(lots, 10_000) * price.lot_size_e17
        _send(sender, stage, agent_id, _order(agent_id, f"g-{number}", market.symbol, qty_e17))
        sender.flush()
        time.sleep(0.02)
        if number >= _USUAL_ORDERS and (found := _find(stage, "CERTIFICATE_SUSPENDED", agent_id)) is not None:
            return int(found.details["revoked_unless_acknowledged_by_us"])
    raise NoKillError(f"{agent_id} was not suspended by {_ORDERS_MAX} orders")


def _order(agent_id: str, cl_ord_id: str, symbol: str, qty_e17: int) -> Order:
    return Order(
        agent_id,
        cl_ord_id,
        None,
        MsgType.NEW_ORDER_SINGLE,
        symbol,
        VENUE_MIC,
        REGION,
        Side.BUY,
        OrdType.MARKET,
        TimeInForce.DAY,
        qty_e17,
        None,
        now_us(),
    )


def _send(sender: Sender, stage: Stage, agent_id: str, order: Order) -> None:
    issued, value = stage.credentials[agent_id], encode_order(order)
    headers = ((SIGNATURE, sign(issued.private_key, ORDER_TYPE, body_of(value))), (THUMBPRINT, issued.thumbprint))
    sender.send(stage.topic(Topic.ORDERS_REQUESTED), agent_id.encode(), value, headers)


def _find(stage: Stage, event_type: str, agent_id: str) -> AuditEvent | None:
    settings = stage.settings
    for record in read_all(
        settings.kafka_bootstrap_servers, [stage.topic(Topic.AUDIT_EVENTS)], settings.kafka_security
    ):
        event, _ = decode_audit_event(record.value)
        if event.event_type == event_type and event.agent_id == agent_id:
            return event
    return None


def _wait_for(stage: Stage, event_type: str, agent_id: str) -> AuditEvent:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if (found := _find(stage, event_type, agent_id)) is not None:
            return found
        time.sleep(0.2)
    raise NoKillError(f"{agent_id}: no {event_type} within {_WAIT_S:g} s")
