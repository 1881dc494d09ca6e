"""A bot in another language makes the same bytes, and gets its verdict from a real broker and worker."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.floor import BOTS, open_floor
from tests.vectors import make_orders
from tests.vectors.go_programs import go_program, needs_go

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go_program("go_bot", tmp_path_factory)


@pytest.fixture(scope="module")
def floor(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with open_floor(tmp_path_factory.mktemp("floor"), kafka) as settings:
        yield settings


def test_the_committed_vectors_are_those_that_we_make() -> None:
    assert json.loads(make_orders.FILE.read_text()) == json.loads(json.dumps(make_orders.document()))
    page = make_orders.PAGE.read_text()
    assert page == make_orders.with_example(page)


@pytest.mark.integration
@needs_go
def test_another_language_makes_the_same_bytes(program: Path) -> None:
    done = subprocess.run(
        [str(program), "vectors"], input=make_orders.FILE.read_bytes(), capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines() == list(make_orders.ORDERS)


@pytest.mark.integration
@needs_go
@pytest.mark.parametrize(
    ("region", "decision", "reason"), [("eu-west-1", "APPROVED", "NONE"), ("mars", "REJECTED", "REGION_NOT_ALLOWED")]
)
def test_another_language_gets_its_verdict(
    program: Path, floor: Settings, region: str, decision: str, reason: str
) -> None:
    command = [
        *(str(program), "-servers", floor.kafka_bootstrap_servers, "-prefix", floor.topic_prefix),
        *("-agent", BOTS[0], "-credentials", str(floor.home / "agents" / BOTS[0]), "-region", region, "order"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"decision": decision, "reason": reason}
