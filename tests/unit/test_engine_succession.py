"""How a predecessor is asked to end; the whole of a succession is in tests/integration/test_engine_worker.py."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from streams.engine import succession
from streams.engine.exits import EngineError, ExitCode
from streams.engine.succession import Predecessor
from tests.integration.engine_rig import asynchronous

IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEYS = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", request.param], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("process", [OBEYS], indirect=True)
def test_predecessor_is_asked_and_waited_for(process: subprocess.Popen[bytes]) -> None:
    @asynchronous
    async def end() -> None:
        with Predecessor(process.pid) as predecessor:
            await predecessor.end()
            assert process.poll() is not None

    end()


@pytest.mark.parametrize("process", [IGNORES], indirect=True)
def test_predecessor_that_does_not_end_is_not_succeeded(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "_END_S", 0.05)

    @asynchronous
    async def end() -> None:
        with Predecessor(process.pid) as predecessor:
            await predecessor.end()

    with pytest.raises(EngineError, match=f"worker {process.pid} did not end") as raised:
        end()
    assert raised.value.code is ExitCode.DRAIN_TIMEOUT
    assert process.poll() is None


def test_process_that_is_not_there_cannot_be_succeeded() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(ProcessLookupError):
        Predecessor(process.pid)
