"""Stops on a real broker: kills under load, and a grace period whose worker is killed in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streams.rig.grace import run_grace
from streams.rig.kills import run_kills
from streams.settings import Settings
from tests.floor import UNHURRIED_MS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def silent(_: str) -> None:
    pass


def test_nothing_of_a_killed_bot_is_approved_after_its_kill_and_nothing_stays_open(kafka: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, kafka_bootstrap_servers=kafka, fetch_wait_ms_min=UNHURRIED_MS)
    result = run_kills(settings, kills=4, rate=150, gap_s=0.2, warm_up_s=2.0, tell=silent)
    stopped = result.stopped
    assert (stopped.approvals_after, result.open_after) == (0, 0)
    assert len(stopped.kill_ms) == len(stopped.breaker_ms) == 4
    assert stopped.approvals_before > 0
    assert len(result.mail_ms) == len(result.visible_ms) == 16  # how soon is for `portcullis bench --kills` to say
    assert set(result.as_dict()["kill_to_last_approval_ms"]) == {"p50", "p99", "max"}


def test_a_grace_period_ends_though_the_worker_was_killed_in_it(kafka: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, kafka_bootstrap_servers=kafka)
    (late_ms,) = run_grace(settings, crashes=1, grace_s=3, tell=silent).late_ms
    assert 0 <= late_ms < 60_000  # how soon is for `portcullis bench --graces` to say, on a quiet machine
