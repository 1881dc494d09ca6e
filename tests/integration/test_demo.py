"""The main job as a newcomer runs it: one command, and another that checks what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

pytestmark = pytest.mark.integration

ORDERS = 1_000


def run(home: Path, *arguments: str, expect: int = 0, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "streams", *arguments, "--json"],
        env={**os.environ, "PORTCULLIS_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == expect, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def demo(home: Path) -> dict[str, Any]:
    return run(home, "demo", "--orders", str(ORDERS), "--keep")


def test_every_request_is_answered_logged_and_stored(demo: dict[str, Any]) -> None:
    answered = demo["approved"] + sum(demo["rejected"].values()) + demo["dead_lettered"]
    assert demo["requested"] == ORDERS == answered
    assert demo["audit_events"] == demo["warehouse_rows"] > ORDERS
    assert demo["trades"] > 0
    assert demo["alerts"] > 0
    assert demo["breaker_events"] > 0
    assert set(demo["latency_ms"]) == {"p50", "p99"}
    assert demo["orders_per_second"] > 0


def test_the_independent_oracle_agrees_on_every_verdict(demo: dict[str, Any]) -> None:
    assert demo["oracle_mismatches"] == 0
    assert demo["problems"] == []
    assert demo["verified"] is True
    assert demo["ok"] is True


def test_bad_habits_are_refused_for_their_own_reasons(demo: dict[str, Any]) -> None:
    expected = {
        "MARKET_NOT_ALLOWED",
        "OUTSIDE_TRADING_HOURS",
        "SIGNATURE_INVALID",
        "CERTIFICATE_REVOKED",
        "DUPLICATE_ORDER",
        "STALE_ORDER",
        "ALGO_NOT_AUTHORISED",
        "DAILY_VALUE_LIMIT_EXCEEDED",
        "EXECUTION_THROTTLE_TRIPPED",
        "CIRCUIT_BREAKER_ACTIVE",
        "REGION_NOT_ALLOWED",
        "VENUE_NOT_ALLOWED",
    }
    assert expected <= demo["rejected"].keys()
    assert demo["dead_lettered"] > 0


def test_the_batch_verifies_with_its_public_keys_alone(home: Path, demo: dict[str, Any]) -> None:
    batch = Path(demo["report_batch"])
    report = run(home, "report", "verify", str(batch), "--keys", str(home / "demo" / "report.keys"))
    assert report["verified"] is True
    assert report["records"] == demo["report_records"]
    orders = batch / "orders.jsonl"
    lines = orders.read_bytes().splitlines(keepends=True)
    orders.write_bytes(b"".join(lines[1:]))
    tampered = run(home, "report", "verify", str(batch), "--keys", str(home / "demo" / "report.keys"), expect=1)
    assert tampered["verified"] is False
    assert tampered["problems"]
    orders.write_bytes(b"".join(lines))


def test_a_tape_of_ones_own_is_played_on_a_cluster_that_is_left_as_it_was(kafka: str, tmp_path: Path) -> None:
    tape = tmp_path / "ABCBTC_pump.csv"
    rows = [f"{1_600_000_000_000 + 500 * n},{'buy' if n % 3 else 'sell'},0.0000{1000 + n},12.5" for n in range(60)]
    tape.write_text("timestamp_ms,side,price,amount\n" + "\n".join(rows) + "\n")
    before = topics_of(kafka)
    options = ("--input", str(tape), "--orders", "200", "--bots", "7", "--seed", "3")
    result = run(tmp_path / "home", "demo", *options, KAFKA_BOOTSTRAP_SERVERS=kafka)
    assert result["ok"] is True
    assert result["requested"] == 200
    assert not (tmp_path / "home" / "demo" / "kafka").exists()
    assert topics_of(kafka) == before


def topics_of(servers: str) -> set[str]:
    topics = AdminClient({"bootstrap.servers": servers}).list_topics(timeout=10).topics
    return {str(name) for name in topics if "demo" in str(name)}
