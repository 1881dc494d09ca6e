"""Several local brokers that form one cluster: for tests that kill a broker while others go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from streams.local.broker import LocalKafka
from streams.local.installation import ensure_installed
from streams.local.readiness import HOST, free_ports

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class LocalCluster:
    """Brokers 1 to n, each with a copy of everything and a vote; writing needs all copies but one.

    Args:
        folder: holds a folder for each broker.
        brokers: how many; three survive the loss of one.
        heap_mb: upper bound of each broker's Java heap.
    """

    def __init__(self, folder: Path, *, brokers: int = 3, heap_mb: int = 384) -> None:
        ports = free_ports(2 * brokers)
        nodes = range(1, brokers + 1)
        voters = ",".join(f"{node}@{HOST}:{port}" for node, port in zip(nodes, ports[brokers:], strict=True))
        shared = {
            "controller.quorum.voters": voters,
            "default.replication.factor": str(brokers),
            "min.insync.replicas": str(max(1, brokers - 1)),
            "offsets.topic.replication.factor": str(brokers),
            "transaction.state.log.replication.factor": str(brokers),
            "transaction.state.log.min.isr": str(max(1, brokers - 1)),
        }
        self.brokers = tuple(
            LocalKafka(
                folder / f"broker-{node}",
                port=port,
                heap_mb=heap_mb,
                config={
                    **shared,
                    "node.id": str(node),
                    "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
                },
            )
            for node, port, controller_port in zip(nodes, ports[:brokers], ports[brokers:], strict=True)
        )

    @property
    def bootstrap_servers(self) -> str:
        """Return all brokers' addresses, separated by commas."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def start(self) -> str:
        """Start all brokers at once, since none is ready without a majority; return their addresses.

        Raises:
            BrokerUnavailableError: one of them did not come up.
        """
        ensure_installed()
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(LocalKafka.start, self.brokers))
        return self.bootstrap_servers

    def stop(self) -> None:
        """End all brokers at once; without a majority none could hand over in good order, so they are killed."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(LocalKafka.kill, self.brokers))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
