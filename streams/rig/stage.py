"""A stage: broker, topics, keys and a registered fleet, in a folder of its own and gone afterwards."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from streams import topics
from streams.kafka.producing import Sender
from streams.local.cluster import kafka_cluster
from streams.names import Topic
from streams.rig.processes import Service
from streams.sim.fleet import policies
from streams.sim.markets import markets_of
from streams.sim.signing import Keyring
from streams.wire import devpki
from streams.wire.log_keys import log_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streams.settings import Settings
    from streams.sim.fleet import Bot
    from streams.sim.markets import Market
    from streams.sim.tape import Tick
    from streams.topics import Topology
    from streams.wire.keys import AgentCredentials
    from streams.wire.note import Verifier

Tune = Callable[[str, bytes], bytes]
"""A bot's policy document, by its agent_id, before it is signed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster with its topics, and a fleet that is registered on it."""

    folder: Path
    settings: Settings
    topology: Topology
    markets: dict[str, Market]
    bots: tuple[Bot, ...]
    policies: dict[str, bytes]
    credentials: dict[str, AgentCredentials]
    keys: Keyring

    @property
    def partitions(self) -> int:
        """Return the number of lanes."""
        return self.topology.lanes

    def topic(self, topic: Topic) -> str:
        """Return a topic's name on the cluster."""
        return self.settings.topic_prefix + topic

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the keys of all logs."""
        origins = (f"{self.settings.log_origin}/{number}" for number in range(self.partitions))
        return tuple(key.verifier for origin in origins for key in log_keys(self.settings.pki, origin))

    def operators(self) -> dict[str, str]:
        """Return each bot's operator."""
        return {bot.agent_id: bot.operator for bot in self.bots}

    def sender(self, *, linger_ms: int = 2) -> Sender:
        """Return a producer."""
        settings = self.settings
        return Sender(settings.kafka_bootstrap_servers, settings.kafka_security, **{"linger.ms": linger_ms})

    def worker(
        self, name: str = "worker-1", *, command: Sequence[str] = ("streams", "worker"), **changes: object
    ) -> Service:
        """Return a worker process, not yet started; `changes` are settings of its own.

        `command`: a Python module and its arguments.
        """
        settings = replace(self.settings, instance_id=name, **changes)  # type: ignore[arg-type]
        return Service(name, list(command[1:]), settings, self.folder / "logs", module=command[0])

    def warehouse(self) -> Service:
        """Return the warehouse process, not yet started."""
        return Service("warehouse", ["warehouse"], self.settings, self.folder / "logs")

    def notifier(self, routes: Path) -> Service:
        """Return the notifier's process, not yet started."""
        return Service("notifier", ["notifier", "--routes", str(routes)], self.settings, self.folder / "logs")

    def witness(self) -> Service:
        """Return a witness's process, not yet started; its key and state are in the folder."""
        return Service("witness", ["witness"], self.settings, self.folder / "logs")

    def desk(self, own: Mapping[str, str]) -> Service:
        """Return the risk desk's process, not yet started; `own` are its PORTCULLIS_DESK_* settings."""
        return Service("desk", ["desk"], self.settings, self.folder / "logs", more=own)


@contextmanager
def open_stage(
    folder: Path,
    settings: Settings,
    ticks: Sequence[Tick],
    bots: tuple[Bot, ...],
    *,
    max_order_age_ms: int = 60_000,
    tune: Tune | None = None,
) -> Iterator[Stage]:
    """Yield a stage on the cluster that the settings name, else on a broker of its own.

    The folder begins empty; `tune` may change each bot's policy before it is signed. On an existing cluster all topics
    get a prefix of their own and are deleted at the end.

    Raises: BrokerUnavailableError, ClusterUnavailableError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    existing = settings.kafka_bootstrap_servers
    prefix = f"{settings.topic_prefix}{folder.name}-{time.time_ns() // 1_000_000}." if existing else ""
    with kafka_cluster(folder / "kafka", address=existing or None) as servers:
        ours = replace(settings, kafka_bootstrap_servers=servers, topic_prefix=prefix)
        try:
            yield set_stage(folder, ours, ticks, bots, max_order_age_ms=max_order_age_ms, tune=tune)
        finally:
            if existing:
                topics.discard(topics.load_topology(prefix=prefix), ours.cluster())


def set_stage(
    folder: Path,
    settings: Settings,
    ticks: Sequence[Tick],
    bots: tuple[Bot, ...],
    *,
    max_order_age_ms: int = 60_000,
    tune: Tune | None = None,
) -> Stage:
    """Make a stage on the cluster that the settings name and leave it there; keys and warehouse are in the folder.

    Raises: ClusterUnavailableError.
    """
    ours = replace(
        settings,
        home=folder,
        warehouse_dsn=f"chdb:///{(folder / 'warehouse').absolute()}",
        pki_dir=folder / "pki",
    )
    topology = topics.load_topology(lanes=settings.lanes or None, prefix=settings.topic_prefix)
    topics.apply(topology, settings.cluster())
    markets = markets_of(ticks)
    documents = policies(bots, markets, datetime.now(UTC), max_order_age_ms=max_order_age_ms)
    if tune is not None:
        documents = {agent_id: tune(agent_id, document) for agent_id, document in documents.items()}
    return _with_fleet(folder, ours, topology, markets, bots, documents)


def _with_fleet(
    folder: Path,
    settings: Settings,
    topology: Topology,
    markets: dict[str, Market],
    bots: tuple[Bot, ...],
    documents: dict[str, bytes],
) -> Stage:
    """Make the keys of three parties, certify the bots and write their registrations."""
    devpki.make_dev_pki(settings.pki)
    credentials = {}
    keys = Keyring({})
    sender = Sender(settings.kafka_bootstrap_servers, settings.kafka_security)
    for agent_id, document in documents.items():
        issued = credentials[agent_id] = devpki.issue_agent(settings.pki, document)
        keys.add(agent_id, issued.private_key, issued.chain[0])
        record = devpki.make_registration(settings.pki, document, issued)
        sender.send(settings.topic_prefix + Topic.AGENTS_REGISTRY, agent_id.encode(), record)
    sender.flush()
    return Stage(folder, settings, topology, markets, bots, documents, credentials, keys)
