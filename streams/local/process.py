"""A child process that is gone when its parent is gone, whatever way the parent dies."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from streams.local import watchdog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class GuardedProcess:
    """One run of a program under a watchdog; its output goes to a file.

    Args:
        command: the program and its arguments.
        log: receives standard output and standard error; begins empty.
        environment: of the program; ours where not given.
    """

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        guarded = [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), *map(str, command)]
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches us alone, so that we can drain before the program goes.
            self._watchdog = subprocess.Popen(  # noqa: S603 - the arguments are our own
                guarded,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
        line = _open(self._watchdog.stdout).readline()
        self.pid = int(line) if line.strip().isdigit() else 0

    @property
    def running(self) -> bool:
        """Tell whether the program still runs."""
        return self._watchdog.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Return the program's exit code (128 + signal where one ended it), None while it runs."""
        return self._watchdog.poll()

    def stop(self, *, timeout_s: float = 15.0) -> bool:
        """Ask the program to end (SIGTERM) and wait; kill it after `timeout_s` and return False."""
        self._tell(b"t")
        try:
            self._watchdog.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._reap()
        return True

    def kill(self) -> None:
        """End the program at once (SIGKILL) and wait."""
        self._tell(b"k")
        self._reap()

    def _tell(self, command: bytes) -> None:
        # A broken pipe says that it has ended by itself, which is what was wanted.
        with suppress(BrokenPipeError):
            stdin = _open(self._watchdog.stdin)
            stdin.write(command)
            stdin.flush()

    def _reap(self) -> None:
        self._watchdog.wait()
        _open(self._watchdog.stdout).close()
        # A command that nobody read may still be in the buffer.
        with suppress(BrokenPipeError):
            _open(self._watchdog.stdin).close()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the watchdog was started without pipes")
    return stream
