"""Three rounds of chaos, by the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ZERO = (
    "lost",
    "duplicated",
    "limit_breaches",
    "log_forks",
    "row_mismatches",
    "oracle_mismatches",
    "unexpected_exits",
)


def test_three_rounds_lose_and_double_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PORTCULLIS_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "streams", "chaos", "--rounds", "3", "--seed", "226", "--rate", "80", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {name: result[name] for name in ZERO} == dict.fromkeys(ZERO, 0), result
    assert done.returncode == 0, result
    assert result["rounds"] == 3
    assert result["kills"] >= 1
    assert result["broker_kills"] >= 1
    assert result["rebalances"] >= 2
    assert result["approved"] > 100
    assert result["recovery_s"]["max"] < 60  # others use the machine; how soon is for `portcullis chaos` to say
