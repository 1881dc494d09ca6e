"""Run one program and end it as soon as the process that asked for it is gone.

Started as a script (`python -I -S watchdog.py PARENT_PID PROGRAM ...`), so it imports the standard library only.
It prints the program's pid, then obeys its standard input: `t` asks the program to end, `k` kills it, and the end of
input, which comes with the parent's death whatever the cause, kills it too.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_S = 0.5


def main(arguments: list[str]) -> int:
    """Run the program to its end and return its exit code (128 + signal where one ended it)."""
    parent_pid, *command = arguments
    # The kernel's signal fires when the *thread* that forked ends: this is the main thread, and it waits to the end.
    own_pid = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_watchdog() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != own_pid:
                os._exit(1)

    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=die_with_watchdog) as child:  # noqa: S603, PLW1509 - one thread so far
        print(child.pid, flush=True)  # noqa: T201 - the parent reads it
        threading.Thread(target=_obey, args=(child, int(parent_pid)), daemon=True).start()
        code = child.wait()
    return code if code >= 0 else 128 - code


def _obey(child: subprocess.Popen[bytes], parent_pid: int) -> None:
    while True:
        # A fork of the parent may hold the pipe open after its death, so its pid is looked at as well.
        ready, _, _ = select.select([0], [], [], _PARENT_CHECK_S)
        command = os.read(0, 1) if ready else b""
        if command == b"t":
            child.terminate()
        elif ready or os.getppid() != parent_pid:
            child.kill()
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
