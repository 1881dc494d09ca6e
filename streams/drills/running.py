"""Running drills: the ground is laid, the course played, everything read back, each pass list signed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from random import Random
from typing import TYPE_CHECKING, Any, Final

from streams.clock import now_us
from streams.drills.catalogue import PLANS
from streams.drills.common import common_checks
from streams.drills.evidence import gather
from streams.drills.ground import WORKER, Scale, open_ground
from streams.drills.highest import highest_load
from streams.drills.plan import Notes
from streams.drills.record import write_record
from streams.wire import devpki
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
    """From which seed, and who signs the records; what a load test doubles, and for how long."""

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


def run_drills(
    settings: Settings,
    names: Sequence[DrillName],
    options: DrillOptions,
    tell: Callable[[str], None],
    *,
    look: Callable[[Settings], None] | None = None,
) -> list[DrillResult]:
    """Run drills one after the other on topics of their own; each leaves a signed record in `<home>/records`.

    `look` is called with the settings of the drills' ground before it is taken down.

    Raises: PortcullisError where the person has no key here, or a part of a drill cannot run.
    """
    plans, signer = [PLANS[name] for name in names], signer_of(settings, options.signed_by)
    folder = settings.home / "drills" / ("drill-" + (names[0].value if len(names) == 1 else "all"))
    scale = Scale(options.highest or highest_load(settings), options.seconds)
    rng = Random(options.seed)  # noqa: S311 - reproducible, not secret
    notes = {plan.name: Notes() for plan in plans}
    began_us = now_us()
    tell(f"Topics of their own, keys of three parties, {sum(len(plan.bots) for plan in plans)} bots, a worker ...")
    with open_ground(settings, plans, folder, rng, scale=scale, worker=options.worker) as ground:
        ground.begin()
        for plan in plans:
            tell(f"{plan.name} begins ...")
            plan.play(ground, notes[plan.name])
        ground.end()
        tell("Reading everything back, deciding every order again ...")
        evidence = gather(ground)
        if look is not None:
            look(ground.stage.settings)
    results = []
    for plan in plans:
        notes[plan.name].figures["worker_restarts"] = ground.worker_restarts
        result, body = _judged(plan, evidence.only(plan), notes[plan.name], settings.home / RECORDS)
        body |= {"seed": options.seed, "worker": " ".join(options.worker), "began_at_us": began_us}
        results.append(result)
        write_record(result.record, body, signer)
    for part in ("kafka", "warehouse"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return results


def signer_of(settings: Settings, person: str) -> SigningKey:
    """Return the key with which a named person signs a record; without any PKI a development one is made.

    Raises: KeyFileError where the person has no key here.
    """
    if not (settings.pki / FOLDER).exists():
        devpki.make_dev_pki(settings.pki)
    return devpki.person_key(settings.pki, person)


def _judged(plan: DrillPlan, evidence: Evidence, notes: Notes, records: Path) -> tuple[DrillResult, dict[str, Any]]:
    """Return a drill's result, and what its record says."""
    checks = (*plan.judge(evidence, notes), *common_checks(evidence))
    ended_us = now_us()
    record = records / f"{plan.name}-{ended_us // 1000}.dsse.json"
    result = DrillResult(plan.name, checks, _kill_to_last_approval_ms(evidence, plan), notes.figures, record)
    return result, {
        "record": "drill",
        "drill": plan.name.value,
        "source": plan.source,
        "passed": result.passed,
        "checks": [{"name": check.name, "passed": check.passed, "observed": check.observed} for check in checks],
        "kill_to_last_approval_ms": result.kill_to_last_approval_ms,
        "figures": notes.figures,
        "version": version("portcullis"),
        "ended_at_us": ended_us,
        "policies": {agent_id: evidence.policies[agent_id].policy_id.hex() for agent_id in sorted(plan.agents)},
        "logs": list(evidence.checkpoints),
    }


def _kill_to_last_approval_ms(evidence: Evidence, plan: DrillPlan) -> float | None:
    """Return the time from the kill's append to the last approval of what it stops, 0 where none came after it."""
    kills = evidence.kills(plan.kill.scope) if plan.kill is not None else []
    if plan.kill is None or not kills:
        return None
    approved_us = [t.verdict.decision_time_us for name in plan.kill.reaches for t in evidence.approved(name)]
    return max(0.0, (max(approved_us, default=0) - min(kill.source_time_us for kill in kills)) / 1000)
