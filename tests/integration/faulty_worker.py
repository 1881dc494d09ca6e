"""The real worker with a client that fails on cue: before a request is sent, or after it was carried out."""

import json
import os
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streams.cli.worker import worker_command

NOT_APPLIED = "fails, not applied"
APPLIED = "fails, but applied"
BROKEN = {"lost connection": KafkaConnectionError("planted"), "bug": RuntimeError("planted")}
MARK = "planted fault:"


class Fault(NamedTuple):
    """Which request fails: the one of this name that comes after so many others since the fault before."""

    request: str
    when: str
    how: str
    after: int

    @property
    def mark(self) -> str:
        """The line of the worker's log that says it happened."""
        return f"{MARK} {self.request} {self.when}, {self.how}\n"


def plant(faults: Iterable[Fault]) -> None:
    """Let requests fail, one after the other, on any connection."""
    send, waiting, seen = AIOKafkaClient.send, deque(faults), 0

    async def faulty(self: AIOKafkaClient, node_id: int, request: Any, **options: Any) -> Any:
        nonlocal seen
        fault = waiting[0] if waiting and type(request).__name__ == waiting[0].request else None
        if fault is None:
            return await send(self, node_id, request, **options)
        seen += 1
        if seen <= fault.after:
            return await send(self, node_id, request, **options)
        waiting.popleft()
        seen = 0
        if fault.when == APPLIED:
            await send(self, node_id, request, **options)
        sys.stderr.write(fault.mark)
        raise BROKEN[fault.how]

    AIOKafkaClient.send = faulty


def main() -> None:
    environment, faults = (json.loads(argument) for argument in sys.argv[1:])
    os.environ.update(environment)
    plant(Fault(*fault) for fault in faults)
    worker_command()


if __name__ == "__main__":
    main()
