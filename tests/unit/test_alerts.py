"""Alert rules and the dashboard: loaded by Prometheus' own tool, each alert tried on figures that must raise it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infra" / "prometheus" / "alerts.yml"
CONFIGURATIONS = (RULES.with_name("prometheus.yml"), ROOT / "infra" / "observability" / "prometheus.yml")
DASHBOARD = ROOT / "infra" / "grafana" / "portcullis.json"
PROMTOOL = shutil.which("promtool")
loaded_by_prometheus = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool (Debian: prometheus): rules are not loaded"
)

LANE = 'instance="a", partition="0"'
# Alert → series, in promtool's notation: value, what is added every 15 s, how often.
RAISED = {
    "PortcullisWorkerDown": ['up{job="portcullis-worker", instance="a"} 0x40'],
    "PortcullisLaneStalled": [
        f"portcullis_progress_age_seconds{{{LANE}}} 60+60x40",
        f'portcullis_consumer_lag_records{{{LANE}, topic="orders.requested"}} 5x40',
    ],
    "PortcullisLagGrows": [f'portcullis_consumer_lag_records{{{LANE}, topic="t.orders.requested"}} 6000+10x40'],
    "PortcullisDecisionsSlow": [
        'portcullis_decision_latency_seconds_bucket{le="0.25"} 0x40',
        'portcullis_decision_latency_seconds_bucket{le="1.0"} 0+600x40',
        'portcullis_decision_latency_seconds_bucket{le="+Inf"} 0+600x40',
    ],
    "PortcullisCheckpointOld": [
        f"portcullis_checkpoint_age_seconds{{{LANE}}} 90+60x40",
        f'portcullis_consumer_lag_records{{{LANE}, topic="orders.requested"}} 5x40',
    ],
    "PortcullisBotHalted": ['portcullis_bots_restricted{state="HALTED"} 1x40'],
    "PortcullisForgeries": ['portcullis_decisions_total{reason="SIGNATURE_INVALID", decision="REJECTED"} 0+30x40'],
    "PortcullisUnreadable": ['portcullis_dead_letters_total{reason="NOT_AVRO"} 0+30x40'],
    "PortcullisNoPrices": [
        'portcullis_decisions_total{reason="REFERENCE_PRICE_UNAVAILABLE", decision="REJECTED"} 0+30x40'
    ],
    "PortcullisEnforcerTimeouts": [
        'portcullis_enforcer_answers_total{status="504"} 0+10x40',
        'portcullis_enforcer_answers_total{status="200"} 0+10x40',
    ],
    "PortcullisEnforcerSlow": [
        'portcullis_enforcer_seconds_bucket{le="0.1"} 0x40',
        'portcullis_enforcer_seconds_bucket{le="0.25"} 0+600x40',
        'portcullis_enforcer_seconds_bucket{le="+Inf"} 0+600x40',
    ],
    "PortcullisServiceNotReady": ['portcullis_service_ready{service="archive"} 0x40'],
    "PortcullisServiceBehind": ['portcullis_service_behind_records{service="warehouse"} 60000x40'],
    "PortcullisServiceHangs": ['portcullis_service_turn_age_seconds{service="witness"} 130+60x40'],
}
# An idle lane commits nothing and signs nothing, and nobody is told.
QUIET = [
    'up{job="portcullis-worker", instance="a"} 1x40',
    f"portcullis_progress_age_seconds{{{LANE}}} 60+60x40",
    f"portcullis_checkpoint_age_seconds{{{LANE}}} 90+60x40",
    f'portcullis_consumer_lag_records{{{LANE}, topic="orders.requested"}} 0x40',
    'portcullis_decisions_total{reason="NONE", decision="APPROVED"} 0+6000x40',
    'portcullis_decision_latency_seconds_bucket{le="0.25"} 0+600x40',
    'portcullis_decision_latency_seconds_bucket{le="+Inf"} 0+600x40',
    'portcullis_enforcer_answers_total{status="200"} 0+600x40',
    'portcullis_bots_restricted{state="HALTED"} 0x40',
    'portcullis_service_ready{service="archive"} 1x40',
    'portcullis_service_turn_age_seconds{service="archive"} 1x40',
    'portcullis_service_behind_records{service="archive"} 100x40',
]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def tried(series: list[str], expression: str, value: int) -> dict[str, Any]:
    """Return a test in promtool's form: after ten minutes of these series an expression has a value."""
    given = [dict(zip(("series", "values"), one.rsplit(" ", 1), strict=True)) for one in series]
    expected = {"expr": expression, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": value}]}
    return {"interval": "15s", "input_series": given, "promql_expr_test": [expected]}


def test_every_alert_has_its_line_in_the_run_book_and_is_tried() -> None:
    book = (ROOT / "topology" / "runbook.md").read_text()
    assert [rule["alert"] for rule in rules()] == list(RAISED)
    for rule in rules():
        name = rule["alert"].lower()
        assert f'<a id="{name}"></a>{rule["alert"]} |' in book
        assert rule["annotations"]["runbook"] == f"topology/runbook.md#{name}"
        assert rule["labels"]["severity"] in {"warning", "critical"}


@loaded_by_prometheus
def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_quiet(tmp_path: Path) -> None:
    tests = [
        tried(series, f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})', 1)
        for alert, series in RAISED.items()
    ]
    tests.append(tried(QUIET, "count(ALERTS) or vector(0)", 0))
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@loaded_by_prometheus
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_prometheus_takes_the_configuration(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "prometheus.yml"
    copy.write_text(path.read_text())
    (tmp_path / "alerts.yml").write_text(RULES.read_text())
    done = subprocess.run(["promtool", "check", "config", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_configurations_ask_the_same_services() -> None:
    asked = [
        {job["job_name"]: job["static_configs"][0]["targets"][0].rpartition(":")[2] for job in found["scrape_configs"]}
        for found in (yaml.safe_load(path.read_text()) for path in CONFIGURATIONS)
    ]
    assert asked[0] == asked[1]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for job, port in asked[1].items():
        assert services[job.removeprefix("portcullis-")]["environment"]["PORTCULLIS_METRICS_PORT"] == port


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    document = json.loads(DASHBOARD.read_text())
    assert document["uid"] == "portcullis"
    assert document["schemaVersion"] >= 36
    identifiers = [panel["id"] for panel in document["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in document["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert {"h", "w", "x", "y"} <= panel["gridPos"].keys()


@loaded_by_prometheus
def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [
        target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]
    ]
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
