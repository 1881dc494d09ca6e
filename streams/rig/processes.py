"""Worker and warehouse as child processes, gone when the rig is gone."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from streams.core.errors import PortcullisError
from streams.local.process import GuardedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams.settings import Settings

_LOG_TAIL_LINES: Final = 15
_POLL_S: Final = 0.02
# Compiling 600 modules at each start takes longer than everything else until the first decision.
_NOT_INHERITED: Final = "PYTHONDONTWRITEBYTECODE"


class ProcessEndedError(PortcullisError):
    """A process of the rig ended by itself; the text has the end of its log."""


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, for a child process."""
    values = {
        "PORTCULLIS_HOME": str(settings.home.absolute()),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "PORTCULLIS_WAREHOUSE_DSN": settings.warehouse,
        "PORTCULLIS_PKI_DIR": str(settings.pki.absolute()),
        "PORTCULLIS_APP_ID": settings.app_id,
        "PORTCULLIS_TOPIC_PREFIX": settings.topic_prefix,
        "PORTCULLIS_LANES": str(settings.lanes),
        "PORTCULLIS_LOG_ORIGIN": settings.log_origin,
        "PORTCULLIS_INSTANCE_ID": settings.instance_id,
        "PORTCULLIS_VERIFY_THREADS": str(settings.verify_threads),
        "PORTCULLIS_BATCH_RECORDS_MAX": str(settings.batch_records_max),
        "PORTCULLIS_FETCH_WAIT_MS_MIN": str(settings.fetch_wait_ms_min),
        "PORTCULLIS_FETCH_WAIT_MS_MAX": str(settings.fetch_wait_ms_max),
        "PORTCULLIS_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        "PORTCULLIS_METRICS_PORT": str(settings.metrics_port),
        "PORTCULLIS_LOG_FORMAT": settings.log_format,
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint,
        "PORTCULLIS_ENFORCER_HOST": settings.enforcer_host,
        "PORTCULLIS_ENFORCER_PORT": str(settings.enforcer_port),
        "PORTCULLIS_ENFORCER_AGENTS": ",".join(settings.enforcer_agents),
        "PORTCULLIS_ENFORCER_TIMEOUT_MS": str(settings.enforcer_timeout_ms),
        "PORTCULLIS_ENFORCER_RATE_MAX_PER_S": str(settings.enforcer_rate_max_per_s),
    }
    security = {f"KAFKA_SECURITY_{k.upper().replace('.', '_')}": v for k, v in settings.kafka_security.items()}
    return {name: value for name, value in (values | security).items() if value}


class Service:
    """One `portcullis` process with its log file."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        settings: Settings,
        logs: Path,
        *,
        module: str = "streams",
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a process; `more` are environment variables beside those of the settings."""
        self.name = name
        self._module = module
        self._more = dict(more or {})
        self._arguments = arguments
        self._settings = settings
        self._log = logs / f"{name}.log"
        self._process: GuardedProcess | None = None
        self._exit_code: int | None = None

    @property
    def log_path(self) -> Path:
        """Return the file with the log of the last run."""
        return self._log

    @property
    def exit_code(self) -> int | None:
        """Return the last run's exit code (128 + signal where one ended it), None while it runs."""
        return self._exit_code if self._process is None else self._process.exit_code

    @property
    def pid(self) -> int:
        """Return the process id of the running service."""
        if self._process is None:
            raise ProcessEndedError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start the process; a second start begins a new one under the same name."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", self._module, *self._arguments]
        inherited = {name: value for name, value in os.environ.items() if name != _NOT_INHERITED}
        self._process = GuardedProcess(command, self._log, {**inherited, **environment(self._settings), **self._more})

    def stop(self, *, timeout_s: float = 30.0) -> bool:
        """Ask the process to end; say whether it did in time."""
        process, self._process = self._process, None
        if process is None:
            return True
        in_time = process.stop(timeout_s=timeout_s)
        self._exit_code = process.exit_code
        return in_time

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._exit_code = process.exit_code

    def require_running(self) -> None:
        """Raise ProcessEndedError, with the end of the log, where the process has ended by itself."""
        if self._process is not None and not self._process.running:
            lines = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
            raise ProcessEndedError(f"{self.name} ended by itself; the end of {self._log}:\n" + "\n".join(lines))

    def wait_for_line(self, text: str, *, timeout_s: float = 60.0) -> None:
        """Wait until the log holds a text.

        Raises: ProcessEndedError where the process ends or the time is over before.
        """
        deadline = time.monotonic() + timeout_s
        while text not in self._log.read_text(errors="replace"):
            self.require_running()
            if time.monotonic() > deadline:
                raise ProcessEndedError(f"{self.name}: {text!r} not in {self._log} after {timeout_s:g} s")
            time.sleep(_POLL_S)
