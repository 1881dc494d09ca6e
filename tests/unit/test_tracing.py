"""Traces: one from the request to the verdict, of orders that ask for it, and nothing that somebody made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams.names import Topic
from streams.sim.bots import plan
from streams.sim.fleet import GOOD_HABITS, fleet
from streams.sim.signing import to_wire
from streams.telemetry.tracing import Tracing
from streams.wire.headers import TRACEPARENT, find_header, traceparent_of
from tests.sim_world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def traced() -> tuple[Tracing, Callable[[], list[ReadableSpan]]]:
    exporter = InMemorySpanExporter()
    return Tracing("test", SimpleSpanProcessor(exporter)), lambda: list(exporter.get_finished_spans())


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (GIVEN.encode(), True),
        (b"", False),
        (GIVEN.upper().encode(), False),
        (GIVEN.encode() + b"-more", False),
        (f"ff-{TRACE}-b7ad6b7169203331-01".encode(), False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01".encode(), False),
        (f"00-{TRACE}-{'0' * 16}-01".encode(), False),
        (b"\xff" * 55, False),
    ],
)
def test_only_a_traceparent_is_one(value: bytes, taken: bool) -> None:  # noqa: FBT001
    assert traceparent_of(value) == (value.decode("latin-1") if taken else "")


def test_a_request_joins_its_callers_trace_and_hands_it_on(
    traced: tuple[Tracing, Callable[[], list[ReadableSpan]]],
) -> None:
    tracing, spans = traced
    with tracing.request(GIVEN) as span:
        handed_on = span.traceparent
        span.end(422, "DAILY_VALUE_LIMIT_EXCEEDED")
    with tracing.request("") as alone:
        alone.end(504, "VERDICT_TIMEOUT")
    joined, own = spans()
    assert handed_on.split("-")[1] == TRACE
    assert handed_on != GIVEN
    assert joined.parent is not None
    assert f"{joined.parent.span_id:016x}" == "b7ad6b7169203331"
    assert joined.attributes is not None
    assert joined.attributes["portcullis.outcome"] == "DAILY_VALUE_LIMIT_EXCEEDED"
    assert (joined.status.is_ok or joined.status.is_unset, own.status.is_ok or own.status.is_unset) == (True, False)
    assert own.parent is None


def test_the_gate_makes_a_span_of_orders_that_bring_a_trace_and_of_no_others(
    traced: tuple[Tracing, Callable[[], list[ReadableSpan]]], tmp_path: Path
) -> None:
    tracing, spans = traced
    world = World(tmp_path, fleet(2, GOOD_HABITS), trace=tracing.decision)
    world.register_all()
    world.prices()
    traces = {0: (TRACEPARENT, GIVEN.encode()), 1: (TRACEPARENT, b"00-made-up-01")}
    for number, message in enumerate(plan(world.ticks, world.bots, 4, 1, markets=world.markets)):
        wire = to_wire(message, world.keys, world.now_us)
        headers = (*wire.headers, *((traces[number],) if number in traces else ()))
        world.produce(Topic.ORDERS_REQUESTED, wire.key, wire.value, headers)
    world.decide()
    (span,) = spans()
    verdicts = [r for r in world.records if r.topic in {Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED}]
    carried = [text for record in verdicts if (text := find_header(record.headers, TRACEPARENT))]
    assert len(verdicts) == 4
    assert span.context is not None
    assert carried == [f"00-{TRACE}-{span.context.span_id:016x}-01".encode()]
    assert span.attributes is not None
    assert span.attributes["portcullis.decision"] in {"APPROVED", "REJECTED"}
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time >= span.start_time > 0


def test_without_tracing_a_verdict_carries_no_trace(tmp_path: Path) -> None:
    world = World(tmp_path, fleet(2, GOOD_HABITS))
    world.register_all()
    world.prices()
    (message,) = plan(world.ticks, world.bots, 1, 1, markets=world.markets)
    wire = to_wire(message, world.keys, world.now_us)
    world.produce(Topic.ORDERS_REQUESTED, wire.key, wire.value, (*wire.headers, (TRACEPARENT, GIVEN.encode())))
    world.decide()
    (verdict,) = (r for r in world.records if r.topic in {Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED})
    assert find_header(verdict.headers, TRACEPARENT) == b""
