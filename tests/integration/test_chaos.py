"""Three rounds of chaos, by the command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.floor import UNHURRIED_MS

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
    environment = {
        **os.environ,
        "PORTCULLIS_HOME": str(tmp_path),
        "PORTCULLIS_FETCH_WAIT_MS_MIN": str(UNHURRIED_MS),
    }
    command = [sys.executable, "-m", "streams", "chaos", "--rounds", "3", "--seed", "226", "--rate", "80", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {name: result[name] for name in ZERO} == dict.fromkeys(ZERO, 0), _told(result)
    assert done.returncode == 0, _told(result)
    assert result["rounds"] == 3
    assert result["kills"] >= 1
    assert result["broker_kills"] >= 1
    assert result["rebalances"] >= 2
    assert result["approved"] > 100
    assert result["recovery_s"]["max"] < 60  # others use the machine; how soon is for `portcullis chaos` to say


def _told(result: dict[str, Any]) -> str:
    """Return what went wrong and the ends of the logs that it names: nobody else has them when the test is over."""
    told = [f"failed at {result['failed_at']}", *result["problems"]]
    logs = {Path(path) for path in re.findall(r"log: (\S+)", "\n".join(told))}
    return "\n".join([*told, *(f"{log.name}: ...{log.read_text(errors='replace')[-3000:]}" for log in logs)])
