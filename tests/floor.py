"""A trading floor for tests: topics of their own, development keys, registered bots, prices and a worker."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from streams.client import make_order
from streams.clock import now_us
from streams.kafka.producing import Sender
from streams.names import Topic
from streams.rig.processes import Service
from streams.rig.registering import register
from streams.settings import Settings
from streams.sim.markets import markets_of
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.topics import apply, discard, load_topology
from streams.wire.messages import encode_reference_price
from tests.conftest import unique_prefix
from tests.gate_world import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.core.orders import Order

BOTS = ("floor_bot", "other_bot")
DAY_MS = 86_400_000
UNHURRIED_MS = 60
"""A worker's shortest fetch wait where nobody waits for a verdict: fewer transactions than there can be."""


def policy(agent_id: str, **controls: Any) -> dict[str, Any]:
    """Return a policy under which a bot may trade at any hour, on prices as old as the test."""
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    document["agent_id"] = agent_id
    document["valid_from"], document["valid_until"] = "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"
    document["scope"]["trading_hours"] |= {"start": "00:00", "end": "00:00", "exclude_weekends": False, "holidays": []}
    document["risk_controls"] |= {
        "max_consecutive_failures": 1000,
        "message_rate_max_per_s": 1000,
        "execution_max": 100_000,
        "circuit_breaker_threshold": "0.99",
        "kill_switch_automatic": "0.999",
        "reference_max_age_ms": DAY_MS,
    }
    document["risk_controls"] |= controls
    today = datetime.now(UTC).date()
    document["testing"]["fitness_test_due"] = str(today + timedelta(days=300))
    for passed in document["testing"]["last_passed"].values():
        passed["day"] = str(today)
    return document


@contextmanager
def open_floor(folder: Path, servers: str, **changes: Any) -> Iterator[Settings]:
    """Yield the settings of a floor whose worker is deciding; everything is gone afterwards."""
    prefix = unique_prefix()
    settings = Settings(
        home=folder, kafka_bootstrap_servers=servers, topic_prefix=prefix, instance_id="worker-1", **changes
    )
    apply(load_topology(prefix=prefix), servers)
    for agent_id in BOTS:
        registered = register(settings, json.dumps(policy(agent_id)).encode(), None)
        assert not registered.problems, registered.problems
    prices(settings)
    worker = Service("worker", ["worker"], settings, folder / "logs")
    worker.start()
    try:
        worker.wait_for_line("ready at offsets")
        yield settings
    finally:
        worker.stop()
        discard(load_topology(prefix=prefix), servers)


def prices(settings: Settings) -> None:
    """Write each market's price as of now."""
    sender = Sender(settings.kafka_bootstrap_servers, {})
    for market in markets_of(list(islice(read_tape(BUNDLED_TAPE), 500))).values():
        value = encode_reference_price(market.reference(market.first_price_e13, now_us()))
        sender.send(settings.topic_prefix + Topic.MARKETS_REFERENCE, market.symbol.encode(), value)
    sender.flush()


def small_order(agent_id: str, **changes: Any) -> Order:
    """Return an order at the market that every check lets pass."""
    order = make_order(
        agent_id, symbol="BTC_USDT", side="BUY", quantity="0.001", ex_destination="XOFF", region="eu-west-1"
    )
    return replace(order, **changes)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a program works on the floor."""
    return {
        **os.environ,
        "PORTCULLIS_HOME": str(settings.home),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "PORTCULLIS_TOPIC_PREFIX": settings.topic_prefix,
    }
