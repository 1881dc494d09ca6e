"""The ground that all contestants share: one broker; for each of them topics of its own with the same records."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from streams import topics
from streams.bench.lean import CHANGELOG
from streams.bench.sender import SendJob
from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.kafka.producing import Sender
from streams.local.cluster import kafka_cluster
from streams.local.process import GuardedProcess
from streams.names import Topic
from streams.topics.admin import Admin
from streams.wire.messages import encode_reference_price

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.bench.material import Material
    from streams.settings import Settings
    from streams.topics import Topology

_POLL_S: Final = 0.02
# A worker that is stopped while its backlog is written must still be a member when it goes on.
_SESSION_MS: Final = 60_000


class BenchError(PortcullisError):
    """A process of the bench ended too early or not at all; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Field:
    """One contestant's topics, with registry and reference prices written."""

    folder: Path
    settings: Settings
    topology: Topology
    material: Material

    @property
    def partitions(self) -> int:
        """Return the number of lanes."""
        return self.topology.lanes

    def topic(self, topic: Topic) -> str:
        """Return a topic's name on the cluster."""
        return self.settings.topic_prefix + topic

    def child(self, name: str, module: str, argument: str) -> GuardedProcess:
        """Start a module of the bench in a process of its own; its output goes to `<name>.log`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return GuardedProcess([sys.executable, "-m", f"streams.bench.{module}", argument], self.log(name))

    def log(self, name: str) -> Path:
        """Return a child's log file."""
        return self.folder / f"{name}.log"

    def sending(self, first: int, count: int, rate: float = 0.0) -> GuardedProcess:
        """Start to send a part of the signed orders."""
        servers, security = self.settings.kafka_bootstrap_servers, dict(self.settings.kafka_security)
        job = SendJob(
            servers, self.topic(Topic.ORDERS_REQUESTED), str(self.material.load), first, count, rate, security
        )
        return self.child("sender", "sender", job.argument())

    def wait_for_end(self, process: GuardedProcess, name: str, timeout_s: float) -> None:
        """Wait until a child has done its work. Raises: BenchError where it fails or the time is over."""
        deadline = time.monotonic() + timeout_s
        while process.running and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        done = not process.running and process.exit_code == 0
        process.stop()
        if not done:
            raise BenchError(f"{name} did not end well within {timeout_s:g} s:\n{self.tail(name)}")

    def wait_for_line(self, process: GuardedProcess, name: str, text: str, timeout_s: float) -> None:
        """Wait until a child has printed a text. Raises: BenchError where it ends or the time is over before."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log(name).read_text(errors="replace"):
            if not process.running or time.monotonic() > deadline:
                raise BenchError(f"{name}: no {text!r} within {timeout_s:g} s:\n{self.tail(name)}")
            time.sleep(_POLL_S)

    def tail(self, name: str) -> str:
        """Return the end of a child's log."""
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])


@contextmanager
def open_cluster(folder: Path, settings: Settings) -> Iterator[Settings]:
    """Yield settings that name a cluster: the one that is set, else a broker of the bench's own that begins empty.

    Raises: BrokerUnavailableError.
    """
    data = folder / "kafka"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    with kafka_cluster(data, address=settings.kafka_bootstrap_servers or None) as servers:
        yield replace(settings, kafka_bootstrap_servers=servers)
    shutil.rmtree(data, ignore_errors=True)


@contextmanager
def open_field(folder: Path, settings: Settings, material: Material, name: str) -> Iterator[Field]:
    """Yield topics under a prefix of their own, with the bots registered and every market's price; deleted at the end.

    Raises: ClusterUnavailableError.
    """
    prefix = f"{settings.topic_prefix}{name}-{time.time_ns() // 1_000_000}."
    ours = replace(
        settings,
        home=folder / "home",
        pki_dir=material.pki,
        topic_prefix=prefix,
        session_timeout_ms=max(settings.session_timeout_ms, _SESSION_MS),
    )
    cluster = settings.cluster()
    topology = topics.load_topology(prefix=prefix)
    topics.apply(topology, cluster)
    Admin(cluster).create([(prefix + CHANGELOG, topology.lanes, {"cleanup.policy": "compact"})], replicas=1)
    field = Field(folder / name, ours, topology, material)
    try:
        _publish(field)
        yield field
    finally:
        Admin(cluster).delete(prefix)


def _publish(field: Field) -> None:
    """Write the registrations and each market's price, dated now: policies of the bench let it stand for a day."""
    servers, security = field.settings.kafka_bootstrap_servers, dict(field.settings.kafka_security)
    job = SendJob(servers, field.topic(Topic.AGENTS_REGISTRY), str(field.material.registry), 0, field.material.bots)
    sending = field.child("registry", "sender", job.argument())
    sender = Sender(servers, security)
    for market in field.material.markets.values():
        price = market.reference(market.first_price_e13, now_us())
        sender.send(field.topic(Topic.MARKETS_REFERENCE), market.symbol.encode(), encode_reference_price(price))
    sender.flush()
    field.wait_for_end(sending, "registry", 600.0)
