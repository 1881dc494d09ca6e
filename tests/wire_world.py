"""A PKI of fixed dates and registrations made with it, each part of which a test can change."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from streams.core.policy import policy_id
from streams.wire.avro import Schema, encode
from streams.wire.certificate_fields import to_time, validity_us
from streams.wire.certificates import public_key_of
from streams.wire.issuing import (
    Issuer,
    Validity,
    agent_certificate,
    intermediate_certificate,
    pinned_certificate,
    revocation_list,
    root_certificate,
    subject_name,
)
from streams.wire.signatures import POLICY_TYPE, REGISTRATION_TYPE, sign, thumbprint
from streams.wire.trust import Person, Role, TrustStore
from tests.gate_world import DOCUMENT, NOON, POLICY, S_US, us

if TYPE_CHECKING:
    from cryptography import x509

DAY_US = 86_400 * S_US
LONG = Validity(to_time(us("2020-01-01T00:00:00+00:00")), to_time(us("2050-01-01T00:00:00+00:00")))
LEAF_FIRST_US = us("2026-05-01T00:00:00+00:00")
LEAF_LAST_US = us("2027-05-01T00:00:00+00:00")
LEAF = Validity(to_time(LEAF_FIRST_US), to_time(LEAF_LAST_US))
POLICY_BYTES = json.dumps(DOCUMENT).encode()
APPROVER_NAME = subject_name("ceo@acme", "Acme")
OPERATOR_NAME = subject_name("acme_trading_ltd", "Acme")
AGENT_NAME = subject_name(POLICY.agent_id, "Acme")


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def person_of(name: str, key: ec.EllipticCurvePrivateKey, roles: frozenset[Role]) -> tuple[bytes, Person]:
    certificate = pinned_certificate(key, subject_name(name, "Acme", roles), LONG)
    return thumbprint(der(certificate)), Person(name, roles, public_key_of(certificate), *validity_us(certificate))


@dataclass
class Authority:
    """A root and a CA below it, with their revocation lists."""

    root_key: ec.EllipticCurvePrivateKey
    issuing_key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls) -> Authority:
        return cls(new_key(), new_key())

    @cached_property
    def root(self) -> Issuer:
        certificate = root_certificate(self.root_key, subject_name("Root", "CA"), LONG)
        return Issuer(certificate, self.root_key, "http://crl.example/root.crl")

    @cached_property
    def issuing(self) -> Issuer:
        name = subject_name("Issuing", "CA")
        certificate = intermediate_certificate(self.issuing_key.public_key(), name, LONG, self.root)
        return Issuer(certificate, self.issuing_key, "http://crl.example/issuing.crl")

    @cached_property
    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        return self.list_of(self.root), self.list_of(self.issuing)

    @staticmethod
    def list_of(issuer: Issuer, *serials: int, validity: Validity | None = None) -> x509.CertificateRevocationList:
        week = Validity(to_time(NOON - DAY_US), to_time(NOON + 6 * DAY_US))
        return revocation_list(issuer, 1, dict.fromkeys(serials, to_time(NOON - DAY_US)), validity or week)

    def leaf(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        name: x509.Name = AGENT_NAME,
        validity: Validity = LEAF,
        scope_sha256: bytes = POLICY.scope_sha256,
        issuer: Issuer | None = None,
    ) -> x509.Certificate:
        return agent_certificate(key.public_key(), name, validity, issuer or self.issuing, scope_sha256)


@dataclass(frozen=True)
class Parties:
    """The three parties of a registration and the bot, as they sign; `changes` go into the record after signing."""

    authority: Authority
    approver_key: ec.EllipticCurvePrivateKey
    operator_key: ec.EllipticCurvePrivateKey
    bot_key: ec.EllipticCurvePrivateKey
    approver: x509.Certificate
    operator: x509.Certificate
    chain: tuple[bytes, ...]
    policy: bytes = POLICY_BYTES
    agent_id: str = POLICY.agent_id
    registered_at: str = "2026-06-03T11:59:00Z"

    @classmethod
    def make(
        cls,
        *,
        authority: Authority | None = None,
        approver_key: ec.EllipticCurvePrivateKey | None = None,
        operator_key: ec.EllipticCurvePrivateKey | None = None,
        bot_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Parties:
        authority, bot_key = authority or Authority.make(), bot_key or new_key()
        approver_key, operator_key = approver_key or new_key(), operator_key or new_key()
        return cls(
            authority,
            approver_key,
            operator_key,
            bot_key,
            pinned_certificate(approver_key, APPROVER_NAME, LONG),
            pinned_certificate(operator_key, OPERATOR_NAME, LONG),
            (der(authority.leaf(bot_key)), der(authority.issuing.certificate)),
        )

    @property
    def trust(self) -> TrustStore:
        return TrustStore(
            approvers={"ceo@acme": self.approver},
            operators={"acme_trading_ltd": self.operator},
            ca_roots=(self.authority.root.certificate,),
            crls=self.authority.crls,
            people={},
        )

    def statement(self, **changes: object) -> bytes:
        body = {
            "agent_id": self.agent_id,
            "policy_sha256": policy_id(self.policy).hex(),
            "certificate_sha256": thumbprint(self.chain[0]).hex() if self.chain else "00" * 32,
            "registered_at": self.registered_at,
        }
        return json.dumps({key: value for key, value in (body | changes).items() if value is not None}).encode()

    def record(self, *, statement: bytes | None = None, **changes: Any) -> bytes:
        """Return the framed record; a statement given is signed, other changes are not."""
        statement = self.statement() if statement is None else statement
        body = {
            "agent_id": self.agent_id,
            "policy": self.policy,
            "approver_signature": sign(self.approver_key, POLICY_TYPE, self.policy),
            "approver_certificate": der(self.approver),
            "registration": statement,
            "operator_signature": sign(self.operator_key, REGISTRATION_TYPE, statement),
            "operator_certificate": der(self.operator),
            "certificate_chain": list(self.chain),
        }
        return encode(Schema.AGENT_RECORD, body | changes)

    def with_chain(self, *chain: x509.Certificate) -> Parties:
        return replace(self, chain=tuple(der(certificate) for certificate in chain))
