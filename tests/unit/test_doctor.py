"""The doctor finds what is put wrong on purpose, and says how to mend it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from streams.core.errors import PortcullisError
from streams.doctor import CHECKS, Check, State, examine
from streams.doctor.finding import Finding
from streams.doctor.machine import MACHINE_CHECKS
from streams.settings import Settings
from streams.wire import devpki
from streams.wire.keys import save_credentials
from tests.enforcer_world import policy_bytes

if TYPE_CHECKING:
    from pathlib import Path

BOT = "doctored_bot"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path)
    devpki.make_dev_pki(made.pki)
    save_credentials(tmp_path / "agents", devpki.issue_agent(made.pki, policy_bytes(BOT)))
    return made


def look(settings: Settings, name: str) -> Finding:
    return dict(examine(settings, [check for check in CHECKS if check.name == name]))[name]


def test_a_set_up_in_order_is_found_in_order(settings: Settings) -> None:
    for name, finding in examine(settings, [check for check in MACHINE_CHECKS if check.name != "java and maven"]):
        assert finding.state is not State.FAILED, (name, finding)


def test_a_key_that_others_can_read_is_found(settings: Settings) -> None:
    key = settings.home / "agents" / BOT / "key.pem"
    key.chmod(0o644)
    finding = look(settings, "private keys")
    assert (finding.state, finding.mend) == (State.FAILED, f"chmod 600 {key}")


def test_a_certificate_that_ends_soon_is_a_warning_and_one_that_ended_is_not(settings: Settings) -> None:
    def end(after: timedelta) -> Finding:
        moment_us = round((datetime.now(UTC) + after).timestamp() * 1e6)
        start_us = moment_us - 40 * 86_400_000_000
        issued = devpki.issue_agent(settings.pki, policy_bytes(BOT), not_before_us=start_us, not_after_us=moment_us)
        save_credentials(settings.home / "agents", issued)
        return look(settings, "certificates")

    assert look(settings, "certificates").state is State.OK
    assert end(timedelta(days=3)).state is State.WARNING
    finding = end(timedelta(days=-3))
    assert finding.state is State.FAILED
    assert f"agents/{BOT}/chain.pem" in finding.text


def test_a_missing_folder_names_the_command_that_makes_it(tmp_path: Path) -> None:
    finding = look(Settings(home=tmp_path), "trust")
    assert (finding.state, finding.mend.partition(",")[0]) == (State.FAILED, "portcullis pki init")


def test_a_broker_that_is_away_is_found(tmp_path: Path) -> None:
    finding = look(Settings(home=tmp_path, kafka_bootstrap_servers="127.0.0.1:1"), "broker")
    assert finding.state is State.FAILED
    assert "portcullis broker run" in finding.mend


def test_a_check_that_breaks_has_failed_and_the_others_are_made() -> None:
    def refused(_settings: Settings) -> Finding:
        raise PortcullisError("not this")

    def broken(_settings: Settings) -> Finding:
        raise ZeroDivisionError("oops")

    def fine(_settings: Settings) -> Finding:
        return Finding(State.OK, "well")

    found = dict(examine(Settings(), [Check("a", refused), Check("b", broken), Check("c", fine)]))
    assert [finding.state for finding in found.values()] == [State.FAILED, State.FAILED, State.OK]
    assert "not this" in found["a"].text


@pytest.mark.integration
def test_a_real_cluster_is_judged(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    settings = replace(Settings(), home=tmp_path, kafka_bootstrap_servers=kafka, topic_prefix=topic_prefix)
    assert look(settings, "broker").state is State.OK
    assert look(settings, "clock").state is not State.FAILED
    missing = look(settings, "topics")
    assert (missing.state, missing.mend) == (State.FAILED, "portcullis topology apply")
