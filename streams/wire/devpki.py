"""A PKI for development, drills and tests: all parties of a registration on one machine. Never for production.

Layout: `trust/` is what workers read (see `streams.wire.trust`), `private/` holds the parties' keys, readable by the
owner only, which in a firm are with the board, the operator, the CA and each person, and nowhere together.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.core.policy import parse_policy, policy_id
from streams.wire.avro import Schema, encode
from streams.wire.certificates import AGENT_URI, SCOPE_OID, public_key_of
from streams.wire.keys import AgentCredentials, KeyFileError, SigningKey, load_private_key, private_pem, write_file
from streams.wire.note import Signer
from streams.wire.signatures import POLICY_TYPE, REGISTRATION_TYPE, sign, thumbprint
from streams.wire.trust import FOLDER, Role

if TYPE_CHECKING:
    from pathlib import Path

APPROVER: Final = "ceo@acme"
OPERATOR: Final = "acme_trading_ltd"
PEOPLE: Final = {
    "ceo@acme": tuple(Role),
    "cfo@acme": (Role.KILL, Role.RELEASE, Role.ACKNOWLEDGE),
    "compliance_lead@acme": tuple(Role),
}

_PRIVATE: Final = "private"
_ROOT: Final = "root-ca"
_ISSUING: Final = "issuing-ca"
_LIST_URI: Final = "http://crl.example/{}.crl"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LAST_DAY: Final = datetime(2050, 1, 1, tzinfo=UTC)
_LIST_LIFE: Final = timedelta(days=365)
_LIST_RENEWAL: Final = timedelta(days=30)
_AGENT_LIFE: Final = timedelta(days=398)
_BACKDATED: Final = timedelta(days=1)


def make_dev_pki(folder: Path) -> None:
    """Make what is missing of the parties' keys, certificates, revocation lists and seeds; renew lists that run out."""
    root = _authority(folder, _ROOT, folder / FOLDER / "ca", None)
    issuing = _authority(folder, _ISSUING, folder / "chain", root)
    for name in (_ROOT, _ISSUING):
        _renew_list(folder, name, root if name == _ROOT else issuing)
    _pinned(folder, "approvers", APPROVER, "approver", ())
    _pinned(folder, "operators", OPERATOR, "operator", ())
    for person, roles in PEOPLE.items():
        _pinned(folder, "people", person, f"person-{person}", roles)
    for name in ("log", "report"):
        _seed(folder, name)


def issue_agent(
    folder: Path, policy_document: bytes, *, not_before_us: int | None = None, not_after_us: int | None = None
) -> AgentCredentials:
    """Make a bot's key, and its certificate by the CA for the scope of this policy.

    Times in microseconds UTC, cut to seconds; without them from a day ago for 398 days.

    Raises: PolicyError where the policy does not hold, KeyFileError where there is no PKI.
    """
    policy = parse_policy(policy_document)
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _load(folder / "chain" / f"{_ISSUING}.pem")
    alternative = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(AGENT_URI + policy.agent_id)])
    builder = (
        _builder(_name(policy.agent_id, policy.operator), issuer.subject, key.public_key())
        .not_valid_before(now - _BACKDATED if not_before_us is None else _second(not_before_us))
        .not_valid_after(now + _AGENT_LIFE if not_after_us is None else _second(not_after_us))
        .add_extension(alternative, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.UnrecognizedExtension(SCOPE_OID, b"\x04\x20" + policy.scope_sha256), critical=False)
    )
    builder = _below(builder, issuer, _ISSUING)
    leaf = builder.sign(_private_key(folder, _ISSUING), SHA256()).public_bytes(Encoding.DER)
    return AgentCredentials(policy.agent_id, key, (leaf, issuer.public_bytes(Encoding.DER)), thumbprint(leaf))


def make_registration(
    folder: Path, policy_document: bytes, credentials: AgentCredentials, *, at_us: int | None = None
) -> bytes:
    """Return a framed AgentRecord, signed by approver and operator at a moment in microseconds UTC, or now."""
    moment = _EPOCH + timedelta(microseconds=time.time_ns() // 1000 if at_us is None else at_us)
    statement = orjson.dumps(
        {
            "agent_id": credentials.agent_id,
            "policy_sha256": policy_id(policy_document).hex(),
            "certificate_sha256": credentials.thumbprint.hex(),
            "registered_at": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
    )
    return encode(
        Schema.AGENT_RECORD,
        {
            "agent_id": credentials.agent_id,
            "policy": policy_document,
            "approver_signature": sign(_private_key(folder, "approver"), POLICY_TYPE, policy_document),
            "approver_certificate": _pinned_der(folder, "approvers", APPROVER),
            "registration": statement,
            "operator_signature": sign(_private_key(folder, "operator"), REGISTRATION_TYPE, statement),
            "operator_certificate": _pinned_der(folder, "operators", OPERATOR),
            "certificate_chain": list(credentials.chain),
        },
    )


def revoke(folder: Path, serial: int) -> None:
    """Publish a revocation list of the issuing CA that has this certificate, besides those that it had."""
    issuer = _load(folder / "chain" / f"{_ISSUING}.pem")
    _publish_list(folder, _ISSUING, issuer, (serial,))


def person_key(folder: Path, name: str) -> SigningKey:
    """Return the key with which a person signs commands. Raises: KeyFileError where there is no such person."""
    if name not in PEOPLE:
        raise KeyFileError(f"person: one of {', '.join(PEOPLE)} required, is {name[:60]!a}")
    key = _private_key(folder, f"person-{name}")
    return SigningKey(name, key, thumbprint(_pinned_der(folder, "people", name)))


def log_signer(folder: Path, origin: str) -> Signer:
    """Return the signer of the audit log of this origin."""
    return Signer.from_seed(origin, (folder / _PRIVATE / "log.seed").read_bytes())


def report_signer(folder: Path, name: str) -> Signer:
    """Return the signer of report batches under this key name."""
    return Signer.from_seed(name, (folder / _PRIVATE / "report.seed").read_bytes())


def _authority(folder: Path, name: str, where: Path, issuer: x509.Certificate | None) -> x509.Certificate:
    path = where / f"{name}.pem"
    if path.is_file():
        return _load(path)
    key = _make_key(folder, name)
    subject = _name(f"Development {name}", "Third Party CA (development)")
    builder = (
        _builder(subject, subject if issuer is None else issuer.subject, key.public_key())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_LAST_DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1 if issuer is None else 0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = key
    if issuer is not None:
        builder, signer = _below(builder, issuer, _ROOT), _private_key(folder, _ROOT)
    certificate = builder.sign(signer, SHA256())
    write_file(path, certificate.public_bytes(Encoding.PEM))
    return certificate


def _pinned(folder: Path, role: str, name: str, key_name: str, units: tuple[str, ...]) -> None:
    """Make a party's certificate: signed by its own key, trusted because it is in the folder."""
    path = folder / FOLDER / role / f"{name}.pem"
    if path.is_file():
        return
    key = _make_key(folder, key_name)
    subject = _name(name, "Acme Trading Ltd", units)
    builder = _builder(subject, subject, key.public_key()).not_valid_before(_FIRST_DAY).not_valid_after(_LAST_DAY)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    write_file(path, builder.sign(key, SHA256()).public_bytes(Encoding.PEM))


def _renew_list(folder: Path, name: str, issuer: x509.Certificate) -> None:
    path = folder / FOLDER / "crl" / f"{name}.pem"
    if path.is_file():
        next_update = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc
        if next_update is not None and next_update - datetime.now(UTC) > _LIST_RENEWAL:
            return
    _publish_list(folder, name, issuer, ())


def _publish_list(folder: Path, name: str, issuer: x509.Certificate, serials: tuple[int, ...]) -> None:
    path = folder / FOLDER / "crl" / f"{name}.pem"
    now, number, entries = datetime.now(UTC), 1, {}
    if path.is_file():
        before = x509.load_pem_x509_crl(path.read_bytes())
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        entries = {entry.serial_number: entry.revocation_date_utc for entry in before}
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + _LIST_LIFE)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(issuer)), critical=False)
    )
    for serial, date in (dict.fromkeys(serials, now) | entries).items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
        builder = builder.add_revoked_certificate(entry)
    write_file(path, builder.sign(_private_key(folder, name), SHA256()).public_bytes(Encoding.PEM))


def _seed(folder: Path, name: str) -> None:
    path = folder / _PRIVATE / f"{name}.seed"
    if not path.is_file():
        write_file(path, secrets.token_bytes(32), secret=True)
    public_key = Signer.from_seed(name, path.read_bytes()).verifier.public_key
    write_file(folder / FOLDER / "keys" / f"{name}.pub", public_key)


def _below(builder: x509.CertificateBuilder, issuer: x509.Certificate, issuer_name: str) -> x509.CertificateBuilder:
    """Add what a certificate says of its issuer: its key, and where its revocation list is."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(_LIST_URI.format(issuer_name))], None, None, None)
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(issuer)), critical=False
    ).add_extension(x509.CRLDistributionPoints([point]), critical=False)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number())


def _name(common_name: str, organisation: str, units: tuple[str, ...] = ()) -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, organisation)]
    parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, str(unit)) for unit in units]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in [*parts, (NameOID.COMMON_NAME, common_name)]])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    path = folder / _PRIVATE / f"{name}.pem"
    if path.is_file():
        return load_private_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    write_file(path, private_pem(key), secret=True)
    return key


def _private_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    return load_private_key(folder / _PRIVATE / f"{name}.pem")


def _pinned_der(folder: Path, role: str, name: str) -> bytes:
    return _load(folder / FOLDER / role / f"{name}.pem").public_bytes(Encoding.DER)


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _second(moment_us: int) -> datetime:
    return _EPOCH + timedelta(seconds=moment_us // 1_000_000)
