"""The compose file and the image: what can be said of them without a Docker engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from streams.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("portcullis:")}
DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text()
# Started by `docker compose up`; everything else asks for its profile.
CORE = {"kafka", "clickhouse", "topology", "keys", "worker", "warehouse", "desk"}
ONCE = {"topology", "keys", "demo", "bucket"}


def test_plain_up_starts_the_pipeline_and_profiles_the_rest() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == CORE
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert profiles == {"demo", "proof", "bots", "observability"}


def test_our_services_are_one_image_and_confined() -> None:
    assert len({service["image"] for service in OURS.values()}) == 1
    for name, service in OURS.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert name in ONCE or service["restart"] == "unless-stopped", name


def test_every_service_that_stays_says_whether_it_is_ready() -> None:
    for name in OURS.keys() - ONCE:
        assert "/readyz" in OURS[name]["healthcheck"]["test"][-1], name
        assert OURS[name]["environment"]["PORTCULLIS_METRICS_PORT"].isdigit(), name


def test_settings_are_ones_that_the_services_know() -> None:
    for name, service in OURS.items():
        variables = {
            key: re.sub(r"\$\{[^}]*\}", "x", str(value))
            for key, value in service["environment"].items()
            if not key.startswith("PORTCULLIS_ENFORCER_")  # read by the enforcer alone
        }
        settings = load_settings(variables)
        assert settings.kafka_bootstrap_servers == "kafka:19092", name
        assert settings.warehouse.startswith("clickhouse://"), name


def test_ports_are_bound_to_loopback_and_taken_once() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports), ports
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_images_are_pinned_and_what_is_waited_for_says_when_it_is_ready() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":[^:/]*\d", service["image"]), name
        for other, when in service.get("depends_on", {}).items():
            if when["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)
            elif when["condition"] == "service_completed_successfully":
                assert "restart" not in SERVICES[other], (name, other)
            theirs = set(SERVICES[other].get("profiles", ()))
            assert not theirs or theirs >= set(service.get("profiles", ("",))), (name, other)


def test_volumes_that_are_used_are_declared() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith((".", "/"))
    }
    assert used == set(COMPOSE["volumes"])
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.partition(":")[0]).is_file(), volume


def test_the_image_is_small_pinned_and_not_roots() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert "--frozen" in DOCKERFILE
    assert "--no-dev" in DOCKERFILE
    assert not re.search(r"^(ADD|ARG)\b|curl|apt-get|password|secret", DOCKERFILE, re.IGNORECASE | re.MULTILINE)
    final = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert re.findall(r"^COPY (\S+)", final, re.MULTILINE) == ["--from=build"]


def test_the_build_sees_no_local_state() -> None:
    ignored = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    assert {f"!{name}" for name in names} == {line for line in ignored if line.startswith("!")}
