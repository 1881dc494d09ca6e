"""The load's own process: `python -m streams.bench.sender JOB` sends a part of a load file, paced or at full speed."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from streams.kafka.producing import Sender
from streams.sim.load import read_load

_PACE_S: Final = 0.002
# It stands for many bots, each of which would have a connection of its own.
_IN_FLIGHT: Final = 5


@dataclass(frozen=True, slots=True)
class SendJob:
    """What to send: `count` messages from number `first` on, `rate` per second (0: as fast as the broker takes)."""

    bootstrap_servers: str
    topic: str
    load: str
    first: int
    count: int
    rate: float = 0.0
    security: dict[str, str] = field(default_factory=dict)

    def argument(self) -> str:
        """Return the job as the process's argument."""
        return orjson.dumps(asdict(self)).decode()


def send(job: SendJob) -> None:
    """Send the messages; each is sent at its own time however long others took."""
    sender = Sender(job.bootstrap_servers, job.security, **{"max.in.flight": _IN_FLIGHT})
    messages = list(islice(read_load(Path(job.load)), job.first, job.first + job.count)) if job.rate else None
    started_s = time.monotonic()
    for number, message in enumerate(messages or islice(read_load(Path(job.load)), job.first, job.first + job.count)):
        if job.rate:
            ahead_s = started_s + number / job.rate - time.monotonic()
            if ahead_s > _PACE_S:
                time.sleep(ahead_s)
        sender.send(job.topic, message.key, message.value, message.headers)
    sender.flush()


if __name__ == "__main__":
    send(SendJob(**orjson.loads(sys.argv[1])))
