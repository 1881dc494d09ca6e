"""Traces from request to verdict, by OTLP; nothing of OpenTelemetry is loaded where no endpoint is set.

The W3C header `traceparent` goes from the bot or its enforcer with the order, and from the gate with the verdict. A
worker makes a span for orders that bring one, and for no others: who asks decides how many are traced.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from streams.wire.headers import TRACEPARENT, find_header, traceparent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

    from streams.settings import Settings
    from streams.wire.decisions import Verdict
    from streams.wire.headers import Header

_PATH: Final = "/v1/traces"
_NS_PER_US: Final = 1_000
_SHUTDOWN_MS: Final = 2_000


class Tracing:
    """Makes the spans of one service."""

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": f"portcullis-{service}"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("portcullis")

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(_SHUTDOWN_MS)
        self._provider.shutdown()

    @contextmanager
    def request(self, traceparent: str) -> Iterator[RequestSpan]:
        """Make the span of an order's request, under the trace that it came with or a new one."""
        parent = extract({TRACEPARENT: traceparent} if traceparent else {})
        with self._tracer.start_as_current_span(
            "POST /v1/orders", parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield RequestSpan(span)

    def decision(self, headers: Sequence[Header], verdict: Verdict) -> tuple[Header, ...]:
        """Make the span from an order's append to its decision; return the header that goes with the verdict."""
        traceparent = traceparent_of(find_header(headers, TRACEPARENT))
        if not traceparent:
            return ()
        span = self._tracer.start_span(
            "decide order",
            extract({TRACEPARENT: traceparent}),
            SpanKind.CONSUMER,
            _attributes(verdict),
            start_time=verdict.request_time_us * _NS_PER_US,
        )
        span.end(verdict.decision_time_us * _NS_PER_US)
        return ((TRACEPARENT, _written(span).encode()),)


class RequestSpan:
    """The span of one request while it lasts."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = _written(span)

    def end(self, status: int, outcome: str) -> None:
        """Note the answer's HTTP status, and the decision or problem in it."""
        self._span.set_attributes({"http.response.status_code": status, "portcullis.outcome": outcome})
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))


def _written(span: Span) -> str:
    carrier: dict[str, str] = {}
    inject(carrier, set_span_in_context(span))
    return carrier[TRACEPARENT]


def _attributes(verdict: Verdict) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.partition.id": str(verdict.request_partition),
        "messaging.kafka.offset": verdict.request_offset,
        "portcullis.agent_id": verdict.agent_id,
        "portcullis.cl_ord_id": verdict.cl_ord_id,
        "portcullis.decision": "APPROVED" if verdict.approved else "REJECTED",
        "portcullis.reason": verdict.reason.value,
        "portcullis.log_index": verdict.log_index,
    }


@contextmanager
def open_tracing(
    settings: Settings, service: str, exporter: Callable[[str], SpanExporter] | None = None
) -> Iterator[Tracing]:
    """Yield the spans' maker of a service; they go to the settings' OTLP endpoint, and the last ones at the end."""
    tracing = Tracing(service, BatchSpanProcessor((exporter or _otlp)(settings.otlp_endpoint.rstrip("/") + _PATH)))
    try:
        yield tracing
    finally:
        tracing.close()


def _otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to load

    made: Any = OTLPSpanExporter(endpoint)
    exporter: SpanExporter = made
    return exporter
