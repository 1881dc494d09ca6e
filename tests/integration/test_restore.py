"""Backup and restore on one machine: a copied folder is as good as the original, and a lost warehouse fills again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from streams.clock import now_us
from streams.core.policy import parse_policy
from streams.kafka.producing import Sender
from streams.local import LocalKafka
from streams.names import Topic
from streams.replay.history import TopicHistory
from streams.replay.trying import shadow, try_on
from streams.rig.processes import Service, environment
from streams.rig.settling import wait_until_settled
from streams.rig.stage import Stage, set_stage
from streams.rig.storing import store_the_rest
from streams.settings import Settings
from streams.sim.bots import plan
from streams.sim.fleet import Habit, fleet
from streams.sim.signing import to_wire
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.warehouse.sink import SinkError, SinkOptions, read_ends
from streams.wire.messages import encode_reference_price
from tests.floor import UNHURRIED_MS
from tests.integration.engine_rig import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ORDERS = 80


def decide(stage: Stage, settings: Settings, seed: int) -> None:
    """Let a worker decide some orders, and store them."""
    worker = Service(f"worker-{seed}", ["worker"], settings, settings.home / "logs")
    sender = Sender(settings.kafka_bootstrap_servers, settings.kafka_security)
    for market in stage.markets.values():
        price = market.reference(market.first_price_e13, now_us())
        sender.send(Topic.MARKETS_REFERENCE, market.symbol.encode(), encode_reference_price(price))
    for message in plan(list(read_tape(BUNDLED_TAPE)), stage.bots, ORDERS, seed, markets=stage.markets):
        wire = to_wire(message, stage.keys, now_us())
        sender.send(Topic.ORDERS_REQUESTED, wire.key, wire.value, wire.headers)
    sender.flush()
    worker.start()
    try:
        wait_until_settled(settings, check=worker.require_running)
    finally:
        worker.stop()
    store_the_rest(settings)


def is_led(settings: Settings) -> bool:
    """Tell whether the broker leads its partitions again, some time after it answers."""
    options = SinkOptions(settings.kafka_bootstrap_servers)
    with closing(options.consumer()) as consumer:
        try:
            return bool(read_ends(consumer, options))
        except (KafkaException, SinkError):
            return False


def verified(settings: Settings) -> dict[str, Any]:
    """Return what `audit verify` says of topics and warehouse."""
    command = [sys.executable, "-m", "streams", "audit", "verify", "--json"]
    done = subprocess.run(
        command, env={**os.environ, **environment(settings)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["verified"] is True
    return result


def test_a_copied_folder_goes_on_and_a_lost_warehouse_fills_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with LocalKafka(first / "kafka") as broker:
        settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers, fetch_wait_ms_min=UNHURRIED_MS)
        stage = set_stage(first, settings, list(read_tape(BUNDLED_TAPE)), fleet(2, (Habit.MAKER, Habit.TAKER)))
        decide(stage, stage.settings, seed=1)
        before = verified(stage.settings)
    assert before["leaves"] > ORDERS
    shutil.copytree(first, second, symlinks=True)  # the backup
    shutil.rmtree(first)  # the loss
    with LocalKafka(second / "kafka") as broker:
        settings = replace(
            stage.settings,
            home=second,
            kafka_bootstrap_servers=broker.bootstrap_servers,
            warehouse_dsn=f"chdb:///{second / 'warehouse'}",
            pki_dir=second / "pki",
        )
        assert wait_until(lambda: is_led(settings), 60)
        shutil.rmtree(second / "warehouse")  # another loss
        store_the_rest(settings)
        assert verified(settings) == before
        decide(stage, settings, seed=2)
        after = verified(settings)
        # What real workers decided, both lives of them, is decided again under the policies that were in force.
        for agent_id, document in stage.policies.items():
            past = try_on(TopicHistory(settings), "topic", parse_policy(document), every=False, orders=None).tally
            assert past.orders > ORDERS / 2, agent_id
            assert past.changes == Counter(), agent_id
        live = shadow(TopicHistory(settings), parse_policy(document), every=False, seconds=3, tell=pytest.fail).tally
        assert live.orders > 0
        assert live.changes == Counter()
    assert after["leaves"] >= before["leaves"] + ORDERS
    assert after["logs"] == before["logs"]
