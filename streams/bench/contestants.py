"""The contestants: Portcullis, the leanest loop, plain Faust; each in processes that can be stopped and go on."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from streams.bench.gauge import Progress
from streams.bench.ground import BenchError
from streams.bench.peer import READY, PeerJob
from streams.names import Topic
from streams.rig.processes import Service

if TYPE_CHECKING:
    from streams.bench.ground import Field
    from streams.local.process import GuardedProcess

_START_S: Final = 60.0
_PER_BOT_S: Final = 0.02
_POLL_S: Final = 0.05


class Contestant(Protocol):
    """Somebody who decides the orders of a field."""

    group: str
    """Its consumer group: the offsets that it commits say how far it is."""

    @property
    def pids(self) -> list[int]:
        """Return its processes."""

    def start(self) -> None:
        """Start it and wait until it is ready for orders."""

    def require_running(self) -> None:
        """Raise PortcullisError where it has ended by itself."""

    def stop(self) -> None:
        """End it."""


class Portcullis:
    """The product: workers with everything on."""

    def __init__(self, field: Field, workers: int) -> None:
        self.group = field.settings.topic_prefix + field.settings.app_id
        self._field = field
        self._services = [
            Service(name, ["worker"], replace(field.settings, instance_id=name), field.folder)
            for name in (f"worker-{number}" for number in range(1, workers + 1))
        ]

    @property
    def pids(self) -> list[int]:
        """Return the workers."""
        return [service.pid for service in self._services]

    def start(self) -> None:
        """Start the workers and wait until every bot is registered. Raises: BenchError, ProcessEndedError."""
        field = self._field
        for service in self._services:
            service.start()
        deadline = time.monotonic() + _START_S + _PER_BOT_S * field.material.bots
        progress = Progress(field.settings.kafka_bootstrap_servers, field.settings.kafka_security, self.group)
        try:
            while progress.committed(field.topic(Topic.AGENTS_REGISTRY), field.partitions) < field.material.bots:
                self.require_running()
                if time.monotonic() > deadline:
                    raise BenchError(f"{field.material.bots} bots are not registered in time")
                time.sleep(_POLL_S)
        finally:
            progress.close()

    def require_running(self) -> None:
        """Raise ProcessEndedError where a worker has ended by itself."""
        for service in self._services:
            service.require_running()

    def kill(self) -> None:
        """End the workers at once (SIGKILL)."""
        for service in self._services:
            service.kill()

    def start_again(self) -> None:
        """Start workers that were killed; returns at once."""
        for service in self._services:
            service.start()

    def stop(self) -> None:
        """Stop the workers."""
        for service in self._services:
            service.stop()


class PeerProcess:
    """A peer: one process of `streams.bench`."""

    def __init__(self, field: Field, module: str) -> None:
        self.group = f"{field.settings.topic_prefix}{module.replace('_', '-')}"
        self._field, self._module = field, module
        self._process: GuardedProcess | None = None

    @property
    def pids(self) -> list[int]:
        """Return the process."""
        return [] if self._process is None else [self._process.pid]

    def start(self) -> None:
        """Start the peer and wait until it says so. Raises: BenchError."""
        field = self._field
        servers, security = field.settings.kafka_bootstrap_servers, dict(field.settings.kafka_security)
        job = PeerJob(
            servers, field.settings.topic_prefix, self.group, str(field.material.pki), field.partitions, security
        )
        self._process = field.child(self._module, self._module, job.argument())
        timeout_s = _START_S + _PER_BOT_S * field.material.bots
        field.wait_for_line(self._process, self._module, READY, timeout_s)

    def require_running(self) -> None:
        """Raise BenchError where the peer has ended by itself."""
        if self._process is None or not self._process.running:
            raise BenchError(f"{self._module} ended by itself:\n{self._field.tail(self._module)}")

    def stop(self) -> None:
        """End the peer; it has no more to do."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def pause(contestant: Contestant) -> None:
    """Stop all its processes where they are."""
    for pid in contestant.pids:
        os.kill(pid, signal.SIGSTOP)


def resume(contestant: Contestant) -> None:
    """Let its processes go on."""
    for pid in contestant.pids:
        os.kill(pid, signal.SIGCONT)
