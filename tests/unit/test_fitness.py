"""The four answers: yes only where the log, or a recent drill of the product, shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from streams.drills.assessment import write_assessment
from streams.drills.fitness import Material, answer_all
from streams.drills.highest import STATED
from streams.drills.record import SignedRecord
from streams.drills.survey import KillSeen, Survey
from streams.rig.auditing import AuditReport

if TYPE_CHECKING:
    from pathlib import Path

EXECUTES, BREAKS, KILLS, INTACT = range(4)
AUDIT = AuditReport(verified=True, logs=4, leaves=100, checkpoints=9, cosigned=0, warehouse_rows=100, problems=())
KILL = KillSeen("1/7", "cfo@acme", "BOT maker-01", 80.0)


def survey(**changes: Any) -> Survey:
    seen = Survey(events=100, approved=50, trades=40, breakers=["1/6 maker-01 REDUCING score 0.838"], kills=[KILL])
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


def material(**changes: Any) -> Material:
    return replace(Material(survey(), AUDIT, tampering_found=True, highest=STATED, drills={}), **changes)


def drill(name: str, check: str, *, passed: bool) -> dict[str, SignedRecord]:
    body = {"checks": [{"name": check, "passed": passed, "observed": "seen"}]}
    return {name: SignedRecord(body, "cfo@acme", "00" * 32)}


def holds(given: Material) -> list[bool]:
    return [answer.holds for answer in answer_all(given)]


def test_a_log_that_shows_everything_answers_yes() -> None:
    assert holds(material()) == [True] * 4


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (material(survey=survey(trades=0)), EXECUTES),
        (material(survey=survey(unproven_trades=["0/3"])), EXECUTES),
        (material(survey=survey(approved_above_kill=["2/9"])), BREAKS),
        (material(survey=survey(breakers=[])), BREAKS),
        (material(survey=survey(kills=[])), KILLS),
        (material(survey=survey(kills=[KILL, replace(KILL, effect_ms=10_000.1)])), KILLS),
        (material(survey=survey(kills=[replace(KILL, person="")])), KILLS),
        (material(audit=replace(AUDIT, verified=False, problems=("a gap",))), INTACT),
        (material(audit=replace(AUDIT, leaves=0)), INTACT),
        (material(tampering_found=False), INTACT),
    ],
)
def test_one_thing_wrong_is_one_no(given: Material, wrong: int) -> None:
    assert holds(given) == [place != wrong for place in range(4)]


def test_a_finding_of_post_trade_is_a_no() -> None:
    given = material()
    given.survey.trade_findings["EXECUTION_OVERFILLED"] = 1
    assert holds(given) == [False, True, True, True]


def test_a_drill_stands_in_for_what_did_not_happen() -> None:
    quiet = material(survey=survey(breakers=[], kills=[]))
    both = drill("flash-crash", "circuit_breaker_activated", passed=True) | drill(
        "runaway", "killed_and_cancelled", passed=True
    )
    assert holds(replace(quiet, drills=both)) == [True] * 4
    failed = drill("flash-crash", "circuit_breaker_activated", passed=False)
    assert holds(replace(quiet, drills=failed)) == [True, False, False, True]


def test_a_drill_excuses_nothing_that_did_happen() -> None:
    drills = drill("runaway", "killed_and_cancelled", passed=True)
    slow = material(survey=survey(kills=[replace(KILL, effect_ms=20_000.0)]), drills=drills)
    assert not holds(slow)[KILLS]


def test_the_self_assessment_leaves_open_what_only_people_know(tmp_path: Path) -> None:
    given = material(survey=survey(markets={"BTC_USDT"}, first_us=1, last_us=2))
    page = write_assessment(
        tmp_path / "x.md", given.survey, given.highest, answer_all(given), 1_780_000_000_000_000
    ).read_text()
    for word in ("## Nature", "## Scale", "## Complexity", "| markets traded | BTC_USDT |", "**Yes.**", "1/7 cfo@acme"):
        assert word in page
    assert page.count("_to be completed by:_") >= 6
