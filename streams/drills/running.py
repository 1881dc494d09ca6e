"""Running a drill: the ground is laid, the course played, everything read back, the pass list signed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from random import Random
from typing import TYPE_CHECKING, Any, Final

from streams.drills.catalogue import PLANS
from streams.drills.common import common_checks
from streams.drills.evidence import gather
from streams.drills.ground import WORKER, Scale, open_ground
from streams.drills.highest import highest_load
from streams.drills.plan import Notes
from streams.drills.record import write_record
from streams.rig.clock import now_us
from streams.wire import devpki
from streams.wire.commands import Action
from streams.wire.trust import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streams.drills.evidence import Evidence
    from streams.drills.plan import Check, DrillName, DrillPlan, Load
    from streams.settings import Settings
    from streams.wire.keys import SigningKey

RECORDS: Final = "records"
PERSON: Final = "compliance_lead@acme"


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """Which drill, from which seed, and who signs its record; what a load test doubles, and for how long."""

    name: DrillName
    seed: int = 1
    signed_by: str = PERSON
    seconds: int = 10
    highest: Load | None = None
    worker: Sequence[str] = WORKER
    """The module that runs as the worker, with its arguments: the product's, unless a test plants a fault."""


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What came of a drill, and where its signed record is."""

    drill: DrillName
    checks: tuple[Check, ...]
    kill_to_last_approval_ms: float | None
    figures: dict[str, float | int | str]
    record: Path

    @property
    def passed(self) -> bool:
        """Say whether every check holds."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        result: dict[str, Any] = {
            "drill": self.drill.value,
            "passed": self.passed,
            "checks": {check.name: check.passed for check in self.checks},
            "record": str(self.record),
            "figures": self.figures,
        }
        if self.kill_to_last_approval_ms is not None:
            result["kill_to_last_approval_ms"] = self.kill_to_last_approval_ms
        return result


def run_drill(settings: Settings, options: DrillOptions, tell: Callable[[str], None]) -> DrillResult:
    """Run a drill on topics of its own, and leave a signed record in `<home>/records`.

    Raises: PortcullisError where the person has no key here, or a part of the drill cannot run.
    """
    plan, signer = PLANS[options.name], signer_of(settings, options.signed_by)
    folder = settings.home / "drills" / f"drill-{plan.name}"
    scale = Scale(options.highest or highest_load(settings), options.seconds)
    began_us, notes = now_us(), Notes()
    tell(f"{plan.name}: broker or topics, keys of three parties, {len(plan.bots)} bots, a worker ...")
    rng = Random(options.seed)  # noqa: S311 - reproducible, not secret
    with open_ground(settings, plan, folder, rng, scale=scale, worker=options.worker) as ground:
        ground.begin()
        tell(f"{plan.name}: it begins ...")
        plan.play(ground, notes)
        ground.end()
        tell(f"{plan.name}: reading everything back, deciding every order again ...")
        evidence = gather(ground)
    checks = (*plan.judge(evidence, notes), *common_checks(evidence))
    killed_ms = _kill_to_last_approval_ms(evidence, plan)
    result = DrillResult(plan.name, checks, killed_ms, notes.figures, settings.home / RECORDS)
    body = _body(result, options, plan, evidence, began_us)
    name = f"{plan.name}-{began_us // 1000}"
    record = write_record(settings.home / RECORDS, name, body, signer)
    for part in ("kafka", "warehouse"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return DrillResult(plan.name, checks, killed_ms, notes.figures, record)


def signer_of(settings: Settings, person: str) -> SigningKey:
    """Return the key with which a named person signs a record; without any PKI a development one is made.

    Raises: KeyFileError where the person has no key here.
    """
    if not (settings.pki / FOLDER).exists():
        devpki.make_dev_pki(settings.pki)
    return devpki.person_key(settings.pki, person)


def _kill_to_last_approval_ms(evidence: Evidence, plan: DrillPlan) -> float | None:
    """Return the time from the kill's append to the last approval of what it stops, 0 where none came after it."""
    kills = [
        event.source_time_us
        for _, event in evidence.events
        if event.event_type == "COMMAND_APPLIED" and event.details.get("action") == Action.KILL
    ]
    if not plan.killed or not kills:
        return None
    last_us = max(
        (t.verdict.decision_time_us for t in evidence.approved() if t.verdict.agent_id in plan.killed), default=0
    )
    return max(0.0, (last_us - min(kills)) / 1000)


def _body(
    result: DrillResult, options: DrillOptions, plan: DrillPlan, evidence: Evidence, began_us: int
) -> dict[str, Any]:
    return {
        "record": "drill",
        "drill": plan.name.value,
        "source": plan.source,
        "passed": result.passed,
        "checks": [{"name": c.name, "passed": c.passed, "observed": c.observed} for c in result.checks],
        "kill_to_last_approval_ms": result.kill_to_last_approval_ms,
        "figures": result.figures,
        "seed": options.seed,
        "worker": " ".join(options.worker),
        "version": version("portcullis"),
        "began_at_us": began_us,
        "ended_at_us": now_us(),
        "policies": {agent_id: policy.policy_id.hex() for agent_id, policy in evidence.policies.items()},
        "logs": list(evidence.checkpoints),
    }
