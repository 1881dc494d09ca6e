"""A single Apache Kafka broker (KRaft, broker and controller in one process) as a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from streams.local import storage
from streams.local.installation import Installation, ensure_installed
from streams.local.process import GuardedProcess
from streams.local.readiness import HOST, free_ports, is_free, wait_until_ready
from streams.local.runtime import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_START_TRIES = 3
_READY_TIMEOUT_S = 60.0
_LOG_TAIL_LINES = 15
_PORT_TAKEN = "Address already in use"


class LocalKafka:
    """A real broker on this machine: data in one folder, loopback only, gone when its parent is gone.

    Args:
        folder: holds the data, `server.properties` and `broker.log`; a later broker on it has the same data.
        port: of the broker; a free one if not given.
        config: broker settings that add to or replace the defaults.
        heap_mb: upper bound of the Java heap.
        client: how a client must present itself to `port`, in librdkafka's properties.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        config: Mapping[str, str] | None = None,
        heap_mb: int = 512,
        client: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._port = port
        self._config = dict(config or {})
        self._heap_mb = heap_mb
        self._client = dict(client or {})
        self._process: GuardedProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Return "127.0.0.1:port"."""
        if self._port is None:
            raise BrokerUnavailableError("the local broker has no port before its first start")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Return the process id of the broker itself (the Java process)."""
        if self._process is None:
            raise BrokerUnavailableError("the local broker is not running")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Return the file with the log of the broker's last run."""
        return self.folder / "broker.log"

    def start(self) -> str:
        """Start the broker, wait until it answers, return its address; a later start keeps port and data.

        Raises:
            BrokerUnavailableError: no Java, no Maven, or the broker did not come up; with its last log lines.
        """
        if self._process is not None and self._process.running:
            return self.bootstrap_servers
        self.kill()
        if self._port is not None and not is_free(self._port):
            raise BrokerUnavailableError(f"{self.bootstrap_servers} is in use by another program")
        installation = ensure_installed()
        self.folder.mkdir(parents=True, exist_ok=True)
        storage.format_once(self.folder, installation.checkpoint, node_id=self._config.get("node.id", "1"))
        for _ in range(_START_TRIES):
            port, controller_port = free_ports(2)
            if self._came_up(installation, self._port or port, controller_port):
                return self.bootstrap_servers
            if _PORT_TAKEN not in self._log_tail():
                break
        raise BrokerUnavailableError(f"the local broker did not start; the end of {self.log_path}:\n{self._log_tail()}")

    def stop(self) -> None:
        """End the broker in good order; killed where that takes over 15 s."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _came_up(self, installation: Installation, port: int, controller_port: int) -> bool:
        """Try one start; between the look for a free port and the bind somebody else may have taken it."""
        properties = storage.write_properties(
            self.folder, port=port, controller_port=controller_port, config=self._config
        )
        self._process = GuardedProcess(installation.command(properties, heap_mb=self._heap_mb), self.log_path)
        if wait_until_ready(self._process, port, _READY_TIMEOUT_S, self._client):
            self._port = port
            return True
        self.kill()
        return False

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
