"""Making certificates and revocation lists, as a CA does: for the development PKI and for tests. No files, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.wire.certificates import AGENT_URI, SCOPE_OID, SCOPE_PREFIX, public_key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA: its certificate, its key, and where it publishes its revocation list."""

    certificate: x509.Certificate
    private_key: EllipticCurvePrivateKey
    crl_uri: str


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate or list is valid, to the second."""

    first: datetime
    last: datetime


def subject_name(common_name: str, organisation: str, units: Iterable[str] = ()) -> x509.Name:
    """Return a name of organisation, units and common name."""
    parts = [(NameOID.ORGANIZATION_NAME, organisation)]
    parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, str(unit)) for unit in units]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in [*parts, (NameOID.COMMON_NAME, common_name)]])


def root_certificate(key: EllipticCurvePrivateKey, name: x509.Name, validity: Validity) -> x509.Certificate:
    """Return the certificate of a root CA, which may have one level of CAs below it."""
    builder = _builder(name, name, key.public_key(), validity)
    return _as_authority(builder, key.public_key(), path_length=1).sign(key, SHA256())


def intermediate_certificate(
    key: EllipticCurvePublicKey, name: x509.Name, validity: Validity, issuer: Issuer
) -> x509.Certificate:
    """Return the certificate of a CA below another, which issues to bots only."""
    builder = _below(_builder(name, issuer.certificate.subject, key, validity), issuer)
    return _as_authority(builder, key, path_length=0).sign(issuer.private_key, SHA256())


def pinned_certificate(key: EllipticCurvePrivateKey, name: x509.Name, validity: Validity) -> x509.Certificate:
    """Return the certificate of a party that is trusted by name, not by a CA: signed by its own key."""
    builder = _builder(name, name, key.public_key(), validity)
    return builder.add_extension(_usage(digital_signature=True), critical=True).sign(key, SHA256())


def agent_certificate(
    key: EllipticCurvePublicKey, name: x509.Name, validity: Validity, issuer: Issuer, scope_sha256: bytes
) -> x509.Certificate:
    """Return the certificate of the bot that the name's common name says, for the policy with this scope."""
    (common_name,) = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    agent = x509.UniformResourceIdentifier(f"{AGENT_URI}{common_name.value!s}")
    builder = (
        _below(_builder(name, issuer.certificate.subject, key, validity), issuer)
        .add_extension(x509.SubjectAlternativeName([agent]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.UnrecognizedExtension(SCOPE_OID, SCOPE_PREFIX + scope_sha256), critical=False)
    )
    return builder.sign(issuer.private_key, SHA256())


def service_certificate(
    key: EllipticCurvePublicKey, name: x509.Name, validity: Validity, issuer: Issuer, *, serves: bool
) -> x509.Certificate:
    """Return the certificate of one of the firm's own services; one that `serves` answers on loopback alone."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else [])]
    builder = (
        _below(_builder(name, issuer.certificate.subject, key, validity), issuer)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
    )
    if serves:
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
        builder = builder.add_extension(hosts, critical=False)
    return builder.sign(issuer.private_key, SHA256())


def revocation_list(
    issuer: Issuer, number: int, revoked: Mapping[int, datetime], validity: Validity
) -> x509.CertificateRevocationList:
    """Return a CA's list of revoked certificates: serial number and since when."""
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(issuer.certificate))
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(validity.first)
        .next_update(validity.last)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority, critical=False)
    )
    for serial, date in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.private_key, SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.first)
        .not_valid_after(validity.last)
    )


def _as_authority(
    builder: x509.CertificateBuilder, key: EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _below(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.CertificateBuilder:
    """Add what a certificate says of its issuer: its key, and where its revocation list is."""
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(issuer.certificate))
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(issuer.crl_uri)], None, None, None)
    return builder.add_extension(authority, critical=False).add_extension(
        x509.CRLDistributionPoints([point]), critical=False
    )


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
