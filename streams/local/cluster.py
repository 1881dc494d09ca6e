"""One address of a Kafka cluster: the one that is set, else a local broker."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.local.broker import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ADDRESS_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"


@contextmanager
def kafka_cluster(
    folder: Path, *, address: str | None = None, config: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield bootstrap servers: `address`, else `$KAFKA_BOOTSTRAP_SERVERS`, else those of a local broker on `folder`.

    An existing cluster is left as it is; a local broker, started with `config`, is stopped at the end.

    Raises:
        BrokerUnavailableError: no address is set and the local broker cannot run.
    """
    existing = address or os.environ.get(ADDRESS_VARIABLE)
    if existing:
        yield existing
        return
    with LocalKafka(folder, config=config) as broker:
        yield broker.bootstrap_servers
