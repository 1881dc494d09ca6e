"""Certificates of bots: a path to a trusted CA at one moment, not revoked, and what the certificate says of its bot.

`check_chain` goes through these steps, and names the problems of all of them:

1. The chain is 1 to 8 DER certificates.
2. Each has a P-256 key; the bot's may sign, and is not signed by itself.
3. Each is valid at the moment asked for, to the microsecond.
4. There is a path to a trusted root (RFC 5280 section 6, with the rules of `cryptography.x509.verification`).
5. No certificate of the path is on its CA's revocation list, and that list is the CA's and in date.
6. The certificate names one bot in its subject and its SAN, and carries the digest of the policy's scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from streams.core.documents import NAME
from streams.core.errors import PortcullisError
from streams.core.reasons import Reason
from streams.wire.certificate_fields import (
    MOMENT_MAX_US,
    UNREADABLE,
    common_name,
    extension_of,
    subject_of,
    time_text,
    to_time,
    validity_us,
)
from streams.wire.revocation import revocation_problem
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Sequence

CHAIN_MAX: Final = 8
CERTIFICATE_BYTES_MAX: Final = 16 * 1024
AGENT_URI: Final = "urn:portcullis:agent:"
# Under 2.25 everybody may use a UUID of their own. Source: ITU-T X.667.
SCOPE_OID: Final = x509.ObjectIdentifier("2.25.208532921806246914733105842719638245110")
# DER of an OCTET STRING of 32 bytes, up to them.
SCOPE_PREFIX: Final = b"\x04\x20"

_SCOPE_BYTES: Final = 32
_ORDER: Final = tuple(Reason)
_Finding = tuple[Reason, str]


class CertificateError(PortcullisError):
    """A certificate or chain does not hold; `problems` names each, `reason` is that of the first check it failed."""

    def __init__(self, reason: Reason, problems: tuple[str, ...]) -> None:
        super().__init__("certificate refused: " + "; ".join(problems))
        self.reason = reason
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Chain:
    """A bot's certificate that holds; times in microseconds UTC, both ends included, of the whole path."""

    leaf: x509.Certificate
    public_key: EllipticCurvePublicKey
    thumbprint: bytes
    not_before_us: int
    not_after_us: int
    serial: int
    issuer_name: str
    agent_id: str
    scope_sha256: bytes


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate, every part of it.

    Raises: CertificateError where it is too long or not a certificate that we can read.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        problem = f"certificate: at most {CERTIFICATE_BYTES_MAX} bytes, has {len(der)}"
        raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,))
    try:
        certificate = x509.load_der_x509_certificate(der)
        # They are read when they are first asked for: here, so that nothing later can fail on their form.
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if certificate.serial_number <= 0:
            raise ValueError("a serial number above 0 required")
    except UNREADABLE as error:
        problem = f"certificate: DER of X.509 version 3 required ({ascii(str(error))[:120]})"
        raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,)) from None
    return certificate


def public_key_of(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    """Return a certificate's P-256 key. Raises: CertificateError where it has another key."""
    key = certificate.public_key()
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    kind = key.curve.name if isinstance(key, EllipticCurvePublicKey) else type(key).__name__
    problem = f"key of {subject_of(certificate)}: ECDSA on P-256 required, is {kind}"
    raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,))


def check_chain(
    chain: Sequence[bytes],
    roots: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
    at_us: int,
) -> Chain:
    """Check a bot's certificate (DER, leaf first, then intermediates) at a moment in microseconds UTC.

    Raises: CertificateError with every problem. Source: RFC 5280 section 6.
    """
    certificates = _load_chain(chain, at_us)
    leaf = certificates[0]
    findings = [*_key_findings(certificates), *_validity_findings(certificates, at_us)]
    path = _path(certificates, roots, at_us, findings)
    revoked = [revocation_problem(certificate, issuer, crls, at_us) for certificate, issuer in pairwise(path)]
    findings += [(Reason.CERTIFICATE_REVOKED, problem) for problem in revoked if problem is not None]
    agent_id = _agent_id(leaf, findings)
    scope_sha256 = _scope_sha256(leaf, findings)
    if findings:
        reason = min((reason for reason, _ in findings), key=_ORDER.index)
        raise CertificateError(reason, tuple(text for _, text in findings))
    spans = [validity_us(certificate) for certificate in path]
    return Chain(
        leaf=leaf,
        public_key=public_key_of(leaf),
        thumbprint=thumbprint(chain[0]),
        not_before_us=max(first for first, _ in spans),
        not_after_us=min(last for _, last in spans),
        serial=leaf.serial_number,
        issuer_name=leaf.issuer.rfc4514_string(),
        agent_id=agent_id,
        scope_sha256=scope_sha256,
    )


def _load_chain(chain: Sequence[bytes], at_us: int) -> list[x509.Certificate]:
    if not 1 <= len(chain) <= CHAIN_MAX:
        problem = f"certificate_chain: 1 to {CHAIN_MAX} certificates, has {len(chain)}"
        raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,))
    if not 0 <= at_us <= MOMENT_MAX_US:
        problem = f"moment: 0 to {MOMENT_MAX_US} us, is {at_us} us"
        raise CertificateError(Reason.CERTIFICATE_EXPIRED, (problem,))
    return [load_certificate(der) for der in chain]


def _key_findings(certificates: Sequence[x509.Certificate]) -> list[_Finding]:
    findings: list[_Finding] = []
    for certificate in certificates:
        _note_key(certificate, findings)
    leaf = certificates[0]
    if leaf.issuer == leaf.subject:
        findings.append(_invalid(f"issuer of {subject_of(leaf)}: a third party required, is self-signed"))
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        findings.append(_invalid(f"key usage of {subject_of(leaf)}: digitalSignature required"))
    return findings


def _note_key(certificate: x509.Certificate, findings: list[_Finding]) -> None:
    try:
        public_key_of(certificate)
    except CertificateError as error:
        findings.append((error.reason, error.problems[0]))


def _validity_findings(certificates: Sequence[x509.Certificate], at_us: int) -> list[_Finding]:
    findings = []
    for certificate in certificates:
        first_us, last_us = validity_us(certificate)
        if not first_us <= at_us <= last_us:
            span = f"{time_text(to_time(first_us))} to {time_text(to_time(last_us))}"
            text = f"validity of {subject_of(certificate)}: {span}, is {time_text(to_time(at_us))}"
            findings.append((Reason.CERTIFICATE_EXPIRED, text))
    return findings


def _path(
    certificates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at_us: int,
    findings: list[_Finding],
) -> list[x509.Certificate]:
    """Return the certificates from the bot's to a root's, or none and a finding.

    Where one has expired, the path is looked for at the nearest moment at which all were valid.
    """
    if not roots:
        findings.append(_invalid("certificate_chain: a trusted CA required, has 0"))
        return []
    spans = [validity_us(certificate) for certificate in certificates]
    moment = to_time(min(max(at_us, *(first for first, _ in spans)), *(last for _, last in spans)))
    verifier = PolicyBuilder().store(Store(list(roots))).time(moment.replace(tzinfo=None)).build_client_verifier()
    try:
        path = verifier.verify(certificates[0], list(certificates[1:])).chain
    except (VerificationError, *UNREADABLE) as error:
        findings.append(_invalid(f"certificate_chain: a path to a trusted CA required ({ascii(str(error))[:300]})"))
        return []
    _note_key(path[-1], findings)
    return path


def _agent_id(leaf: x509.Certificate, findings: list[_Finding]) -> str:
    agent_id = common_name(leaf)
    if not NAME.fullmatch(agent_id):
        findings.append(_invalid(f"common name of {subject_of(leaf)}: one agent_id ({NAME.pattern}) required"))
        return agent_id
    names = extension_of(leaf, x509.SubjectAlternativeName)
    if names is None or list(names) != [x509.UniformResourceIdentifier(AGENT_URI + agent_id)]:
        required = f"{AGENT_URI}{agent_id} and no other required"
        findings.append(_invalid(f"subject alternative name of {subject_of(leaf)}: {required}"))
    return agent_id


def _scope_sha256(leaf: x509.Certificate, findings: list[_Finding]) -> bytes:
    try:
        extension = leaf.extensions.get_extension_for_oid(SCOPE_OID)
    except x509.ExtensionNotFound:
        findings.append(_invalid(f"scope digest of {subject_of(leaf)}: {SCOPE_OID.dotted_string} required, is missing"))
        return b""
    value = extension.value.public_bytes()
    digest = value.removeprefix(SCOPE_PREFIX)
    if extension.critical or len(digest) != _SCOPE_BYTES or len(value) != len(SCOPE_PREFIX) + _SCOPE_BYTES:
        required = f"{_SCOPE_BYTES} octets, not critical"
        findings.append(_invalid(f"scope digest of {subject_of(leaf)}: {required}, has {value[:40].hex()}"))
    return digest


def _invalid(text: str) -> _Finding:
    return Reason.CERTIFICATE_INVALID, text
