"""The Faust app of a worker, with the engine's classes at Faust's extension points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faust
from faust.tables.manager import TableManager as FaustTableManager
from faust.topics import Topic as FaustTopic
from faust.types import TP
from yarl import URL

from streams.engine.changelog import NAME
from streams.engine.engine import Engine
from streams.engine.exits import EngineError, ExitCode, StopProcess, stop_process
from streams.engine.lane import LaneContext
from streams.engine.lane_tables import LaneTables
from streams.engine.recovery import Recovery
from streams.engine.succession import Succession
from streams.engine.transactions import TransactionWriter
from streams.engine.transport import Transport
from streams.engine.verify import VerifyPool

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from faust.types import EventT
    from mode import ServiceT

    from streams.engine.application import ApplicationFactory
    from streams.engine.changelog import TableKind
    from streams.engine.options import EngineOptions, LaneTopics
    from streams.engine.succession import Predecessor


class BatchTopic(FaustTopic):  # type: ignore[misc]
    """A topic whose events carry batches: nothing to decode, nothing to acknowledge."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Faust's signature
        super().__init__(*args, **{**kwargs, "acks": False})

    def _compile_decode(self) -> None:
        """Keep `decode` below."""

    async def decode(self, message: Any, *, propagate: bool = False) -> EventT:  # noqa: ANN401, ARG002
        """Return the event of a batch."""
        return self._create_event(None, message.value, None, message=message)


class TableManager(FaustTableManager):  # type: ignore[misc]
    """Faust's, with the engine's recovery and without the second of sleep at its start."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        """Return the service that restores the tables."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Register the changelogs and start recovery."""
        await self._update_channels()
        await self.recovery.start()


class EngineApp(faust.App):  # type: ignore[misc]
    """A Faust app whose agents hand batches to lanes: `async for batch in stream: await app.engine.deliver(batch)`."""

    options: EngineOptions
    engine: Engine
    services: Sequence[ServiceT]
    succession: Succession | None = None
    worker_loop: asyncio.AbstractEventLoop | None = None
    """The loop on which it runs, once it does."""

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Start the readers first: lanes wait for them."""
        return [*self.services, *super().on_init_dependencies()]

    def waiting(self, partition: int) -> dict[str, int]:
        """Return how many records of each source topic a lane has not decided, as far as the last fetch says."""
        lane = self.engine.lanes.get(partition)
        found = {}
        for topic, offset in {} if lane is None else lane.committed().items():
            try:
                end = self.consumer.highwater(TP(topic, partition))
            except (AttributeError, KeyError, AssertionError):  # no consumer yet, or not assigned any more
                continue
            if end is not None:
                found[topic] = max(0, end - offset)
        return found

    def succeed(self, predecessor: Predecessor, *, then: Callable[[], object]) -> None:
        """Take over from a running worker once all is prepared; `then` is called when that one is gone."""
        self.succession = Succession(predecessor, self.options, self.tables[NAME], self.engine, then)

    async def take_over(self, prepare: Callable[[], Awaitable[object]]) -> None:
        """Take over from the predecessor, where there is one; called when nothing but the join is left to do.

        `prepare`: what the join begins with.
        """
        succession, self.succession = self.succession, None
        if succession is not None:
            try:
                await prepare()
                await succession.take_over()
            except Exception as error:  # noqa: BLE001 - Faust would go on without a subscription
                code = error.code if isinstance(error, EngineError) else ExitCode.LANE_FAILURE
                self.engine.fail(code, "succession", error)

    async def on_stop(self) -> None:
        """Finish the transactions in flight, then stop."""
        await self.engine.close()
        await super().on_stop()

    def agent(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Awaitable[None]]], Any]:  # noqa: ANN401
        """Faust's decorator, with a type."""
        return super().agent(*args, **kwargs)  # type: ignore[no-any-return]

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""


def create_app(
    options: EngineOptions,
    topics: LaneTopics,
    kinds: Mapping[str, TableKind],
    factory: ApplicationFactory,
    *,
    services: Sequence[ServiceT] = (),
    ready: Callable[[], bool] = lambda: True,
    stop: StopProcess = stop_process,
) -> EngineApp:
    """Return a Faust app with one lane per partition number, each with a table of every kind.

    `services` run beside it, as `LatestReader`. Lanes decide nothing until `ready` first returns true.
    """
    app = EngineApp(
        options.app_id,
        broker=[URL(f"kafka://{server.strip()}") for server in options.bootstrap_servers.split(",")],
        Topic=BatchTopic,
        Table=LaneTables,
        TableManager=TableManager,
        store="memory://",
        datadir=options.data_dir,
        processing_guarantee="exactly_once",
        broker_commit_interval=3_600.0,
        broker_session_timeout=options.session_timeout_ms / 1_000,
        topic_partitions=options.partitions,
        topic_replication_factor=options.replication_factor,
        topic_disable_leader=True,
        table_standby_replicas=0,
        recovery_consistency_check=False,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
    )
    app.in_worker = True  # else Faust does without transactions
    app.options = options
    app.services = list(services)
    app.transport = app.producer_transport = Transport(app.conf.broker_consumer, app)
    tables: LaneTables = app.Table(NAME, kinds=kinds)
    pool = VerifyPool(options.verify_threads)
    context = LaneContext(
        options=options,
        topics=topics,
        factory=factory,
        tables=tables,
        writer=TransactionWriter(options, [tables.changelog_topic_name, *topics.outputs]),
        pool=pool,
        ready=_latched(ready),
        stop=stop,
    )
    app.engine = Engine(context)
    return app


def _latched(ready: Callable[[], bool]) -> Callable[[], bool]:
    """Return a check that stays true once it was."""
    seen = False

    def check() -> bool:
        nonlocal seen
        seen = seen or ready()
        return seen

    return check
