"""Exit codes, the log line of a stop, and the filter against repeated warnings."""

import logging
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from streams.engine.exits import ExitCode
from streams.engine.options import EngineOptions
from streams.engine.worker import RepeatFilter

STOP = """
import atexit, logging, sys
from streams.engine.exits import ExitCode, stop_process
logging.basicConfig(level=logging.INFO)
atexit.register(print, "cleaned up")
try:
    raise ValueError("two\\nlines")
except ValueError as error:
    stop_process(ExitCode.FENCED, "lane 3", error)
"""


def test_exit_codes_never_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "STOPPED": 0,
        "LANE_FAILURE": 70,
        "FENCED": 71,
        "UNCERTAIN_COMMIT": 72,
        "BATCH_REFUSED": 73,
        "POSITION_BROKEN": 74,
        "DRAIN_TIMEOUT": 75,
        "TRANSACTION_TIMEOUT": 76,
        "RECOVERY_FAILED": 77,
        "MISCONFIGURED": 78,
        "NO_BROKER": 79,
        "GROUP_LOST": 80,
    }


def test_stop_ends_the_process_at_once_and_says_why() -> None:
    done = subprocess.run([sys.executable, "-c", STOP], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == ExitCode.FENCED
    assert "exit_code=71 exit_name=FENCED where=lane 3 cause=ValueError message=two" in done.stderr
    assert "Traceback" in done.stderr
    assert done.stdout == ""


def test_repeated_warnings_are_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    repeat = RepeatFilter(every_s=5)

    def passes(message: str, *arguments: object) -> bool:
        return repeat.filter(logging.LogRecord("aiokafka", logging.WARNING, "", 1, message, arguments, None))

    assert passes("no broker %s", 1)
    assert not passes("no broker %s", 2)
    assert passes("something else")
    now[0] = 5.0
    assert passes("no broker %s", 3)


def test_options_do_not_show_secrets() -> None:
    options = EngineOptions(
        app_id="app", bootstrap_servers="nowhere:9", partitions=4, security={"sasl_plain_password": "hidden"}
    )
    assert "hidden" not in repr(options)


def test_a_worker_writes_under_its_name_and_one_without_under_a_name_of_its_own() -> None:
    one, two, other = (EngineOptions(app_id="app", bootstrap_servers="nowhere:9", partitions=4) for _ in range(3))
    one = replace(one, instance_id="worker-1")
    assert one.transactional_ids == ("app-lanes-worker-1-0", "app-lanes-worker-1-1")
    assert not set(two.transactional_ids) & set(other.transactional_ids)
    for options in (one, two, other):
        assert {one.worker_of(name) for name in options.transactional_ids} == {options.client_id}
    assert one.worker_of("app-warehouse") is None
