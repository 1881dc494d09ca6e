"""Each drill is green on the product, and red on a worker without the control that it rehearses."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from streams.clock import now_us
from streams.core.reasons import Reason
from streams.drills.fitness import Answer, answer_all, look_at
from streams.drills.plan import DrillName, Load
from streams.drills.record import read_record
from streams.drills.running import DrillOptions, DrillResult, run_drills
from streams.settings import Settings
from streams.wire.devpki import make_dev_pki
from streams.wire.trust import load_trust
from tests.floor import UNHURRIED_MS
from tests.integration.disarmed_worker import late_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

# What a machine that is busy with other things may fail; `topology/drills.md` has what a quiet one does.
TIMED = {"alerts_within_5_s", "messages_twice_the_highest", "value_twice_the_highest"}


class Results(NamedTuple):
    """What came of each drill, and what the fitness test says of their log."""

    drills: dict[DrillName, DrillResult]
    fitness: tuple[Answer, ...]


DISARMED = "tests.integration.disarmed_worker"
LOW = Load(messages_per_s=20.0, eur_per_s=1_000.0, source="a test")


class Red(NamedTuple):
    """What a worker goes without, and the check that must then fail."""

    without: tuple[str, ...]
    check: str


# The worker of the red run goes without all of these at once; each drill must notice its own.
REDS = {
    DrillName.FLASH_CRASH: Red((Reason.CIRCUIT_BREAKER_ACTIVE,), "circuit_breaker_activated"),
    DrillName.COUNTERPARTY_DEFAULT: Red((Reason.DUPLICATE_ORDER,), "no_order_twice"),
    DrillName.PUMP_AND_DUMP: Red((Reason.CIRCUIT_BREAKER_ACTIVE,), "every_colluder_detected"),
    DrillName.RUNAWAY: Red(
        (Reason.EXECUTION_THROTTLE_TRIPPED, Reason.MESSAGE_RATE_EXCEEDED), "stopped_by_throttle_rate_or_breaker"
    ),
    DrillName.FAT_FINGER_BASKET: Red(
        (Reason.MAX_ORDER_VALUE_EXCEEDED, Reason.MAX_ORDER_VOLUME_EXCEEDED), "hard_block_on_every_line"
    ),
    DrillName.DOUBLE_LOAD: Red((Reason.STALE_ORDER, late_for("load-")), "nothing_late_without_reason"),
}
WITHOUT = sorted({control for red in REDS.values() for control in red.without})


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the keys of the people who sign the records."""
    folder = tmp_path_factory.mktemp("pki")
    make_dev_pki(folder)
    return folder


@pytest.fixture(scope="module")
def runs(kafka: str, pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Results]]]:
    """Yield all drills on the product and on the disarmed worker, both at once on one broker."""

    def run(colour: str, worker: tuple[str, ...]) -> Results:
        home = tmp_path_factory.mktemp(colour)
        settings = Settings(
            home=home,
            kafka_bootstrap_servers=kafka,
            pki_dir=pki,
            topic_prefix=f"{colour}-",
            fetch_wait_ms_min=UNHURRIED_MS,
        )
        options = DrillOptions(seconds=3, highest=LOW, worker=worker)
        looked: list[tuple[Answer, ...]] = []
        results = run_drills(
            settings,
            list(DrillName),
            options,
            lambda _: None,
            look=lambda ours: looked.append(answer_all(look_at(ours, now_us()))),
        )
        return Results({result.drill: result for result in results}, looked[0])

    with ThreadPoolExecutor(2) as pool:
        yield {
            "green": pool.submit(run, "green", ("streams", "worker")),
            "red": pool.submit(run, "red", (DISARMED, *WITHOUT)),
        }


@pytest.mark.parametrize("name", DrillName)
def test_the_product_passes(runs: dict[str, Future[Results]], pki: Path, name: DrillName) -> None:
    result = runs["green"].result().drills[name]
    signed = read_record(result.record, load_trust(pki))
    failed = {check["name"]: check["observed"] for check in signed.body["checks"] if not check["passed"]}
    assert {check: seen for check, seen in failed.items() if check not in TIMED} == {}
    assert (signed.body["drill"], signed.body["passed"]) == (name, not failed) == (name, result.passed)
    assert signed.signed_by == "compliance_lead@acme"


@pytest.mark.parametrize("name", DrillName)
def test_a_worker_without_the_control_fails(runs: dict[str, Future[Results]], name: DrillName) -> None:
    result = runs["red"].result().drills[name]
    checks = {check.name: (check.passed, check.observed) for check in result.checks}
    assert not checks[REDS[name].check][0], checks[REDS[name].check][1]
    assert not checks["oracle_agrees"][0]
    assert checks["audit_log_complete"][0], checks["audit_log_complete"][1]  # what was done wrong is in the log
    assert not result.passed


def test_a_kill_is_measured(runs: dict[str, Future[Results]]) -> None:
    results = runs["green"].result().drills
    measured = {name for name, result in results.items() if "kill_to_last_approval_ms" in result.as_dict()}
    assert measured == {DrillName.PUMP_AND_DUMP, DrillName.RUNAWAY, DrillName.DOUBLE_LOAD}


def test_the_log_of_the_drills_answers_the_fitness_questions(runs: dict[str, Future[Results]]) -> None:
    green, red = runs["green"].result().fitness, runs["red"].result().fitness
    assert [answer.holds for answer in green] == [True] * 4, green
    assert [answer.holds for answer in red] == [True, False, True, True], red
