"""The real worker with a client that fails once, on cue: before a request is sent, or after it was carried out."""

import json
import os
import sys
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streams.cli.worker import worker_command

NOT_APPLIED = "fails, not applied"
APPLIED = "fails, but applied"
BROKEN = {"lost connection": KafkaConnectionError("planted"), "bug": RuntimeError("planted")}
MARK = "planted fault:"


def plant(request_name: str, when: str, error: BaseException, after: int) -> None:
    """Fail the one request of this name that comes after so many others, on any connection."""
    send = AIOKafkaClient.send
    left = after

    async def faulty(self: AIOKafkaClient, node_id: int, request: Any, **options: Any) -> Any:
        nonlocal left
        hit = type(request).__name__ == request_name and left == 0
        left -= type(request).__name__ == request_name
        if hit and when == NOT_APPLIED:
            sys.stderr.write(f"{MARK} {request_name} {when}\n")
            raise error
        response = await send(self, node_id, request, **options)
        if hit:
            sys.stderr.write(f"{MARK} {request_name} {when}\n")
            raise error
        return response

    AIOKafkaClient.send = faulty


def main() -> None:
    environment, fault = (json.loads(argument) for argument in sys.argv[1:])
    os.environ.update(environment)
    plant(fault["request"], fault["when"], BROKEN[fault["how"]], fault["after"])
    worker_command()


if __name__ == "__main__":
    main()
