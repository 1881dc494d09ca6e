"""Segregation of duties, shown from certificates and signatures alone: board → operator → CA → bot.

Nothing here asks a service: a registration, the pinned certificates of the parties and a moment are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.core.policy import PolicyError, parse_policy, policy_id
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.certificate_fields import common_name, time_text, to_time, validity_us
from streams.wire.certificates import CHAIN_MAX, CertificateError, load_certificate
from streams.wire.registration import RECORD_BYTES_MAX, RegistrationRefusedError, check_registration
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.wire.trust import TrustStore

_APPROVER: Final = "board's approver"
_OPERATOR: Final = "operator"
_AUTHORITY: Final = "certificate authority"
_BOT: Final = "bot"


@dataclass(frozen=True, slots=True)
class Link:
    """One party of the chain: who it is by its certificate, and what it has signed."""

    role: str
    name: str
    certificate_sha256: str
    valid: str
    signed: str

    def as_dict(self) -> dict[str, str]:
        """Return it for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Duties:
    """The chain as presented, and every reason in words why it does not hold."""

    agent_id: str
    chain: tuple[Link, ...]
    problems: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Say whether three parties with three keys have done what is theirs to do."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "verified": self.verified,
            "agent_id": self.agent_id,
            "chain": [link.as_dict() for link in self.chain],
            "problems": list(self.problems),
        }


def verify_duties(value: bytes, trust: TrustStore, at_us: int) -> Duties:
    """Check a framed AgentRecord at a moment in microseconds UTC. Source: RTS 6 Art. 5(2), 8; the guide's Art. 70."""
    try:
        record = decode(Schema.AGENT_RECORD, value, bytes_max=RECORD_BYTES_MAX)
    except DecodeError as error:
        return Duties("", (), (f"record: {error.text}",))
    chain = tuple(_chain(record, trust))
    try:
        check_registration(value, trust, at_us)
    except RegistrationRefusedError as error:
        return Duties(record["agent_id"], chain, error.problems)
    return Duties(record["agent_id"], chain, ())


def _chain(record: Mapping[str, Any], trust: TrustStore) -> Iterator[Link]:
    policy = record["policy"]
    yield _link(_APPROVER, record["approver_certificate"], f"policy {policy_id(policy).hex()}{_scope(policy)}")
    bot = thumbprint(record["certificate_chain"][0]).hex() if record["certificate_chain"] else "none"
    yield _link(_OPERATOR, record["operator_certificate"], f"registration of policy and certificate {bot}")
    presented = record["certificate_chain"][:CHAIN_MAX]
    issuer = ""
    for place, der in enumerate(presented[:0:-1]):
        signed = f"certificate {thumbprint(presented[len(presented) - 2 - place]).hex()}"
        link = _link(_AUTHORITY, der, signed)
        issuer = issuer or _issuer(der)
        yield link
    for root in trust.ca_roots:
        if not issuer or root.subject.rfc4514_string() == issuer:
            yield Link(
                _AUTHORITY, common_name(root), "pinned", _valid(validity_us(root)), "the authority above, as root"
            )
    if presented:
        yield _link(_BOT, presented[0], "its orders")


def _link(role: str, der: bytes, signed: str) -> Link:
    digest = thumbprint(der).hex()
    try:
        certificate = load_certificate(der)
    except CertificateError as error:
        return Link(role, "unreadable", digest, error.problems[0], signed)
    return Link(role, common_name(certificate), digest, _valid(validity_us(certificate)), signed)


def _issuer(der: bytes) -> str:
    try:
        return load_certificate(der).issuer.rfc4514_string()
    except CertificateError:
        return ""


def _valid(span: tuple[int, int]) -> str:
    return " to ".join(time_text(to_time(moment_us)) for moment_us in span)


def _scope(document: bytes) -> str:
    try:
        return f" with scope {parse_policy(document).scope_sha256.hex()}"
    except PolicyError:
        return ""
