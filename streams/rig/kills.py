"""How soon a stop stops: kills under load, and breakers that open, measured in the broker's own append times."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.exchange import Exchange
from streams.rig.settling import wait_until_settled
from streams.rig.stage import open_stage
from streams.rig.steady import SteadyLoad
from streams.sim.fleet import GOOD_HABITS, Habit, fleet
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire.avro import Schema, decode
from streams.wire.commands import Action, Command, Scope, sign_command
from streams.wire.decisions import decode_audit_event, decode_verdict, decode_verdict_body
from streams.wire.devpki import person_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from streams.kafka.reading import Stored
    from streams.rig.stage import Stage
    from streams.settings import Settings

_PERSON: Final = "ceo@acme"
_WARM_UP_S: Final = 3.0
_CANCELLED_S: Final = 30.0
_RUNAWAYS: Final = 6


@dataclass(frozen=True, slots=True)
class KillsResult:
    """Milliseconds from a kill's append to the bot's last approval, and from a crossing order's to its refusal."""

    kills: int
    rate: int
    kill_ms: tuple[float, ...]
    approvals_after: int
    approvals_before: int
    open_after: int
    breaker_ms: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Say whether every kill and every breaker held."""
        return self.approvals_after == 0 and self.open_after == 0 and len(self.kill_ms) == self.kills

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "kills": self.kills,
            "rate": self.rate,
            "kill_to_last_approval_ms": _percentiles(self.kill_ms),
            "approvals_before_kills": self.approvals_before,
            "approvals_after_kills": self.approvals_after,
            "open_orders_after": self.open_after,
            "breaker_openings": len(self.breaker_ms),
            "breaker_to_first_rejection_ms": _percentiles(self.breaker_ms),
        }


def run_kills(settings: Settings, *, kills: int, rate: int, gap_s: float, tell: Callable[[str], None]) -> KillsResult:
    """Let bots trade at a rate, kill them one after the other, and read from the topics how soon each stopped."""
    ticks = list(read_tape(BUNDLED_TAPE))
    bots = (*fleet(kills, GOOD_HABITS), *fleet(_RUNAWAYS, (Habit.RUNAWAY,)))
    victims = [bot.agent_id for bot in bots[:kills]]
    tell(f"Starting Kafka, registering {len(bots)} bots ...")
    with open_stage(settings.home / "kills", settings, ticks, bots) as stage, ExitStack() as running:
        worker = stage.worker()
        worker.start()
        running.callback(worker.stop)
        exchange = Exchange(stage.settings, stage.markets, stage.verifiers(), stage.operators())
        exchange.start()
        worker.wait_for_line("ready at offsets")
        load = SteadyLoad(stage, exchange, ticks, seed=1, rate=rate)
        load.start()
        time.sleep(_WARM_UP_S)
        tell(f"Killing {kills} bots at {rate} messages a second ...")
        _kill_all(stage, victims, gap_s, load.check)
        time.sleep(1.0)
        load.stop()
        wait_until_settled(stage.settings, check=worker.require_running)
        open_after = _wait_cancelled(exchange, victims)
        exchange.stop()
        return _measure(stage, victims, rate, open_after)


def _kill_all(stage: Stage, victims: Sequence[str], gap_s: float, check: Callable[[], None]) -> None:
    sender, topic = stage.sender(), stage.topic(Topic.AGENTS_COMMANDS)
    key = person_key(stage.settings.pki, _PERSON)
    for agent_id in victims:
        command = Command(str(uuid.uuid4()), Action.KILL, Scope.BOT, agent_id, "measured", _PERSON, now_us())
        value, headers = sign_command(command, key)
        sender.send(topic, agent_id.encode(), value, headers)
        sender.flush()
        check()
        time.sleep(gap_s)


def _wait_cancelled(exchange: Exchange, victims: Sequence[str]) -> int:
    """Return how many orders of killed bots are open once the venue has worked off what it was told."""
    deadline = time.monotonic() + _CANCELLED_S
    while (left := exchange.open_orders_of(victims)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _measure(stage: Stage, victims: Sequence[str], rate: int, open_after: int) -> KillsResult:
    topics = (Topic.AGENTS_COMMANDS, Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.AUDIT_EVENTS)
    names = [stage.topic(topic) for topic in topics]
    servers, security = stage.settings.kafka_bootstrap_servers, stage.settings.kafka_security
    found: dict[str, list[Stored]] = {name: [] for name in names}
    for record in read_all(servers, names, security):
        found[record.topic].append(record)
    commands, approved, rejected, events = found.values()
    killed_us = {decode(Schema.COMMAND, one.value)["target"]: one.timestamp_us for one in commands}
    last_us: dict[str, int] = {}
    for one in approved:
        if decode_verdict(one.value).order_value_e5 is None:
            continue  # a cancellation lowers risk and passes at all times
        agent_id = one.key.decode()
        last_us[agent_id] = max(last_us.get(agent_id, 0), one.timestamp_us)
    before, after = _by_log_order(events, set(victims))
    return KillsResult(
        kills=len(victims),
        rate=rate,
        kill_ms=tuple(
            max(last_us[one] - killed_us[one], 0) / 1000 for one in victims if one in last_us and one in killed_us
        ),
        approvals_after=after,
        approvals_before=before,
        open_after=open_after,
        breaker_ms=_breaker_ms(events, rejected),
    )


def _by_log_order(events: Iterable[Stored], victims: set[str]) -> tuple[int, int]:
    """Return how many orders of killed bots the logs approve before and after their kill."""
    killed: set[str] = set()
    counts = [0, 0]
    for one in events:
        event, body = decode_audit_event(one.value)
        if event.agent_id not in victims:
            continue
        if event.event_type == "COMMAND_APPLIED":
            killed.add(event.agent_id)
        elif event.event_type != "ORDER_APPROVED" or body is None:
            continue
        elif decode_verdict_body(body).order_value_e5 is not None:
            counts[event.agent_id in killed] += 1
    return counts[0], counts[1]


def _breaker_ms(events: Iterable[Stored], rejected: Iterable[Stored]) -> tuple[float, ...]:
    """Return how long after its own append each order that opened a breaker was refused: it is the first refusal."""
    opened = set()
    for one in events:
        event, _ = decode_audit_event(one.value)
        if event.event_type == "BREAKER_CHANGED" and event.score is not None and event.state_before == "ACTIVE":
            opened.add((one.partition, event.source_offset))
    spans = []
    for one in rejected:
        verdict = decode_verdict(one.value)
        if (verdict.request_partition, verdict.request_offset) in opened:
            spans.append((one.timestamp_us - verdict.request_time_us) / 1000)
    return tuple(spans)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    place = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in place.items()}
