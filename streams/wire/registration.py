"""Registrations: three parties' approvals of one bot, checked against each other.

The board's approver signs the policy, the operator signs the statement that ties policy and certificate together, and a
third-party CA issues the certificate with the digest of the approved scope. No two of them may be one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from streams.core.documents import NAME, SHA256, DocumentReader, load_json
from streams.core.errors import PortcullisError
from streams.core.policy import Policy, PolicyError, parse_policy, policy_id
from streams.core.reasons import Reason
from streams.core.testing import passed_later
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.certificate_fields import common_name, public_point, validity_us
from streams.wire.certificates import CHAIN_MAX, CertificateError, Chain, check_chain, load_certificate, public_key_of
from streams.wire.signatures import POLICY_TYPE, REGISTRATION_TYPE, is_valid, thumbprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from streams.wire.trust import TrustStore

RECORD_BYTES_MAX: Final = 256 * 1024
STATEMENT_BYTES_MAX: Final = 4 * 1024
# How far the operator's clock may be ahead of the log's.
CLOCK_TOLERANCE_US: Final = 5 * 60 * 1_000_000


class RegistrationRefusedError(PortcullisError):
    """A registration does not hold; `problems` names every field, limit and value."""

    def __init__(self, problems: tuple[str, ...], reason: Reason = Reason.ALGO_NOT_AUTHORISED) -> None:
        super().__init__("registration refused: " + "; ".join(problems))
        self.problems = problems
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Registration:
    """A bot that may trade under its policy; times in microseconds UTC, those of the certificate's whole path."""

    agent_id: str
    policy: Policy
    public_key: EllipticCurvePublicKey
    thumbprint: bytes
    not_before_us: int
    not_after_us: int
    operator: str
    approver: str
    serial: int
    registered_at_us: int


@dataclass(frozen=True, slots=True)
class _Statement:
    agent_id: str
    policy_sha256: str
    certificate_sha256: str
    registered_at_us: int


def check_registration(value: bytes, trust: TrustStore, at_us: int) -> Registration:
    """Check a framed AgentRecord at a moment in microseconds UTC.

    Raises: RegistrationRefusedError with every problem. Source: RTS 6 Art. 5(2) and 8.
    """
    try:
        record = decode(Schema.AGENT_RECORD, value, bytes_max=RECORD_BYTES_MAX)
    except DecodeError as error:
        raise RegistrationRefusedError((f"record: {error.text}",)) from None
    problems: list[str] = []
    policy = _policy(record["policy"], problems)
    approver = _party("approver", record, POLICY_TYPE, trust.approvers, at_us, problems)
    operator = _party("operator", record, REGISTRATION_TYPE, trust.operators, at_us, problems)
    statement = _statement(record["registration"], problems)
    chain, certificate_error = _chain(record["certificate_chain"], trust, at_us)
    _compare_statement(statement, record, at_us, problems)
    _compare_names(record["agent_id"], policy, chain, (approver, operator), problems)
    if policy is not None:
        _compare_times(policy, at_us, problems)
    _require_separate_keys(record, trust, (approver, operator), problems)
    if certificate_error is not None:
        reason = Reason.ALGO_NOT_AUTHORISED if problems else certificate_error.reason
        raise RegistrationRefusedError((*problems, *certificate_error.problems), reason)
    if problems or policy is None or chain is None or statement is None or approver is None or operator is None:
        raise RegistrationRefusedError(tuple(problems))
    return Registration(
        agent_id=policy.agent_id,
        policy=policy,
        public_key=chain.public_key,
        thumbprint=chain.thumbprint,
        not_before_us=chain.not_before_us,
        not_after_us=chain.not_after_us,
        operator=common_name(operator),
        approver=common_name(approver),
        serial=chain.serial,
        registered_at_us=statement.registered_at_us,
    )


def _policy(document: bytes, problems: list[str]) -> Policy | None:
    try:
        return parse_policy(document)
    except PolicyError as error:
        problems += [f"policy.{problem}" for problem in error.problems]
        return None


def _party(
    role: str,
    record: Mapping[str, Any],
    payload_type: bytes,
    trusted: Mapping[str, x509.Certificate],
    at_us: int,
    problems: list[str],
) -> x509.Certificate | None:
    """Return the certificate of the approver or operator; their signature is over what is theirs to sign."""
    field = f"{role}_certificate"
    try:
        certificate = load_certificate(record[field])
        key = public_key_of(certificate)
    except CertificateError as error:
        problems += [f"{field}: {problem}" for problem in error.problems]
        return None
    if certificate not in trusted.values():
        digest = thumbprint(record[field]).hex()
        problems.append(f"{field}: one of {len(trusted)} trusted required, is {common_name(certificate)!a} ({digest})")
    first_us, last_us = validity_us(certificate)
    if not first_us <= at_us <= last_us:
        problems.append(f"{field}: valid from {first_us} to {last_us} us, is {at_us} us")
    body = record["policy" if role == "approver" else "registration"]
    if not is_valid(key, payload_type, body, record[f"{role}_signature"]):
        problems.append(f"{role}_signature: of {common_name(certificate)!a} over {payload_type.decode()} required")
    return certificate


def _statement(document: bytes, problems: list[str]) -> _Statement | None:
    if len(document) > STATEMENT_BYTES_MAX:
        problems.append(f"registration: at most {STATEMENT_BYTES_MAX} bytes, has {len(document)}")
        return None
    try:
        body = load_json(document)
    except (ValueError, RecursionError) as error:
        problems.append(f"registration: JSON required ({ascii(str(error))[:120]})")
        return None
    reader = DocumentReader(body, "registration", [])
    statement = _Statement(
        agent_id=reader.text("agent_id", NAME),
        policy_sha256=reader.text("policy_sha256", SHA256),
        certificate_sha256=reader.text("certificate_sha256", SHA256),
        registered_at_us=reader.instant_us("registered_at"),
    )
    reader.finish()
    problems += reader.problems
    return None if reader.problems else statement


def _chain(ders: Sequence[bytes], trust: TrustStore, at_us: int) -> tuple[Chain | None, CertificateError | None]:
    try:
        return check_chain(ders, trust.ca_roots, trust.crls, at_us), None
    except CertificateError as error:
        return None, error


def _compare_statement(
    statement: _Statement | None, record: Mapping[str, Any], at_us: int, problems: list[str]
) -> None:
    if statement is None:
        return
    chain = record["certificate_chain"]
    for field, expected, found in (
        ("agent_id", record["agent_id"], statement.agent_id),
        ("policy_sha256", policy_id(record["policy"]).hex(), statement.policy_sha256),
        ("certificate_sha256", thumbprint(chain[0]).hex() if chain else "", statement.certificate_sha256),
    ):
        if expected != found:
            problems.append(f"registration.{field}: {expected[:80]!a} required, is {found!a}")
    latest_us = at_us + CLOCK_TOLERANCE_US
    if statement.registered_at_us > latest_us:
        problems.append(f"registration.registered_at: at most {latest_us} us, is {statement.registered_at_us} us")


def _compare_times(policy: Policy, at_us: int, problems: list[str]) -> None:
    """Compare what the policy says of times with the moment of the registration."""
    if policy.valid_until_us <= at_us:
        problems.append(f"policy.valid_until: after {at_us} us required, is {policy.valid_until_us} us")
    for exercise, day in passed_later(policy.testing, at_us + CLOCK_TOLERANCE_US):
        problems.append(f"policy.testing.last_passed.{exercise}.day: at most that of {at_us} us required, is {day}")


def _compare_names(
    agent_id: str,
    policy: Policy | None,
    chain: Chain | None,
    parties: tuple[x509.Certificate | None, x509.Certificate | None],
    problems: list[str],
) -> None:
    """Compare what record, policy and certificates say of bot, scope and parties."""
    approver, operator = parties
    pairs = []
    if policy is not None:
        pairs.append(("policy.agent_id", agent_id, policy.agent_id))
        if operator is not None:
            pairs.append(("operator_certificate: common name", policy.operator, common_name(operator)))
        if approver is not None:
            pairs.append(("approver_certificate: common name", policy.governance.approved_by, common_name(approver)))
    if chain is not None:
        pairs.append(("certificate: agent_id", agent_id, chain.agent_id))
        if policy is not None:
            pairs.append(("certificate: scope digest", policy.scope_sha256.hex(), chain.scope_sha256.hex()))
    for field, expected, found in pairs:
        if expected != found:
            problems.append(f"{field}: {expected[:80]!a} required, is {found[:80]!a}")


def _require_separate_keys(
    record: Mapping[str, Any],
    trust: TrustStore,
    parties: tuple[x509.Certificate | None, x509.Certificate | None],
    problems: list[str],
) -> None:
    """Require different keys of approver, operator, CAs and bot; and a bot's key may not be a person's."""
    holders: list[tuple[str, set[bytes]]] = []
    for role, certificate in zip(("approver", "operator"), parties, strict=True):
        if certificate is not None:
            holders.append((role, {public_point(public_key_of(certificate))}))
    presented = [point for der in record["certificate_chain"][:CHAIN_MAX] if (point := _point_of(der))]
    leaf = _point_of(record["certificate_chain"][0]) if record["certificate_chain"] else b""
    authorities = {public_point(public_key_of(root)) for root in trust.ca_roots}
    holders.append(("CA", authorities | set(presented[1:] if leaf else presented)))
    if leaf:
        holders.append(("bot", {leaf}))
    for (one, keys), (other, others) in combinations(holders, 2):
        if keys & others:
            problems.append(f"{one} and {other}: two different keys required, have one")
    problems += [
        f"bot: another key than that of {person.name} required"
        for person in trust.people.values()
        if leaf == public_point(person.public_key)
    ]


def _point_of(der: bytes) -> bytes:
    """Return the public point of a certificate, nothing where it has none that we take."""
    try:
        return public_point(public_key_of(load_certificate(der)))
    except CertificateError:
        return b""
