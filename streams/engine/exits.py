"""Why a worker ends its own process, and the one place where it does.

Whoever reads the exit code is a supervisor or a test, so the numbers never change their meaning. There is no
abort-and-go-on: after a failure the state in memory is ahead of the log, and only a restart makes them one again.
"""

from __future__ import annotations

import logging
import os
import sys
from enum import IntEnum
from typing import NoReturn, Protocol

_log = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """Exit code of a worker process."""

    STOPPED = 0
    """Asked to stop, drained and closed."""
    LANE_FAILURE = 70
    """A lane or its application raised: a bug."""
    FENCED = 71
    """Another process took over the partition's transactional id, or the broker let the transaction expire."""
    UNCERTAIN_COMMIT = 72
    """The commit was asked for and not answered: only the broker knows whether it holds."""
    BATCH_REFUSED = 73
    """The broker refused a batch of outputs, for instance as too large."""
    POSITION_BROKEN = 74
    """Records would have been skipped or read twice."""
    DRAIN_TIMEOUT = 75
    """A transaction in flight did not end in time while partitions were taken away or the worker stopped."""
    TRANSACTION_TIMEOUT = 76
    """Outputs could not be written within the transaction's time-out."""
    RECOVERY_FAILED = 77
    """Tables could not be restored: a changelog did not answer in time, or records of it are missing."""
    MISCONFIGURED = 78
    """Source topics or partitions are not as the worker needs them."""
    NO_BROKER = 79
    """The broker went away while the worker started."""
    GROUP_LOST = 80
    """The worker is no member of its consumer group any more: its partitions are somebody else's."""


class EngineError(Exception):
    """The engine cannot go on; carries the exit code that says why."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StopProcess(Protocol):
    """Ends the process; replaced in unit tests."""

    def __call__(self, code: ExitCode, where: str, cause: BaseException) -> None:
        """End the process for a cause seen at a place."""


def stop_process(code: ExitCode, where: str, cause: BaseException) -> NoReturn:
    """Log the cause and end the process at once, without cleaning up.

    Nothing is closed on purpose: an open transaction must be left to the successor, never committed or retried.
    """
    _log.critical(
        "worker stops itself: exit_code=%d exit_name=%s where=%s cause=%s message=%s",
        code,
        code.name,
        where,
        type(cause).__name__,
        cause,
        exc_info=cause,
    )
    leave(code)


def leave(code: ExitCode) -> NoReturn:
    """End the process without cleaning up; the log is written out."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
