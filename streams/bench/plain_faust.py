"""Plain Faust: `python -m streams.bench.plain_faust JOB`, an ordinary agent with Faust's own exactly-once setting."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faust
import orjson

from streams.bench.peer import READY, Peer, PeerJob, Request
from streams.names import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
DAY_S = 86_400.0


class _Spent:
    """The day's values as a peer asks for them, from a windowed table."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - Faust's
        self._table = table

    def get(self, key: tuple[str, int], default: int, /) -> int:
        """Return the bot's value in the window of the event that is being worked on."""
        return int(self._table[key[0]].current() or default)


def build(job: PeerJob) -> faust.App:
    """Return the app."""
    app = faust.App(
        job.group,
        broker=f"kafka://{job.bootstrap_servers}",
        store="memory://",
        datadir=Path(job.pki).parent / "faust",  # empty, but made: not where the command was given
        processing_guarantee="exactly_once",
        topic_partitions=job.partitions,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
    )
    peer = Peer(job, Path(job.pki))

    def topic(name: Topic) -> Any:  # noqa: ANN401 - Faust's
        serializers = {"key_serializer": "raw", "value_serializer": "raw"}
        return app.topic(job.topic(name), key_type=bytes, value_type=bytes, **serializers)

    approved, rejected, events = map(topic, (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED, Topic.AUDIT_EVENTS))
    table = app.Table("daily-value", default=int, partitions=job.partitions).tumbling(DAY_S, expires=2 * DAY_S)
    spent = _Spent(table)

    @app.agent(topic(Topic.ORDERS_REQUESTED))  # type: ignore[untyped-decorator]
    async def gate(stream: Any) -> None:  # noqa: ANN401 - Faust's
        async for event in stream.events():
            message = event.message
            request = Request(
                message.partition, message.offset, round(message.timestamp * 1000), event.value, _pairs(event.headers)
            )
            answer = peer.decide(request, spent)
            table[answer.agent_id] = answer.spent_e5
            await (approved if answer.approved else rejected).send(key=event.key, value=answer.verdict)
            await events.send(key=event.key, value=answer.audit, headers={"signature": answer.signature})

    @app.task  # type: ignore[untyped-decorator]
    async def ready() -> None:
        _log.warning(READY)

    return app


def _pairs(headers: Mapping[str, bytes] | list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return list(headers.items()) if hasattr(headers, "items") else list(headers)


if __name__ == "__main__":
    faust.Worker(build(PeerJob(**orjson.loads(sys.argv[1]))), loglevel="WARNING").execute_from_commandline()
