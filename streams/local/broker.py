"""A single Apache Kafka broker (KRaft, broker and controller in one process) as a child process."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local import storage, watchdog
from streams.local.jars import ensure_jars
from streams.local.runtime import BrokerUnavailableError, find_java

_HOST = "127.0.0.1"
# Below the kernel's ephemeral range: no outgoing connection takes the port while the broker is down, and no client
# that retries can connect to itself.
_PORTS = range(20_000, 32_000)
_START_TRIES = 5
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 15
_JVM_FLAGS = (
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
)


class LocalKafka:
    """A real broker on this machine: data in one folder, loopback only, gone when its parent is gone.

    Args:
        folder: holds the data, `server.properties` and `broker.log`; a later broker on the same folder has the same data.
        port: of the broker; a free one if not given.
        config: broker settings that add to or replace the defaults.
        heap_mb: upper bound of the Java heap.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, config: Mapping[str, str] | None = None, heap_mb: int = 512
    ) -> None:
        self.folder = folder.absolute()
        self._chosen_port = port
        self._port = port or 0
        self._config = dict(config or {})
        self._heap_mb = heap_mb
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def bootstrap_servers(self) -> str:
        """Return "127.0.0.1:port", known once the broker has been started."""
        if not self._port:
            raise BrokerUnavailableError("the local broker has no port before its first start")
        return f"{_HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Return the process id of the broker itself (the Java process)."""
        if not self._pid:
            raise BrokerUnavailableError("the local broker is not running")
        return self._pid

    @property
    def log_path(self) -> Path:
        """Return the file with the broker's own log."""
        return self.folder / "broker.log"

    def start(self) -> str:
        """Start the broker, wait until it answers, return its bootstrap servers; a later start has the same port and data.

        Raises:
            BrokerUnavailableError: no Java, no Maven, or the broker ended or did not answer; with its last log lines.
        """
        if self._guard is not None and self._guard.poll() is None:
            return self.bootstrap_servers
        self._forget()
        self.folder.mkdir(parents=True, exist_ok=True)
        libs, java = ensure_jars(), find_java()
        for last_try in (*[False] * (_START_TRIES - 1), True):
            port = self._port or _free_port()
            self._launch(java, libs, port)
            if self._answers(port):
                self._port = port
                return self.bootstrap_servers
            tail = self._log_tail()
            self.kill()
            # Between our look and the broker's bind somebody else may have taken the port.
            if last_try or "BindException" not in tail and "in use" not in tail:
                break
        raise BrokerUnavailableError(f"the local broker did not start; the end of {self.log_path}:\n{tail}")

    def stop(self) -> None:
        """End the broker in good order; killed where that takes over 15 s."""
        self._end(b"t")

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a power cut would."""
        self._end(b"k")

    def __enter__(self) -> LocalKafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, java: Path, libs: Path, port: int) -> None:
        properties = storage.prepare(
            self.folder, listen=(_HOST, port, _free_port()), config=self._config, java=java, libs=libs
        )
        command = [java, *_JVM_FLAGS, f"-Xmx{self._heap_mb}m", "-cp", f"{libs}/*", "kafka.Kafka", properties]
        guarded = [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), *map(str, command)]
        with self.log_path.open("wb") as log:
            # A session of its own: Ctrl-C reaches us first, so that we can drain before the broker goes.
            self._guard = subprocess.Popen(  # noqa: S603 - the arguments are our own
                guarded, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        line = _stdout(self._guard).readline()
        self._pid = int(line) if line.strip().isdigit() else 0

    def _answers(self, port: int) -> bool:
        """Wait until the broker answers metadata with itself in it; False where it ended or the time is over."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._guard is None or self._guard.poll() is not None:
                return False
            if _listens(port) and _has_brokers(f"{_HOST}:{port}"):
                return True
            time.sleep(_POLL_S)
        return False

    def _end(self, command: bytes) -> None:
        guard = self._guard
        if guard is None:
            return
        try:
            _tell(guard, command)
            guard.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _tell(guard, b"k")
            guard.wait()
        self._forget()

    def _forget(self) -> None:
        if self._guard is not None:
            for stream in (self._guard.stdin, self._guard.stdout):
                if stream is not None:
                    stream.close()
        self._guard, self._pid = None, 0

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise AssertionError("the watchdog was started without a pipe")
    return process.stdout


def _tell(guard: subprocess.Popen[bytes], command: bytes) -> None:
    if guard.stdin is None:
        raise AssertionError("the watchdog was started without a pipe")
    try:
        guard.stdin.write(command)
        guard.stdin.flush()
    except BrokenPipeError:
        return  # it has ended by itself


def _free_port() -> int:
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise BrokerUnavailableError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {_HOST}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _has_brokers(servers: str) -> bool:
    client = AdminClient({"bootstrap.servers": servers, "log_level": 0, "error_cb": lambda _error: None})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
