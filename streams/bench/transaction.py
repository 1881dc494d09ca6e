"""The floor of latency: how long an empty transaction takes on this broker, here and now."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import aiokafka

from streams.names import Topic

if TYPE_CHECKING:
    from streams.bench.ground import Field

_TRANSACTIONS: Final = 60
_WARM: Final = 10
# Without the pause each one would wait until the markers of the one before are written.
_PAUSE_S: Final = 0.02


def empty_transaction_ms(field: Field) -> float:
    """Return the median time to begin a transaction, write one small record and commit, in ms.

    Raises: KafkaError where the cluster does not answer.
    """
    return asyncio.run(_measure(field))


async def _measure(field: Field) -> float:
    settings = field.settings
    producer: Any = aiokafka.AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        transactional_id=settings.topic_prefix + "empty",
        **settings.aiokafka_security(),
    )
    topic = field.topic(Topic.AUDIT_CHECKPOINTS)
    taken_ms = []
    await producer.start()
    try:
        for _ in range(_TRANSACTIONS):
            began_s = time.perf_counter()
            async with producer.transaction():
                await producer.send_and_wait(topic, b"bench", b"bench", partition=0)
            taken_ms.append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(_PAUSE_S)
    finally:
        await producer.stop()
    return round(median(taken_ms[_WARM:]), 2)
