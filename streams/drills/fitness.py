"""The yearly fitness test: the four questions of the seed guide's Article 72, each answered from the log.

With a cluster set the answers come from its log, without one from a rehearsal on topics of its own. What the log cannot
show because it never happened, such as a kill, is answered by the last signed record of the drill that rehearses it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from streams.audit.keys import key_source
from streams.audit.verify import verify_log
from streams.clock import now_us
from streams.core.windows import DAY_US
from streams.drills.assessment import write_assessment
from streams.drills.common import shown
from streams.drills.evidence import open_warehouse
from streams.drills.ground import WORKER
from streams.drills.highest import STATED, highest_stored
from streams.drills.plan import DrillName
from streams.drills.record import RecordRefusedError, SignedRecord, read_record, write_record
from streams.drills.running import RECORDS, DrillOptions, run_drills, signer_of
from streams.drills.survey import Survey, survey_log
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.rig.auditing import AuditReport, verify_audit
from streams.warehouse.connection import embedded_folder
from streams.wire.log_keys import log_keys
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from streams.drills.plan import Load
    from streams.settings import Settings

PERIOD_DAYS: Final = 366
KILL_MAX_MS: Final = 10_000.0
_REHEARSED: Final = (DrillName.FLASH_CRASH, DrillName.RUNAWAY)
_DRILL_DAYS: Final = 92  # a drill stands in for what did not happen for as long as a quarterly test does


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, its answer, and the evidence in words with places in the log."""

    question: str
    holds: bool
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What the answers are made from: the log's survey and verification, and the highest load of the warehouse."""

    survey: Survey
    audit: AuditReport
    tampering_found: bool
    highest: Load
    drills: dict[str, SignedRecord]
    """The latest record of each drill that is recent enough."""


@dataclass(frozen=True, slots=True)
class FitnessResult:
    """The answers, the signed record and the self-assessment that goes with it."""

    answers: tuple[Answer, ...]
    record: Path
    assessment: Path

    @property
    def passed(self) -> bool:
        """Say whether every answer is yes."""
        return all(answer.holds for answer in self.answers)

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "passed": self.passed,
            "answers": {answer.question: answer.holds for answer in self.answers},
            "record": str(self.record),
            "self_assessment": str(self.assessment),
        }


def run_fitness(settings: Settings, person: str, tell: Callable[[str], None]) -> FitnessResult:
    """Answer the four questions and sign the answers.

    Raises: PortcullisError where the person has no key here, or a part of it cannot run.
    """
    signer, began_us = signer_of(settings, person), now_us()
    if settings.kafka_bootstrap_servers:
        tell("Reading the log and verifying it ...")
        material = look_at(settings, began_us)
    else:
        looked: list[Material] = []
        options = DrillOptions(signed_by=person)
        run_drills(settings, _REHEARSED, options, tell, look=lambda ours: looked.append(look_at(ours, began_us)))
        (material,) = looked
    answers = answer_all(replace(material, drills=_drills(settings, now_us())))
    ended_us = now_us()
    records = settings.home / RECORDS
    assessment = write_assessment(
        records / f"self-assessment-{ended_us // 1000}.md", material.survey, material.highest, answers, ended_us
    )
    result = FitnessResult(answers, records / f"fitness-{ended_us // 1000}.dsse.json", assessment)
    body = {
        "record": "fitness",
        "passed": result.passed,
        "log": settings.log_origin if settings.kafka_bootstrap_servers else "rehearsal",
        "answers": [{"question": a.question, "holds": a.holds, "evidence": list(a.evidence)} for a in answers],
        "self_assessment_sha256": sha256(assessment.read_bytes()).hexdigest(),
        "version": version("portcullis"),
        "began_at_us": began_us,
        "ended_at_us": ended_us,
    }
    write_record(result.record, body, signer)
    return result


def answer_all(material: Material) -> tuple[Answer, ...]:
    """Return the answers to the four questions."""
    return (_executes(material), _breaks(material), _kills(material), _intact(material))


def _executes(material: Material) -> Answer:
    survey = material.survey
    evidence = [
        f"{survey.approved} orders approved, {survey.rejected.total()} refused: {shown(survey.rejected)}",
        (
            f"{survey.trades} venue reports, {len(survey.unproven_trades)} without their approval in the log:"
            f" {', '.join(survey.unproven_trades) or 'none'}"
        ),
        f"findings of post-trade: {shown(survey.trade_findings)}",
    ]
    holds = survey.trades > 0 and not survey.trade_findings and not survey.unproven_trades
    return Answer("Does the algorithm still execute trades correctly?", holds, tuple(evidence))


def _breaks(material: Material) -> Answer:
    survey = material.survey
    evidence = [
        (
            f"{survey.scores_above} scores above the breaker's threshold, of which approved {survey.approved_above}:"
            " only what lowers exposure may be"
        ),
        f"approved above the kill's threshold: {', '.join(survey.approved_above_kill) or 'none'}",
        f"breakers opened by a score: {'; '.join(survey.breakers) or 'none in this log'}",
    ]
    seen = bool(survey.breakers) or _drilled(material, DrillName.FLASH_CRASH, "circuit_breaker_activated", evidence)
    return Answer(
        "Does the circuit breaker activate on anomalies?", seen and not survey.approved_above_kill, tuple(evidence)
    )


def _kills(material: Material) -> Answer:
    kills = material.survey.kills
    evidence = [f"{kill.place} {kill.person}: {kill.scope} in force after {kill.effect_ms} ms" for kill in kills]
    seen = bool(kills) or _drilled(material, DrillName.RUNAWAY, "killed_and_cancelled", evidence)
    holds = seen and all(kill.effect_ms <= KILL_MAX_MS and kill.person for kill in kills)
    return Answer("Can the operator manually kill the algorithm?", holds, tuple(evidence))


def _intact(material: Material) -> Answer:
    audit = material.audit
    evidence = [
        f"{audit.logs} logs, {audit.leaves} leaves rebuilt and held against {audit.checkpoints} signed checkpoints",
        f"{audit.warehouse_rows} rows of the warehouse held against their leaves",
        f"problems: {'; '.join(audit.problems[:5]) or 'none'}",
        f"one bit changed in a copy of each log is found: {'yes' if material.tampering_found else 'no'}",
    ]
    holds = audit.verified and audit.leaves > 0 and material.tampering_found
    return Answer("Are all audit logs intact and tamper-proof?", holds, tuple(evidence))


def _drilled(material: Material, name: DrillName, check: str, evidence: list[str]) -> bool:
    """Say whether a drill's recent record shows what the log does not; what it says becomes evidence."""
    record = material.drills.get(name.value)
    if record is None:
        evidence.append(f"no record of the drill {name} of the last {_DRILL_DAYS} days")
        return False
    for line in record.body["checks"]:
        if line["name"] == check:
            evidence.append(f"drill {name}, record {record.sha256}, {record.signed_by}: {line['observed']}")
            return bool(line["passed"])
    return False


def look_at(settings: Settings, at_us: int) -> Material:
    """Survey and verify the logs of a cluster, and try whether a change in a copy of each is found.

    Raises: KafkaException where the cluster does not answer.
    """
    survey = survey_log(settings, at_us - PERIOD_DAYS * DAY_US)
    folder = embedded_folder(settings.warehouse)
    with ExitStack() as opened:
        stored = folder is None or folder.exists()
        warehouse = opened.enter_context(open_warehouse(settings)) if stored else None
        audit = verify_audit(settings, key_source(settings.pki, None), warehouse)
        highest = STATED if warehouse is None else highest_stored(warehouse)
    return Material(survey, audit, _tampering_found(settings, audit.logs), highest, {})


def _tampering_found(settings: Settings, logs: int) -> bool:
    """Verify each log once more with a bit of its first leaf changed on the way, and say whether all were noticed."""
    servers, security = settings.require_cluster(), settings.kafka_security
    events, notes = (settings.topic_prefix + topic for topic in (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS))
    noticed = []
    for number in range(logs):
        origin = f"{settings.log_origin}/{number}"
        leaves = (record.value for record in read_all(servers, [events], security, partition=number))
        heads = (record.value for record in read_all(servers, [notes], security, partition=number))
        report = verify_log(
            _with_a_bit_changed(leaves), heads, [key.verifier for key in log_keys(settings.pki, origin)], origin=origin
        )
        if report.leaves:
            noticed.append(bool(report.problems))
    return bool(noticed) and all(noticed)


def _with_a_bit_changed(leaves: Iterable[bytes]) -> Iterator[bytes]:
    for place, leaf in enumerate(leaves):
        yield leaf if place else leaf[:-1] + bytes((leaf[-1] ^ 1,))


def _drills(settings: Settings, at_us: int) -> dict[str, SignedRecord]:
    """Return the latest record of each drill whose signature holds, that is recent, and that tested the product."""
    trust, latest = load_trust(settings.pki), dict[str, SignedRecord]()
    for path in sorted((settings.home / RECORDS).glob("*.dsse.json")):
        try:
            record = read_record(path, trust)
        except RecordRefusedError:
            continue  # a record that nobody here vouches for is no evidence
        recent = at_us - record.body["ended_at_us"] <= _DRILL_DAYS * DAY_US
        if recent and record.body["record"] == "drill" and record.body["worker"] == " ".join(WORKER):
            known = latest.get(record.body["drill"])
            if known is None or known.body["ended_at_us"] < record.body["ended_at_us"]:
                latest[record.body["drill"]] = record
    return latest
