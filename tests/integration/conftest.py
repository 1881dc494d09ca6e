"""Fixtures of the engine's tests: one run of the example application, and a worker of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.engine_rig import Rig, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig_servers(kafka: str) -> str:
    """Return the rig's cluster; tests that kill their broker have another."""
    return kafka


@pytest.fixture
def rig(rig_servers: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(rig_servers, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def worker(rig: Rig) -> Worker:
    """Return a worker that has decided 100 orders."""
    worker = rig.start_worker("one")
    rig.orders(range(100))
    rig.wait_for_decisions(100)
    return worker
