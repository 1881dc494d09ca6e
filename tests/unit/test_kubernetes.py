"""The Kubernetes files: against the API's schemas, and against what a platform team asks of a pod."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from streams.settings import load_settings
from streams.topics import load_topology
from tests.make_kubernetes import VERSIONS
from tests.make_strimzi import made

FOLDER = Path(__file__).parents[2] / "infra" / "kubernetes"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
VECTORS = Path(__file__).parents[1] / "vectors"
API = json.loads((VECTORS / "kubernetes.json").read_text())["schemas"]
OPERATORS = json.loads((VECTORS / "operators.json").read_text())["schemas"]
OWN_API = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"}

Resource = dict[str, Any]


@cache
def resources() -> tuple[tuple[str, Resource], ...]:
    return tuple((path.name, document) for path in FILES for document in yaml.safe_load_all(path.read_text()))


def of_kind(*kinds: str) -> list[Resource]:
    return [resource for _, resource in resources() if resource["kind"] in kinds]


def named(kind: str, name: str) -> Resource:
    (found,) = (resource for resource in of_kind(kind) if resource["metadata"]["name"] == name)
    return found


def pods() -> Iterator[tuple[str, Resource]]:
    for workload in of_kind("Deployment", "StatefulSet"):
        yield workload["metadata"]["name"], workload["spec"]["template"]


def env(container: Resource) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_the_api_takes(version: str) -> None:
    own = [resource for _, resource in resources() if resource["apiVersion"] in OWN_API]
    assert len(own) >= 30
    for resource in own:
        assert problems_of(resource, API[version]) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_would_be_found(version: str) -> None:
    worker = named("StatefulSet", "worker")
    wrong = {**worker, "spec": {**worker["spec"], "replica": 2}}
    assert len(problems_of(wrong, API[version])) == 1
    wrong = {**worker, "spec": {**worker["spec"], "replicas": "two"}}
    assert len(problems_of(wrong, API[version])) == 1


def of_operators() -> list[Resource]:
    return [resource for _, resource in resources() if resource["apiVersion"] not in OWN_API]


def problems_of(resource: Resource, schemas: dict[str, Any]) -> list[str]:
    validator = jsonschema_rs.validator_for(schemas[f"{resource['apiVersion']} {resource['kind']}"])
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(resource)]


def test_every_object_of_an_operator_is_what_its_definition_takes() -> None:
    assert len(of_operators()) >= 38
    for resource in of_operators():
        assert problems_of(resource, OPERATORS) == [], (resource["kind"], resource["metadata"]["name"])


@pytest.mark.parametrize(
    ("kind", "name", "spec", "problem"),
    [
        ("Kafka", "portcullis", {"kafkaa": {}}, "kafkaa"),
        ("KafkaTopic", "audit.events", {"partitions": "four"}, "spec/partitions"),
        ("KafkaUser", "worker", {"authentication": {"type": "password"}}, "spec/authentication/type"),
        ("ScaledObject", "worker", {"triggers": [{"type": "kafka"}]}, "metadata"),
        ("ClickHouseCluster", "portcullis", {"shards": -1}, "spec/shards"),
    ],
)
def test_what_an_operator_would_refuse_is_found(kind: str, name: str, spec: Resource, problem: str) -> None:
    resource = named(kind, name)
    found = problems_of({**resource, "spec": {**resource["spec"], **spec}}, OPERATORS)
    assert any(problem in line for line in found), found


def test_no_object_is_there_twice_and_every_file_is_used() -> None:
    names = [(r["kind"], r["metadata"]["name"]) for _, r in resources()]
    assert len(set(names)) == len(names)
    for path in FILES:
        assert path.name in yaml.safe_load((path.parent / "kustomization.yaml").read_text())["resources"], path


def test_every_pod_is_confined() -> None:
    seen = dict(pods())
    assert set(seen) == {"worker", "warehouse", "desk", "witness", "archive", "notifier", "maker-01"}
    for name, template in seen.items():
        spec = template["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 10_000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"] == name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith(":latest"), name
        for volume in spec["volumes"]:
            assert "hostPath" not in volume, name


def test_every_service_is_asked_how_it_is() -> None:
    shared = named("ConfigMap", "portcullis")["data"]
    asked = 0
    for name, template in pods():
        for container in (c for c in template["spec"]["containers"] if c["image"].startswith("portcullis:")):
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert str(ports["metrics"]) == shared["PORTCULLIS_METRICS_PORT"], name
            for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                assert container[probe]["httpGet"]["path"] == path, name
                assert container[probe]["httpGet"]["port"] in ports, name
            asked += 1
    assert asked == 7


def test_every_pod_stays_in_the_eu() -> None:
    for name, template in pods():
        rule = template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (expression,) = rule["nodeSelectorTerms"][0]["matchExpressions"]
        assert expression["key"] == "topology.kubernetes.io/region", name
        assert expression["values"] == ["eu-west-1", "eu-central-1"], name


def test_no_secret_is_in_the_files() -> None:
    assert of_kind("Secret") == []
    for name, template in pods():
        for container in template["spec"]["containers"]:
            values = "".join(env(container).values())
            assert "://" not in values or values.startswith("https://127.0.0.1"), name


def test_settings_are_ones_that_the_services_know() -> None:
    shared = named("ConfigMap", "portcullis")["data"]
    settings = load_settings(shared)
    assert settings.kafka_security["security.protocol"] == "SSL"
    for name, template in pods():
        for container in template["spec"]["containers"]:
            if container["image"].startswith("portcullis:"):
                mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
                for variable in ("SSL_CA", "SSL_CERTIFICATE", "SSL_KEY"):
                    path = Path(shared[f"KAFKA_SECURITY_{variable}_LOCATION"])
                    assert str(path.parent) in mounts, name


def test_a_worker_keeps_its_name_and_its_log_key_is_its_own() -> None:
    (container,) = named("StatefulSet", "worker")["spec"]["template"]["spec"]["containers"]
    (instance,) = (entry for entry in container["env"] if entry["name"] == "PORTCULLIS_INSTANCE_ID")
    assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    holders = {name for name, template in pods() if "portcullis-log-key" in str(template)}
    assert holders == {"worker"}


def test_only_the_enforcer_can_prove_itself_to_kafka() -> None:
    spec = named("Deployment", "maker-01")["spec"]["template"]["spec"]
    bot, enforcer = (next(c for c in spec["containers"] if c["name"] == name) for name in ("bot", "enforcer"))
    assert {mount["name"] for mount in bot["volumeMounts"]} == {"certificate", "bot-tmp"}
    assert {"tls", "agents", "audit"} <= {mount["name"] for mount in enforcer["volumeMounts"]}
    assert all(mount.get("readOnly") for mount in enforcer["volumeMounts"] if mount["name"] not in {"audit", "tmp"})
    assert env(enforcer)["PORTCULLIS_ENFORCER_HOST"] == "127.0.0.1"
    (certificate,) = (volume for volume in spec["volumes"] if volume["name"] == "certificate")
    secrets = {source["secret"]["name"] for source in certificate["projected"]["sources"]}
    assert secrets == {"agent-maker-01"}  # a key that Kafka's listener does not know


def test_a_bots_pod_reaches_kafka_and_names_and_nothing_else() -> None:
    labels = named("Deployment", "maker-01")["spec"]["template"]["metadata"]["labels"]
    policies = [policy for policy in of_kind("NetworkPolicy") if selects(policy["spec"]["podSelector"], labels)]
    assert {policy["metadata"]["name"] for policy in policies} == {"nothing", "names", "kafka"}
    assert {kind for policy in policies for kind in policy["spec"]["policyTypes"]} == {"Ingress", "Egress"}
    assert not any(policy["spec"].get("ingress") for policy in policies)
    ports = {port["port"] for policy in policies for rule in policy["spec"].get("egress", ()) for port in rule["ports"]}
    assert ports == {53, 9093}
    nothing = named("NetworkPolicy", "nothing")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def selects(selector: Resource, labels: dict[str, str]) -> bool:
    """Tell whether a label selector of Kubernetes selects a pod with these labels."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    return all(_holds(rule, labels.get(rule["key"])) for rule in selector.get("matchExpressions", ()))


def _holds(rule: Resource, has: str | None) -> bool:
    operator: str = rule["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (has is not None) is (operator == "Exists")
    assert operator in ("In", "NotIn")
    listed: bool = has in rule["values"]
    return listed is (operator == "In")


def test_restarts_leave_enough_running() -> None:
    budgets = {b["metadata"]["name"]: b["spec"]["maxUnavailable"] for b in of_kind("PodDisruptionBudget")}
    assert budgets == {"worker": 1, "desk": 0}
    assert named("Deployment", "maker-01")["spec"]["strategy"] == {"type": "Recreate"}


def test_kafkas_resources_are_made_from_the_topology() -> None:
    for path, text in made().items():
        assert path.read_text() == text, "python -m tests.make_strimzi"


def test_nobody_may_delete_and_only_workers_decide() -> None:
    users = {user["metadata"]["name"]: user["spec"]["authorization"]["acls"] for user in of_kind("KafkaUser")}
    allowed = {
        (name, rule["resource"]["name"], op)
        for name, acls in users.items()
        for rule in acls
        for op in rule["operations"]
    }
    assert {operation for _, _, operation in allowed} == {"Read", "Write", "Create", "Describe", "DescribeConfigs"}
    assert {name for name, topic, op in allowed if topic == "audit.events" and op == "Write"} == {"worker"}
    assert {name for name, topic, op in allowed if topic == "orders.requested" and op == "Write"} == {
        "enforcer-maker-01"
    }
    mounted = {source["secret"]["name"] for _, template in pods() for volume in template["spec"]["volumes"]
               if volume["name"] == "tls" for source in volume["projected"]["sources"]}  # fmt: skip
    assert mounted - {"portcullis-cluster-ca-cert"} <= users.keys()


def test_workers_scale_by_lag_up_to_one_for_each_lane() -> None:
    scaled = named("ScaledObject", "worker")["spec"]
    assert scaled["scaleTargetRef"] == {"kind": "StatefulSet", "name": "worker"}
    assert scaled["maxReplicaCount"] == load_topology().lanes
    (trigger,) = scaled["triggers"]
    assert (trigger["metadata"]["topic"], trigger["metadata"]["consumerGroup"]) == ("orders.requested", "portcullis")


def test_the_cluster_authenticates_and_keeps_three_copies() -> None:
    kafka = named("Kafka", "portcullis")["spec"]["kafka"]
    assert [listener["authentication"] for listener in kafka["listeners"]] == [{"type": "tls"}]
    assert all(listener["tls"] for listener in kafka["listeners"])
    assert kafka["authorization"]["type"] == "simple"
    assert kafka["config"]["auto.create.topics.enable"] == "false"
    assert kafka["config"]["min.insync.replicas"] == load_topology().min_insync_replicas


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="kustomize is not on the path")
def test_the_overlay_builds() -> None:
    built = subprocess.run(
        ["kustomize", "build", FOLDER / "overlays" / "production"], capture_output=True, text=True, check=True
    )
    documents = list(yaml.safe_load_all(built.stdout))
    assert len(documents) == len(resources())
    for document in documents:
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "portcullis"
        if document["apiVersion"] in OWN_API:
            assert problems_of(document, API[VERSIONS[-1]]) == []
