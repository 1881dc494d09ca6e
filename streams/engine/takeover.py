"""Before a worker reads the state of partitions that are new to it: nobody else's transaction can change it any more.

A worker that left in good order has ended its transactions. One that was killed has left one open, which only its
transactional id can end; one that was cut off may still write, but its offsets are refused, since the group has a new
generation (KIP-447). So two things are done: the open transactions of workers that are no members are ended in their
name, and the group's offsets are waited for until no transaction can change them.
"""

# ruff: noqa: SLF001 - one of the modules where the insides of aiokafka are touched.

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest

from streams.engine.producing import connect, start
from streams.engine.requests import ListTransactionsRequest, StableOffsetFetchRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiokafka import TopicPartition

    from streams.engine.options import EngineOptions

_log = logging.getLogger(__name__)

_POLL_S: Final = 0.02
_ONGOING: Final = "Ongoing"
_UNSTABLE: Final = 88  # UNSTABLE_OFFSET_COMMIT
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
_ASK_AGAIN: Final = frozenset((14, 15, 16))


async def clear_the_way(producer: Any, options: EngineOptions, sources: Iterable[TopicPartition]) -> None:  # noqa: ANN401
    """Return when what the group has committed for these partitions is final.

    Raises: KafkaError where the broker refuses to tell.
    """
    partitions: dict[str, list[int]] = {}
    for tp in sources:
        partitions.setdefault(tp.topic, []).append(tp.partition)
    way = _Way(producer, options)
    while True:
        for transactional_id in sorted(await way.abandoned()):
            _log.warning("ending the transaction of %s, which is no member of the group any more", transactional_id)
            await _fence(options, transactional_id)
        if await way.is_stable(partitions):
            return
        await asyncio.sleep(_POLL_S)


async def _fence(options: EngineOptions, transactional_id: str) -> None:
    producer = await connect(options, transactional_id)
    try:
        await start(producer)
    finally:
        await producer.stop()


class _Way:
    """What the brokers know of the group and its transactions."""

    def __init__(self, producer: Any, options: EngineOptions) -> None:  # noqa: ANN401
        self._client, self._sender, self._options = producer.client, producer._sender, options

    async def abandoned(self) -> set[str]:
        """Return the transactional ids of this application with an open transaction whose worker is no member."""
        workers: dict[str, str | None] = {}
        for node in [broker.nodeId for broker in self._client.cluster.brokers()]:
            workers |= {found: self._options.worker_of(found) for found, _, _, _ in await self._ask_broker(node)}
        alive = {None, self._options.client_id}
        if alive.issuperset(workers.values()):
            return set()
        response = await self._ask_group(DescribeGroupsRequest([self._options.app_id]))
        ((_, _, _, _, _, members, *_),) = response.groups
        alive |= {client_id for _, client_id, *_ in members}
        return {found for found, worker in workers.items() if worker not in alive}

    async def is_stable(self, partitions: dict[str, list[int]]) -> bool:
        """Tell whether no unfinished transaction can change the group's offsets of these partitions."""
        response = await self._ask_group(StableOffsetFetchRequest(self._options.app_id, partitions))
        codes = {code for _, parts, _ in response.topics for _, _, _, _, code, _ in parts}
        for code in codes - {0, _UNSTABLE}:
            raise for_code(code)
        return _UNSTABLE not in codes

    async def _ask_broker(self, node: int) -> list[Any]:
        async def find() -> int | None:
            # Where it is gone, its transactions have another coordinator by now.
            return node if node in {broker.nodeId for broker in self._client.cluster.brokers()} else None

        response = await self._ask(find, ListTransactionsRequest(_ONGOING))
        return [] if response is None else response.transaction_states

    async def _ask_group(self, request: Any) -> Any:  # noqa: ANN401 - aiokafka's
        async def find() -> int:
            return await self._sender._find_coordinator(CoordinationType.GROUP, self._options.app_id)  # type: ignore[no-any-return]

        return await self._ask(find, request, failed=lambda: self._sender._coordinator_dead(CoordinationType.GROUP))

    async def _ask(
        self,
        find: Callable[[], Awaitable[int | None]],
        request: Any,  # noqa: ANN401 - aiokafka's
        failed: Callable[[], object] = lambda: None,
    ) -> Any:  # noqa: ANN401 - aiokafka's
        """Ask until there is an answer; None where there is nobody to ask any more."""
        while (node := await find()) is not None:
            try:
                response = await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
            except KafkaError as error:
                await self._wait(error)
            else:
                code = response.groups[0][0] if isinstance(request, DescribeGroupsRequest) else response.error_code
                if code not in _ASK_AGAIN:
                    _check(code)
                    return response
                await self._wait(for_code(code)())
            failed()
        return None

    async def _wait(self, error: KafkaError) -> None:
        _log.warning("cannot tell yet whether the partitions are free, trying again: %r", error)
        await self._client.force_metadata_update()
        await asyncio.sleep(_POLL_S)


def _check(code: int) -> None:
    if code:
        raise for_code(code)
