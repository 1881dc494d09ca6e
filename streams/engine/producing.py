"""aiokafka's transactional producer, mended, and with offsets that only the current member of a group may commit."""

# ruff: noqa: SLF001 - one of the modules where the insides of aiokafka are touched.

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import aiokafka
import aiokafka.producer.sender
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced
from aiokafka.producer.sender import TxnOffsetCommitHandler
from aiokafka.protocol.transaction import EndTxnRequest

from streams.engine.requests import TxnOffsetCommitRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from streams.engine.membership import Membership
    from streams.engine.options import EngineOptions

_log = logging.getLogger(__name__)

# Pause after CONCURRENT_TRANSACTIONS, that is while the markers of the transaction before are being written.
# aiokafka's 20 ms cost p99 50 against 56 ms at 500 records/s. Only this pause is shortened: the general
# retry back-off also paces reconnects, and at 5 ms an outage of 17 s wrote 33,000 log lines.
aiokafka.producer.sender.BACKOFF_OVERRIDE = 0.002

_BATCH_BYTES_MAX = 900_000  # below the broker's default message.max.bytes of 1,048,588
_OPEN_BACKOFF_S = 0.01
_RECONNECT_S = 0.5
_GIVE_UP_S = 1.0
# ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID: the partitions are somebody else's by now.
_NOT_THE_MEMBER = frozenset((22, 25, 82))


async def connect(options: EngineOptions, transactional_id: str, topics: Collection[str] = ()) -> Any:  # noqa: ANN401
    """Return a producer that has found its coordinators and knows its topics, and has disturbed nobody yet."""
    while True:
        producer = _new_producer(options, transactional_id)
        client, sender = producer.client, producer._sender
        try:
            await client.bootstrap()
            # All topics in one request; aiokafka asks for each when it is first written, one after the other.
            known = client.set_topics(topics) if topics else None
            for kind, key in (
                (CoordinationType.TRANSACTION, transactional_id),
                (CoordinationType.GROUP, options.app_id),
            ):
                node = await sender._find_coordinator(kind, key)
                await client.ready(node, group=ConnectionGroup.COORDINATION)
            if known is not None:
                await known
        except KafkaConnectionError as error:
            _log.warning("no broker, trying again: %r", error)
            await producer.stop()
            await asyncio.sleep(_RECONNECT_S)
        else:
            return producer


async def start(producer: Any) -> None:  # noqa: ANN401 - aiokafka's
    """Fence whoever used the transactional id before, and return when its last transaction has ended."""
    sender = producer._sender
    # The broker answers CONCURRENT_TRANSACTIONS until it has aborted what a killed worker left open.
    backoff, sender._retry_backoff = sender._retry_backoff, _OPEN_BACKOFF_S
    await sender.start()
    sender._retry_backoff = backoff


def commit_as(producer: Any, group_id: str, membership: Callable[[], Membership]) -> None:  # noqa: ANN401
    """Have the producer commit offsets as the member that the worker is at that moment."""
    sender, manager = producer._sender, producer._txn_manager

    async def commit_offsets(offsets: Mapping[TopicPartition, Any], group_id: str) -> None:
        node = await sender._find_coordinator(CoordinationType.GROUP, group_id)
        await _OffsetCommit(sender, offsets, group_id, membership()).do(node)

    sender._do_txn_offset_commit = commit_offsets
    # aiokafka tells the coordinator of the group with the first offsets; here with the first partitions.
    manager.consumer_group_to_add = lambda: (
        group_id if manager.is_in_transaction() and manager._txn_consumer_group is None else None
    )


async def give_up(producer: Any) -> None:  # noqa: ANN401
    """End the open transaction without its effects, if the broker still lets one; the sender has stopped for good.

    A worker that only its group has left behind would block readers of its partitions until the transaction's time is
    over: what others write there comes after it.
    """
    manager = producer._txn_manager
    request = EndTxnRequest(manager.transactional_id, manager.producer_id, manager.producer_epoch, False)  # noqa: FBT003
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(_GIVE_UP_S):
            node = await producer._sender._find_coordinator(CoordinationType.TRANSACTION, manager.transactional_id)
            await producer.client.send(node, request, group=ConnectionGroup.COORDINATION)


class _OffsetCommit(TxnOffsetCommitHandler):  # type: ignore[misc]
    def __init__(
        self,
        sender: Any,  # noqa: ANN401 - aiokafka's
        offsets: Mapping[TopicPartition, Any],
        group_id: str,
        membership: Membership,
    ) -> None:
        super().__init__(sender, offsets, group_id)
        self._membership = membership

    def create_request(self) -> TxnOffsetCommitRequest:
        manager = self._sender._txn_manager
        return TxnOffsetCommitRequest(
            manager.transactional_id,
            self._group_id,
            (manager.producer_id, manager.producer_epoch),
            self._membership,
            {tp: found.offset for tp, found in self._offsets.items()},
        )

    def handle_response(self, resp: Any) -> float | None:  # noqa: ANN401 - aiokafka's
        if any(code in _NOT_THE_MEMBER for _, parts in resp.errors for _, code in parts):
            raise ProducerFenced
        return super().handle_response(resp)  # type: ignore[no-any-return]


def _new_producer(options: EngineOptions, transactional_id: str) -> Any:  # noqa: ANN401
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=options.bootstrap_servers,
        client_id=transactional_id,
        transactional_id=transactional_id,
        transaction_timeout_ms=options.transaction_timeout_ms,
        max_batch_size=_BATCH_BYTES_MAX,
        compression_type=options.compression,
        linger_ms=0,
        **options.security,
    )
    _retry_lookups(producer._sender)
    return producer


def _retry_lookups(sender: Any) -> None:  # noqa: ANN401 - aiokafka's Sender
    """Look a coordinator up again where the connection broke meanwhile; aiokafka's sender would end with that."""
    find_coordinator = sender._find_coordinator

    async def find(kind: int, key: str) -> int:
        while True:
            try:
                return await find_coordinator(kind, key)  # type: ignore[no-any-return]
            except KafkaError as error:
                if not isinstance(error.__cause__, KafkaConnectionError):
                    raise
                await asyncio.sleep(sender._retry_backoff)

    sender._find_coordinator = find
