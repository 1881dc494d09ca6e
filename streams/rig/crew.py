"""The processes of a chaos run under supervision: what dies is started again, and how it died is counted."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from streams.clock import now_us
from streams.engine.exits import ExitCode
from streams.rig.processes import Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.settings import Settings

_POLL_S: Final = 0.02
_STOP_S: Final = 30.0
_PREPARED_S: Final = 60.0
_PARTITIONS: Final = re.compile(r"partitions: \[([\d, ]*)\]")
# What a worker may say of itself when its broker was away, or itself; all other exits are faults of ours.
_EXCUSED_WORKER: Final = frozenset(
    (
        ExitCode.FENCED,
        ExitCode.UNCERTAIN_COMMIT,
        ExitCode.DRAIN_TIMEOUT,
        ExitCode.TRANSACTION_TIMEOUT,
        ExitCode.RECOVERY_FAILED,
        ExitCode.NO_BROKER,
    )
)
_TERMINATED: Final = 128 + signal.SIGTERM
_EXCUSED_WAREHOUSE: Final = frozenset((2,))  # a sentence of ours: Kafka does not answer


class Member:
    """One process that is wanted until it is dismissed; each life has a log of its own."""

    def __init__(self, name: str, command: str, settings: Settings, logs: Path) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.wanted = False
        self._command, self._settings, self._logs = command, settings, logs
        self._lives = 0
        self._service: Service | None = None

    @property
    def service(self) -> Service:
        """Return the current life. Raises: RuntimeError before the first."""
        if self._service is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._service

    @property
    def excused(self) -> frozenset[int]:
        """Return the exit codes that are right when the broker is away, or when it was the worker that was away."""
        return _EXCUSED_WORKER if self._command == "worker" else _EXCUSED_WAREHOUSE

    def start(self) -> None:
        """Begin a life."""
        with self.lock:
            self._lives += 1
            self._service = Service(f"{self.name}.{self._lives}", [self._command], self._settings, self._logs)
            self._service.start()
            self.wanted = True

    def kill(self) -> tuple[int, int]:
        """End the process at once; return the moments before and after (microseconds UTC)."""
        with self.lock:
            self.wanted = False
            before_us = now_us()
            self.service.kill()
            return before_us, now_us()

    def stop(self) -> int:
        """Ask the process to end and wait; return its exit code, 137 where it had to be killed."""
        with self.lock:
            self.wanted = False
            self.service.stop(timeout_s=_STOP_S)
            code = self.service.exit_code
            return 0 if code is None else code

    def replace(self) -> int:
        """Begin a life that ends the current one when it is ready to go on; return the old one's exit code."""
        with self.lock:
            old = self.service
            self._lives += 1
            arguments = [self._command, "--succeeds", str(old.pid)]
            self._service = Service(f"{self.name}.{self._lives}", arguments, self._settings, self._logs)
            self._service.start()
            deadline = time.monotonic() + _PREPARED_S + _STOP_S
            while old.running and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            old.stop(timeout_s=_STOP_S)
            return old.exit_code or 0

    def log(self) -> str:
        """Return what the current life has logged."""
        return self.service.log_path.read_text(errors="replace")

    def partitions(self) -> tuple[int, ...]:
        """Return the partitions that the worker's log says it has."""
        found = _PARTITIONS.findall(self.log())
        return tuple(int(number) for number in found[-1].split(",")) if found and found[-1] else ()


class Crew:
    """Watches its members; starts again at once what has ended by itself."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.upset = False
        """Whether something happens now that excuses some exits."""
        self.exits: Counter[str] = Counter()
        """How members ended by themselves or answered SIGTERM badly: "name: code"."""
        self.unexpected: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop_watching(self) -> None:
        """Start nothing again from now on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Stop watching and kill everything that still runs."""
        self.stop_watching()
        for member in self.members.values():
            if member.wanted:
                member.kill()

    def add(self, member: Member) -> Member:
        """Take in a member and start it."""
        self.members[member.name] = member
        member.start()
        return member

    def dismiss(self, name: str) -> None:
        """Let go of a member that was stopped or killed."""
        del self.members[name]

    def note_stop(self, member: Member, code: int) -> None:
        """Judge how a member answered SIGTERM; one that had not begun to listen for it dies of it."""
        if code != ExitCode.STOPPED and not (code == _TERMINATED and not member.partitions()):
            self._note(member, code)

    def workers(self) -> Sequence[Member]:
        """Return the workers, in the order of their names."""
        return [member for name, member in sorted(self.members.items()) if name.startswith("worker")]

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_S):
            for member in list(self.members.values()):
                with member.lock:
                    if member.wanted and not member.service.running:
                        self._note(member, member.service.exit_code or 0)
                        member.start()

    def _note(self, member: Member, code: int) -> None:
        self.exits[f"{member.name.rstrip('-0123456789')} exit {code}"] += 1
        if not (self.upset and code in member.excused):
            self.unexpected.append(f"{member.name} ended with {code}; log: {member.service.log_path}")
