"""A worker stays a member of its group, or ends: never in between."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, KafkaError

from streams.engine import producing
from streams.engine.exits import EngineError, ExitCode
from streams.engine.membership import check_membership, mend

TAKEN, NOT_TAKEN = True, False


class Coordinator:
    """Stands for aiokafka's: what it is asked is written down, what it answers is given."""

    group_id = "app"

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []
        self.pending: Exception | None = None

    async def _do_heartbeat(self) -> bool:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _on_join_complete(self, *args: object) -> None:
        self.calls.append(f"joined {args}")

    def _start_heartbeat_task(self) -> None:
        self.calls.append("heartbeat")

    def check_errors(self) -> None:
        if self.pending is not None:
            raise self.pending


def mended(*answers: bool | Exception) -> Coordinator:
    coordinator = Coordinator(*answers)
    mend(cast("Any", coordinator), lambda *membership: coordinator.calls.append(f"member {membership}"))
    return coordinator


def test_a_heartbeat_that_a_starting_broker_does_not_take_is_sent_again() -> None:
    coordinator = mended(KafkaError("COORDINATOR_LOAD_IN_PROGRESS"), NOT_TAKEN, TAKEN)
    assert [asyncio.run(coordinator._do_heartbeat()) for _ in range(3)] == [NOT_TAKEN, NOT_TAKEN, TAKEN]


def test_a_heartbeat_without_permission_is_not() -> None:
    coordinator = mended(GroupAuthorizationFailedError("app"))
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(coordinator._do_heartbeat())


def test_heartbeats_begin_before_partitions_are_taken_over() -> None:
    coordinator = mended()
    asyncio.run(coordinator._on_join_complete(3, "member"))
    assert coordinator.calls == ["member (3, 'member')", "heartbeat", "joined (3, 'member')"]


def test_what_the_coordinator_could_not_settle_ends_the_worker() -> None:
    coordinator = Coordinator()
    check_membership(cast("Any", coordinator))
    coordinator.pending = KafkaError("not a member")
    with pytest.raises(EngineError, match="no member of the group app: KafkaError: not a member") as caught:
        check_membership(cast("Any", coordinator))
    assert caught.value.code is ExitCode.GROUP_LOST


class Sender:
    """Stands for aiokafka's producer's: a look-up of a coordinator fails as given, then succeeds."""

    _retry_backoff = 0.0

    def __init__(self, *errors: KafkaError) -> None:
        self.errors = list(errors)

    async def _find_coordinator(self, kind: int, key: str) -> int:
        if self.errors:
            raise KafkaError(f"{kind} {key}") from self.errors.pop(0)
        return 7


def test_a_look_up_whose_connection_broke_is_repeated() -> None:
    sender = Sender(KafkaConnectionError("closed"), KafkaConnectionError("closed"))
    producing._retry_lookups(sender)
    assert asyncio.run(sender._find_coordinator(1, "app-0")) == 7


def test_a_look_up_that_was_refused_is_not() -> None:
    sender = Sender(GroupAuthorizationFailedError("app"))
    producing._retry_lookups(sender)
    with pytest.raises(KafkaError, match="1 app-0"):
        asyncio.run(sender._find_coordinator(1, "app-0"))
