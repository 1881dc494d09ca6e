"""What watchers see: a lane's figures add up, secrets stay out of logs, health names its parts."""

from __future__ import annotations

import io
import json
import logging
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from confluent_kafka import OFFSET_INVALID, TopicPartition

from streams.agents.tally import LATENCY_BOUNDS_US, Histogram, LaneTally
from streams.core.orders import TradingState
from streams.core.reasons import Reason
from streams.core.state import BotState
from streams.pulse import Pulse
from streams.settings import Settings
from streams.telemetry.enforcer import EnforcerMetrics
from streams.telemetry.logs import log_json
from streams.telemetry.redaction import HIDDEN, RedactingFormatter, redact
from streams.telemetry.server import serve_telemetry
from streams.telemetry.service import ServiceCollector, ready, serve_pulse
from streams.wire.decisions import Verdict
from tests.enforcer_world import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_780_000_000_000_000


def verdict(reason: Reason = Reason.NONE, *, waited_us: int = 0, score: float | None = 0.2) -> Verdict:
    approved = reason is Reason.NONE
    return Verdict(
        *("bot", "id", approved, reason, (), None, None, None, None, score),
        *(0, 0, NOW - waited_us, NOW, 0, b"", None, None),
    )


def test_a_batch_adds_up() -> None:
    halted = BotState(trading_state=TradingState.HALTED)
    tally = LaneTally([("a", halted), ("b", BotState())])
    tally.decided += [verdict(waited_us=1_000), verdict(waited_us=1_001), verdict(Reason.STALE_ORDER, score=None)]
    tally.finish(NOW, 7)
    tally.finish(NOW + 5, 7)
    assert tally.reasons == {"NONE": 2, "STALE_ORDER": 1}
    assert (tally.latency.counts[0], tally.latency.counts[1], tally.latency.total) == (2, 1, 2_001)
    assert sum(tally.score.counts) == 2
    assert (tally.log_size, tally.checkpoint_us, tally.decided) == (7, NOW, [])
    assert tally.restricted == {"a": TradingState.HALTED}
    tally.note_state("a", TradingState.ACTIVE)
    tally.note_state("b", TradingState.REDUCING)
    assert tally.restricted == {"b": TradingState.REDUCING}


@pytest.mark.parametrize("value", [0, LATENCY_BOUNDS_US[3], LATENCY_BOUNDS_US[-1], LATENCY_BOUNDS_US[-1] + 1])
def test_a_value_on_a_bound_is_in_its_bucket(value: int) -> None:
    histogram = Histogram(LATENCY_BOUNDS_US)
    histogram.add([value])
    place = histogram.counts.index(1)
    assert place == len(LATENCY_BOUNDS_US) or value <= LATENCY_BOUNDS_US[place]
    assert place == 0 or value > LATENCY_BOUNDS_US[place - 1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clickhouse://user:hunter2@host/db", f"clickhouse://user:{HIDDEN}@host/db"),
        ("sasl password=hunter2 next", f"sasl password={HIDDEN} next"),
        ('{"token": "hunter2"}', f'{{"token": {HIDDEN}'),
        ("leaf 7 of log 3", "leaf 7 of log 3"),
    ],
)
def test_secrets_stay_out_of_texts(text: str, shown: str) -> None:
    assert redact(text) == shown
    record = logging.LogRecord("a", logging.INFO, "a", 1, "%s", (text,), None)
    assert "hunter2" not in RedactingFormatter().format(record)


@pytest.fixture
def json_logs() -> Iterator[logging.Handler]:
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    level = root.level
    log_json("worker")
    yield next(one for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter))
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_logs_name_the_service_and_hide_secrets(json_logs: logging.Handler) -> None:
    handler, written = json_logs, io.StringIO()
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    logging.getLogger("a").warning("dsn clickhouse://u:hunter2@h")
    structlog.get_logger("b").info("stored", rows=3, password="hunter2")  # noqa: S106
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["service"] for line in lines] == ["worker", "worker"]
    assert (lines[1]["event"], lines[1]["rows"], lines[1]["password"]) == ("stored", 3, HIDDEN)
    assert "hunter2" not in written.getvalue()


def test_nothing_listens_where_no_port_is_set() -> None:
    with serve_telemetry(Settings(), EnforcerMetrics(), live=dict, ready=dict) as port:
        assert port == 0


def test_health_names_the_part_that_does_not_hold() -> None:
    settings = replace(Settings(), metrics_port=free_port())
    with serve_telemetry(
        settings, EnforcerMetrics(), live=lambda: {"loop": True}, ready=lambda: {"cluster": False, "loop": True}
    ) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez") as answer:
            assert json.load(answer)["ok"] is True
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
        with refused.value as error:
            assert (error.code, json.load(error)["parts"]["cluster"]) == (503, False)


def test_a_services_pulse_is_shown_and_judged() -> None:
    pulse = Pulse("archive", "following")
    settings = replace(Settings(), metrics_port=free_port())
    pulse.turn(3)
    pulse.turn(4)
    pulse.fail()
    assert ready(pulse) == {"loop": True, "following": False}
    pulse.set("following", holds=True)
    with serve_pulse(settings, pulse) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert json.load(answer)["parts"] == {"loop": True, "following": True}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert 'portcullis_service_records_total{service="archive"} 7.0' in text
        assert 'portcullis_service_failures_total{service="archive"} 1.0' in text
        pulse.turned_s -= 1_000
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/livez")
        refused.value.close()


def test_what_waits_is_looked_at_once_a_second() -> None:
    class Consumer:
        looks = 0

        def assignment(self) -> list[TopicPartition]:
            return [TopicPartition("a", number) for number in range(3)]

        def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
            self.looks += 1
            for place, offset in zip(places, (7, OFFSET_INVALID, 9), strict=True):
                place.offset = offset
            return places

        def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
            assert cached
            return 0, (10, 10, OFFSET_INVALID)[place.partition]

    pulse, consumer = Pulse("warehouse"), Consumer()
    pulse.watch(cast("Any", consumer))
    for _ in range(5):
        pulse.turn()
    assert (pulse.behind, consumer.looks) == (3, 1)
    assert {sample.value for family in ServiceCollector(pulse).collect() for sample in family.samples} >= {3}
