"""aiokafka's group coordinator, mended where a broker's outage or a slow start cost a worker its membership.

Three things were found by killing brokers under load; each ended with a worker that decided on without a heartbeat
until its session was over, another worker had its partitions, and the broker fenced it:

1. A broker that has just started answers heartbeats with COORDINATOR_LOAD_IN_PROGRESS. aiokafka takes every code that
   it does not name for the end of its heartbeat task; here such a heartbeat has failed and is sent again.
2. Errors that the coordinator cannot settle wait to be collected by the next poll. Faust polls another way and collects
   none, so the coordinator stands still for ever; here they are collected, and end the worker.
3. Heartbeats begin only after the callback for an assignment has returned, which takes over partitions and waits for
   the broker to end their open transactions; here they begin before it.
"""

# ruff: noqa: SLF001 - the insides of aiokafka.

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from streams.engine.exits import EngineError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.consumer.group_coordinator import GroupCoordinator

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """As who, and since which rebalance, a worker has its partitions; the broker takes no offsets from an older one."""

    generation: int
    member_id: str
    instance_id: str | None


def mend(coordinator: GroupCoordinator, joined: Callable[[int, str], object]) -> None:
    """Replace what is said above, of one consumer; before it joins its group.

    `joined` is told the generation and the member's id before the callback for an assignment.
    """
    heartbeat, join_complete = coordinator._do_heartbeat, coordinator._on_join_complete

    async def do_heartbeat() -> bool:
        try:
            return bool(await heartbeat())
        except GroupAuthorizationFailedError:
            raise
        except KafkaError as error:
            _log.warning("heartbeat not taken, trying again: %s", error)
            return False

    async def on_join_complete(generation: int, member_id: str, *args: Any) -> None:  # noqa: ANN401 - passed on
        joined(generation, member_id)
        coordinator._start_heartbeat_task()
        await join_complete(generation, member_id, *args)

    coordinator._do_heartbeat, coordinator._on_join_complete = do_heartbeat, on_join_complete


def check_membership(coordinator: GroupCoordinator) -> None:
    """Collect what the coordinator could not settle.

    Raises:
        EngineError: the worker is no member of its group any more and cannot become one by itself.
    """
    try:
        coordinator.check_errors()
    except KafkaError as error:
        raise EngineError(ExitCode.GROUP_LOST, f"no member of the group {coordinator.group_id}: {error}") from error
