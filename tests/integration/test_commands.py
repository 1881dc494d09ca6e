"""The operator's commands against a real cluster and a real worker, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streams.kafka.producing import Sender
from streams.names import Topic
from streams.settings import Settings
from streams.sim.markets import markets_of
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.topics import discard, load_topology
from streams.warehouse.connection import embedded_folder, reader_file
from streams.wire.messages import encode_reference_price
from tests.conftest import unique_prefix
from tests.gate_world import DOCUMENT
from tests.integration.engine_rig import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

BOT = "cli_bot"


class Shell:
    """Runs `portcullis` as an operator would."""

    def __init__(self, home: Path, servers: str, prefix: str) -> None:
        self.home, self.servers, self.prefix = home, servers, prefix
        self.environment = {
            **os.environ,
            "PORTCULLIS_HOME": str(home),
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "PORTCULLIS_TOPIC_PREFIX": prefix,
            "PORTCULLIS_INSTANCE_ID": "worker-1",
        }

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "streams", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        lines = done.stdout.splitlines()
        assert lines, done.stderr[-2000:]
        return done.returncode, json.loads(lines[-1])

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{arguments[0]}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", "streams", *arguments], env=self.environment, stderr=log)

    def prices(self) -> None:
        ticks = list(islice(read_tape(BUNDLED_TAPE), 500))
        sender = Sender(self.servers, {})
        for market in markets_of(ticks).values():
            price = market.reference(market.first_price_e13, time.time_ns() // 1000)
            topic = self.prefix + Topic.MARKETS_REFERENCE
            sender.send(topic, market.symbol.encode(), encode_reference_price(price))
        sender.flush()

    def order(self, *changes: str) -> tuple[int, dict[str, Any]]:
        self.prices()
        return self.run("order", "submit", BOT, "--side", "BUY", "--quantity", "0.01", "--symbol", "BTC_USDT", *changes)


def policy() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    document["agent_id"] = BOT
    document["valid_from"], document["valid_until"] = "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"
    document["scope"]["trading_hours"] |= {"start": "00:00", "end": "00:00", "exclude_weekends": False, "holidays": []}
    document["risk_controls"]["max_consecutive_failures"] = 50
    today = datetime.now(UTC).date()
    document["testing"]["fitness_test_due"] = f"{today + timedelta(days=300)}"
    for passed in document["testing"]["last_passed"].values():
        passed["day"] = f"{today}"
    return document


@pytest.fixture(scope="module")
def shell(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home, prefix = tmp_path_factory.mktemp("home"), unique_prefix()
    made = Shell(home, kafka, prefix)
    code, drift = made.run("topology", "plan")
    assert code == 1
    assert drift["drift"]
    assert made.run("topology", "apply")[0] == 0
    assert made.run("topology", "plan") == (0, {"drift": [], "mended": []})
    (home / "policy.json").write_text(json.dumps(policy()))
    code, registered = made.run("agent", "register", str(home / "policy.json"))
    assert (code, registered["registered"]) == (0, True)
    worker = made.start("worker")
    try:
        yield made
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
        discard(load_topology(prefix=prefix), kafka)


def test_a_policy_that_does_not_hold_is_refused_with_every_problem(shell: Shell) -> None:
    broken = policy()
    broken["scope"]["max_order_value_eur"] = "0"
    del broken["risk_controls"]["price_collar_bps"]
    path = shell.home / "broken.json"
    path.write_text(json.dumps(broken))
    code, result = shell.run("agent", "register", str(path))
    assert code == 1
    assert len(result["problems"]) == 2
    assert any("max_order_value_eur" in problem for problem in result["problems"])


def test_an_order_is_decided_and_a_kill_is_proved_and_released_by_somebody_else(shell: Shell) -> None:
    code, approved = shell.order()
    assert (code, approved["reason"]) == (0, "NONE")
    code, refused = shell.order("--venue", "XXXX")
    assert (code, refused["reason"]) == (1, "VENUE_NOT_ALLOWED")
    assert refused["failures"][0]["observed"] == "XXXX"

    code, killed = shell.run("agent", "kill", BOT, "--by", "ceo@acme", "--reason", "odd orders")
    assert (code, killed["applied"]) == (0, True)
    assert len(killed["partitions"]) == 1
    assert shell.order()[1]["reason"] == "KILL_SWITCH_ENGAGED"
    assert shell.run("agent", "show", BOT)[1]["trading_state"] == "HALTED"

    code, same = shell.run("agent", "release", BOT, "--by", "ceo@acme", "--reason", "I was wrong")
    assert (code, same["applied"]) == (1, False)
    code, other = shell.run("agent", "release", BOT, "--by", "cfo@acme", "--reason", "looked at it")
    assert (code, other["applied"]) == (0, True)
    assert shell.order()[1]["reason"] == "NONE"


def test_a_kill_of_everything_is_in_force_in_every_partition(shell: Shell) -> None:
    code, killed = shell.run("agent", "kill", "--all", "--by", "cfo@acme", "--reason", "drill")
    assert (code, killed["applied"]) == (0, True)
    assert len(killed["partitions"]) == load_topology().lanes
    assert shell.order()[1]["reason"] == "KILL_SWITCH_ENGAGED"
    code, released = shell.run("agent", "release", "--all", "--by", "ceo@acme", "--reason", "over")
    assert (code, released["applied"]) == (0, True)


def test_the_log_verifies_and_a_batch_of_it_too(shell: Shell) -> None:
    sink = shell.start("warehouse")
    try:
        folder = embedded_folder(Settings(home=shell.home).warehouse)
        assert folder is not None
        assert wait_until(reader_file(folder).exists, 60)  # until it owns the folder nobody else may open it
        deadline = time.monotonic() + 60
        while not (verified := shell.run("audit", "verify"))[1]["verified"]:
            assert time.monotonic() < deadline, verified
    finally:
        sink.terminate()
        assert sink.wait(30) == 0
    code, audit = verified
    assert (code, audit["problems"]) == (0, [])
    assert audit["leaves"] == audit["warehouse_rows"] > 10
    out = shell.home / "batch"
    code, batch = shell.run("report", "export", "--from", "2020-01-01", "--to", "2040-01-01", "--out", str(out))
    assert code == 0
    code, report = shell.run("report", "verify", str(out))
    assert (code, report["verified"]) == (0, True)
    assert report["records"] == batch["records"] > 5
