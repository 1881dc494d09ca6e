"""What the broker needs on disk before its start: `server.properties` and a formatted log folder."""

from __future__ import annotations

import base64
import shutil
import uuid
from typing import TYPE_CHECKING

from streams.local.readiness import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# One id for all local brokers, so that several of them can form one cluster.
CLUSTER_ID = "UG9ydGN1bGxpcy1sb2NhbA"

_SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # Topics come from topology/topics.toml: a misspelt name must fail, not appear.
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    # Four instead of fifty partitions each: the first group and the first transaction come 1 s sooner.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the controller holds the broker's old session for this long. Registration is tried again after 0.1,
    # 0.3, 0.7, 1.5 and 3.1 s: 3 s comes back at 4 s with the start (9 s, the default: at 13 s), and still forgives a
    # stalled machine.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Nobody looks at a local broker with JMX: without its beans start and topics cost a tenth less CPU.
    "metrics.jmx.exclude": ".*",
    # Allocated at the start: 128 MB by default, a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": "33554432",
}


def write_properties(folder: Path, *, port: int, controller_port: int, config: Mapping[str, str]) -> Path:
    """Write `server.properties` for a broker on loopback; `config` adds to or replaces the defaults."""
    settings = {
        **_SINGLE_NODE,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "log.dirs": str(folder / "data"),
        **config,
    }
    path = folder / "server.properties"
    path.write_text("".join(f"{key}={_escaped(value)}\n" for key, value in settings.items()))
    return path


def format_once(folder: Path, checkpoint: Path, *, node_id: str = "1") -> None:
    """Format the log folder where it is new, as `kafka-storage format` does, without the 0.9 s of its JVM.

    Args:
        folder: of the broker.
        checkpoint: the feature levels that `kafka-storage format` wrote once on this machine.
        node_id: of the broker.
    """
    data = folder / "data"
    if (data / "meta.properties").exists():
        return
    data.mkdir(exist_ok=True)
    shutil.copyfile(checkpoint, data / "bootstrap.checkpoint")
    directory_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # Written last and renamed into place: a folder counts as formatted only when it is.
    draft = data / "meta.properties.tmp"
    draft.write_text(f"version=1\ncluster.id={CLUSTER_ID}\nnode.id={node_id}\ndirectory.id={directory_id}\n")
    draft.rename(data / "meta.properties")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
