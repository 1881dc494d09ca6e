"""Gauges: CPU time and memory of other processes, and how far a consumer group has got."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCHED_CLOCK: Final = 2
_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 0.1
_MOVING: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class GaugeError(PortcullisError):
    """Something cannot be measured here."""


def process_tree(pid: int) -> list[int]:
    """Return a process and its descendants. Source: proc(5), /proc/pid/task/tid/children."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:  # ended meanwhile
                continue
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Return user and system time of processes, all threads and descendants, in seconds.

    Source: clock_getcpuclockid(3): the clock of a process is `~pid << 3 | 2`.
    Raises: GaugeError where the system has no such clocks or a process is gone.
    """
    if sys.platform != "linux":
        raise GaugeError(f"CPU time of other processes: Linux required, is {sys.platform}")
    try:
        return sum(time.clock_gettime(~one << 3 | _SCHED_CLOCK) for pid in pids for one in process_tree(pid))
    except OSError as error:
        raise GaugeError(f"a measured process ended: {error}") from None


def rss_mb(pids: Iterable[int]) -> float:
    """Return the resident memory of processes and their descendants, added up, in MB.

    Raises: GaugeError where a process is gone.
    """
    return _memory_mb(pids, "VmRSS")


def peak_rss_mb(pids: Iterable[int]) -> float:
    """Return the peak resident memory of processes and their descendants, added up, in MB.

    Raises: GaugeError where a process is gone.
    """
    return _memory_mb(pids, "VmHWM")


def _memory_mb(pids: Iterable[int], field: str) -> float:
    total_kb = 0
    for pid in pids:
        for one in process_tree(pid):
            try:
                status = Path(f"/proc/{one}/status").read_text()
            except OSError as error:
                raise GaugeError(f"a measured process ended: {error}") from None
            total_kb += next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))
    return total_kb / 1024


class Progress:
    """How many records of a topic a consumer group has committed: what is decided and seen by everybody."""

    def __init__(self, bootstrap_servers: str, security: Mapping[str, str], group: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, **security})

    def committed(self, topic: str, partitions: int) -> int:
        """Return the sum of the group's offsets; the topic must begin at offset 0 and hold no transactions.

        Raises: KafkaException where the cluster does not answer.
        """
        asked = [TopicPartition(topic, number) for number in range(partitions)]
        answered = self._ask(asked)
        for partition in answered:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return sum(max(0, partition.offset) for partition in answered)

    def _ask(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        """Ask again while the group's coordinator moves in: a new group has none for a moment."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                return self._consumer.committed(asked, timeout=_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
