"""Registering bots from the command line, and telling what is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.clock import now_us
from streams.core.policy import PolicyError
from streams.kafka.producing import Sender
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.wire import devpki
from streams.wire.avro import Schema, decode
from streams.wire.keys import save_credentials
from streams.wire.registration import RegistrationRefusedError, check_registration
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from pathlib import Path

    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Registering:
    """What became of a registration: the bot and its policy's id, or every problem."""

    agent_id: str
    policy_id: str
    credentials: Path | None
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "registered": not self.problems,
            "agent_id": self.agent_id,
            "policy_id": self.policy_id,
            "credentials": None if self.credentials is None else str(self.credentials),
            "problems": list(self.problems),
        }


def register(settings: Settings, policy: bytes, record: bytes | None) -> Registering:
    """Check a registration as the gate will and write it to the registry; without a record the local PKI makes one.

    Raises: KafkaException where the cluster does not answer.
    """
    servers, issued = settings.require_cluster(), None
    try:
        if record is None:
            devpki.make_dev_pki(settings.pki)
            issued = devpki.issue_agent(settings.pki, policy)
            record = devpki.make_registration(settings.pki, policy, issued)
        registration = check_registration(record, load_trust(settings.pki), now_us())
    except (PolicyError, RegistrationRefusedError) as error:
        return Registering("", "", None, error.problems)
    folder = None if issued is None else save_credentials(settings.home / "agents", issued)
    sender = Sender(servers, settings.kafka_security)
    sender.send(settings.topic_prefix + Topic.AGENTS_REGISTRY, registration.agent_id.encode(), record)
    sender.flush()
    return Registering(registration.agent_id, registration.policy.policy_id.hex(), folder, ())


def last_registration(settings: Settings, agent_id: str) -> bytes | None:
    """Return the last registration of a bot on the registry, as written; None where there is none."""
    topic = settings.topic_prefix + Topic.AGENTS_REGISTRY
    found = None
    for record in read_all(settings.require_cluster(), [topic], settings.kafka_security):
        if record.key == agent_id.encode():
            found = record.value or None
    return found


def describe(settings: Settings, agent_id: str) -> dict[str, Any]:
    """Return what the topics say of a bot: registration, policy, and the last change of its trading state."""
    topics = {
        settings.topic_prefix + Topic.AGENTS_REGISTRY: Schema.AGENT_RECORD,
        settings.topic_prefix + Topic.RISK_CIRCUIT_BREAKERS: Schema.BREAKER_EVENT,
    }
    described: dict[str, Any] = {"registered": False, "trading_state": "ACTIVE"}
    trust = load_trust(settings.pki)
    for record in read_all(settings.require_cluster(), topics, settings.kafka_security):
        if record.key != agent_id.encode():
            continue
        if topics[record.topic] is Schema.BREAKER_EVENT:
            event = decode(Schema.BREAKER_EVENT, record.value)
            described |= {"trading_state": event["state"], "reason": event["reason"], "by": event["issued_by"]}
            continue
        try:
            registration = check_registration(record.value, trust, record.timestamp_us)
        except RegistrationRefusedError as error:
            described["refused"] = "; ".join(error.problems)
            continue
        policy = registration.policy
        described |= {
            "registered": True,
            "policy_id": policy.policy_id.hex(),
            "operator": registration.operator,
            "operator_regulator_id": policy.operator_regulator_id,
            "approver": registration.approver,
            "certificate_sha256": registration.thumbprint.hex(),
            "markets": ", ".join(sorted(policy.allowed_markets)),
            "documented_by": policy.governance.documented_by,
            "next_review": str(policy.governance.next_review),
            "fitness_test_due": str(policy.testing.fitness_test_due),
            "next_test": f"{policy.testing.soonest.exercise} by {policy.testing.soonest.day}",
        }
    return described
