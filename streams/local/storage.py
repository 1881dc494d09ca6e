"""Write what the broker needs on disk before its start: `server.properties` and the formatted log folder."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from streams.local.runtime import BrokerUnavailableError

_CLUSTER_ID = "UG9ydGN1bGxpcy1sb2NhbA"
_FORMAT_TIMEOUT_S = 60

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
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


def prepare(folder: Path, *, listen: tuple[str, int, int], config: Mapping[str, str], java: Path, libs: Path) -> Path:
    """Write `server.properties`, format the log folder where it is new, return the properties' path.

    Args:
        folder: of the broker.
        listen: host, broker port, controller port.
        config: settings that add to or replace the defaults.
        java: the launcher.
        libs: Kafka's jars.

    Raises:
        BrokerUnavailableError: the log folder could not be formatted.
    """
    host, port, controller_port = listen
    settings = {
        **_SINGLE_NODE,
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "controller.quorum.voters": f"1@{host}:{controller_port}",
        "log.dirs": str(folder / "data"),
        **config,
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{key}={_escaped(value)}\n" for key, value in settings.items()))
    if not (folder / "data" / "meta.properties").is_file():
        _format(properties, java, libs)
    return properties


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")


def _format(properties: Path, java: Path, libs: Path) -> None:
    command = [java, "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libs}/*"]
    done = subprocess.run(  # noqa: S603 - the arguments are our own
        [*command, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", properties],
        capture_output=True,
        text=True,
        timeout=_FORMAT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise BrokerUnavailableError(f"the broker's folder could not be formatted:\n{done.stdout}{done.stderr}")
