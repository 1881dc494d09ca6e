"""Bad input: 100,000 mutated and random messages, none of which may stop a worker or vanish."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from streams.rig.hostile import run_hostile
from streams.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

MESSAGES = 100_000


@pytest.mark.timeout(900)
def test_hostile_messages_end_as_verdicts_or_dead_letters(kafka: str, tmp_path: Path) -> None:
    settings = replace(
        load_settings({}),
        home=tmp_path,
        kafka_bootstrap_servers=kafka,
        # Nobody waits for these verdicts: the test is about messages, not about as many transactions as there can be.
        fetch_wait_ms_min=200,
        fetch_wait_ms_max=400,
    )
    result = run_hostile(settings, count=MESSAGES, seed=20, tell=lambda _line: None)
    assert result.messages == MESSAGES == result.verdicts + result.dead_lettered
    assert result.vanished == 0
    assert result.worker_restarts == 0
    assert result.oracle_mismatches == 0
    assert 0 < result.approved < MESSAGES / 2
    assert result.dead_lettered > MESSAGES / 4
