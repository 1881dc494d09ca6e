"""Metrics and health of a real worker: every name that dashboards and alerts use is there, and ready means deciding."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from streams.client import connect
from streams.pulse import Pulse
from streams.telemetry.enforcer import EnforcerMetrics
from streams.telemetry.service import ServiceCollector
from tests.enforcer_world import free_port
from tests.floor import BOTS, open_floor, small_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.settings import Settings

pytestmark = pytest.mark.integration

BOT = BOTS[0]
INFRA = Path(__file__).parent.parent.parent / "infra"
RULES = INFRA / "prometheus" / "alerts.yml"
DASHBOARD = INFRA / "grafana" / "portcullis.json"
NAME = re.compile(r"\b(?:portcullis|process)_[a-z_]+\b")


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def samples(port: int) -> dict[str, float]:
    """Return each sample's sum over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(port, "/metrics")[1].decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


class Receiver(BaseHTTPRequestHandler):
    """Takes spans by OTLP over HTTP."""

    spans: ClassVar[Queue[Any]] = Queue()

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def floor(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch, ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # ms; 5 s by default
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        folder, endpoint = tmp_path_factory.mktemp("telemetry"), f"http://127.0.0.1:{receiver.server_port}"
        with open_floor(folder, kafka, metrics_port=free_port(), otlp_endpoint=endpoint) as settings:
            yield settings
        receiver.shutdown()


def test_a_worker_counts_what_it_decides(floor: Settings) -> None:
    with connect(floor, BOT) as bot:
        for region in ("eu-west-1", "eu-west-1", "mars"):
            bot.submit(small_order(BOT, region=region), timeout_s=60)
    found = samples(floor.metrics_port)
    assert found["portcullis_decisions_total"] == 3
    assert found["portcullis_decision_latency_seconds_count"] == 3
    assert found["portcullis_decision_latency_seconds_sum"] > 0
    assert found["portcullis_score_count"] == 3
    assert found["portcullis_transactions_total"] > 0
    assert found["portcullis_log_leaves"] >= 3
    assert found["portcullis_checkpoint_age_seconds"] < 600
    assert found["portcullis_consumer_lag_records"] == 0


def test_a_worker_tells_its_part_of_a_trace_by_otlp(floor: Settings) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with connect(floor, BOT) as bot:
        bot.submit(small_order(BOT), timeout_s=60, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    span = Receiver.spans.get(timeout=60)
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("decide order", trace, "b7ad6b7169203331")
    told = {attribute.key: attribute.value.string_value for attribute in span.attributes}
    assert (told["portcullis.agent_id"], told["portcullis.decision"]) == (BOT, "APPROVED")


def test_dashboards_and_alerts_use_names_that_exist(floor: Settings) -> None:
    others = (EnforcerMetrics(), ServiceCollector(Pulse("witness")))
    beside = {sample.name for one in others for family in one.collect() for sample in family.samples}
    families = text_string_to_metric_families(get(floor.metrics_port, "/metrics")[1].decode())
    # A counter with labels has no sample before its first event.
    known = {sample.name for family in families for sample in family.samples} | beside
    known |= {"portcullis_dead_letters_total", "portcullis_alerts_total", "portcullis_enforcer_answers_total"}
    document = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    used = set(NAME.findall(" ".join(expressions) + RULES.read_text().replace("portcullis-", "")))
    assert len(used) > 15
    assert used <= known


def test_ready_is_judged_by_progress(floor: Settings) -> None:
    status, body = get(floor.metrics_port, "/readyz")
    assert (status, json.loads(body)["ok"]) == (200, True)
    assert set(json.loads(body)["parts"]) == {"loop", "assigned", "positioned", "references", "progress"}
    assert get(floor.metrics_port, "/livez")[0] == get(floor.metrics_port, "/healthz")[0] == 200
    assert get(floor.metrics_port, "/nowhere")[0] == 404
