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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from streams.core.documents import NAME
from streams.core.errors import PortcullisError
from streams.core.reasons import Reason
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Sequence

CHAIN_MAX: Final = 8
CERTIFICATE_BYTES_MAX: Final = 16 * 1024
AGENT_URI: Final = "urn:portcullis:agent:"
# Under 2.25 everybody may use a UUID of their own. Source: ITU-T X.667.
SCOPE_OID: Final = x509.ObjectIdentifier("2.25.208532921806246914733105842719638245110")
_OCTETS_32: Final = b"\x04\x20"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_ORDER: Final = tuple(Reason)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_Finding = tuple[Reason, str]
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


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
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature_hash_algorithm
    except _UNREADABLE as error:
        problem = f"certificate: DER of X.509 version 3 required ({ascii(error)[:120]})"
        raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,)) from None
    return certificate


def public_key_of(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    """Return a certificate's P-256 key. Raises: CertificateError where it has another key."""
    key = certificate.public_key()
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    problem = f"key of {subject_of(certificate)}: ECDSA on P-256 required, is {type(key).__name__}"
    raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,))


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's only common name, or nothing where it has none or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    value = names[0].value if len(names) == 1 else ""
    return value if isinstance(value, str) else ""


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as a problem shows it: RFC 4514, ASCII, cut short."""
    return ascii(certificate.subject.rfc4514_string())[:100]


def validity_us(certificate: x509.Certificate) -> tuple[int, int]:
    """Return the first and the last moment of a certificate's validity, in microseconds UTC."""
    return (certificate.not_valid_before_utc - _EPOCH) // _US, (certificate.not_valid_after_utc - _EPOCH) // _US


def check_chain(
    chain: Sequence[bytes],
    roots: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
    at_us: int,
) -> Chain:
    """Check a bot's certificate (DER, leaf first, then intermediates) at a moment in microseconds UTC.

    Raises: CertificateError with every problem. Source: RFC 5280 section 6.
    """
    certificates = _load_chain(chain)
    leaf = certificates[0]
    findings = _key_findings(certificates)
    findings += _validity_findings(certificates, at_us)
    path = _path(certificates, roots, _moment_in_validity(certificates, at_us), findings)
    for certificate, issuer in zip(path, path[1:], strict=False):
        findings += _revocation_findings(certificate, issuer, crls, at_us)
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


def _load_chain(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not 1 <= len(chain) <= CHAIN_MAX:
        problem = f"certificate_chain: 1 to {CHAIN_MAX} certificates, has {len(chain)}"
        raise CertificateError(Reason.CERTIFICATE_INVALID, (problem,))
    return [load_certificate(der) for der in chain]


def _key_findings(certificates: Sequence[x509.Certificate]) -> list[_Finding]:
    findings: list[_Finding] = []
    for certificate in certificates:
        try:
            public_key_of(certificate)
        except CertificateError as error:
            findings.append((error.reason, error.problems[0]))
    leaf = certificates[0]
    if leaf.issuer == leaf.subject:
        findings.append(_invalid(f"certificate of {subject_of(leaf)}: issued by a third party required, is self-signed"))
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        findings.append(_invalid(f"key usage of {subject_of(leaf)}: digitalSignature required"))
    return findings


def _validity_findings(certificates: Sequence[x509.Certificate], at_us: int) -> list[_Finding]:
    return [
        (
            Reason.CERTIFICATE_EXPIRED,
            f"validity of {subject_of(certificate)}: {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}, is {_time(at_us):%Y-%m-%dT%H:%M:%SZ}",
        )
        for certificate in certificates
        for first_us, last_us in [validity_us(certificate)]
        if not first_us <= at_us <= last_us
    ]


def _moment_in_validity(certificates: Sequence[x509.Certificate], at_us: int) -> datetime:
    """Return the moment nearest to `at_us` at which all are valid, so that a path is looked for in spite of expiry."""
    spans = [validity_us(certificate) for certificate in certificates]
    return _time(min(max(at_us, *(first for first, _ in spans)), *(last for _, last in spans)))


def _path(
    certificates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    moment: datetime,
    findings: list[_Finding],
) -> list[x509.Certificate]:
    """Return the certificates from the bot's to a root's, or none and a finding."""
    if not roots:
        findings.append(_invalid("certificate_chain: no CA is trusted"))
        return []
    verifier = PolicyBuilder().store(Store(list(roots))).time(moment.replace(tzinfo=None)).build_client_verifier()
    try:
        path = verifier.verify(certificates[0], list(certificates[1:])).chain
    except (VerificationError, *_UNREADABLE) as error:
        findings.append(_invalid(f"certificate_chain: a path to a trusted CA required ({ascii(str(error))[:300]})"))
        return []
    try:
        public_key_of(path[-1])
    except CertificateError as error:
        findings.append((error.reason, error.problems[0]))
    return path


def _revocation_findings(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    at_us: int,
) -> list[_Finding]:
    """Look a certificate up in its CA's lists; a list from after `at_us` knows more, so it counts.

    Whatever keeps us from knowing counts as revoked: no list although the certificate names one, a list that is not the
    CA's, that is out of date, or that has a critical extension (a part list, an indirect one). Source: RFC 5280 section 5.
    """
    name = subject_of(certificate)
    named = [crl for crl in crls if crl.issuer == certificate.issuer]
    if not named:
        if _extension(certificate, x509.CRLDistributionPoints) is None:
            return []
        return [(Reason.CERTIFICATE_REVOKED, f"revocation list of {subject_of(issuer)}: required for {name}, is missing")]
    usable = [crl for crl in named if _is_list_of(crl, issuer)]
    if not usable:
        return [(Reason.CERTIFICATE_REVOKED, f"revocation list of {subject_of(issuer)}: whole and signed by it required")]
    newest = max(usable, key=lambda crl: crl.last_update_utc)
    next_update = newest.next_update_utc
    if next_update is None or (next_update - _EPOCH) // _US < at_us:
        limit = "none" if next_update is None else f"{next_update:%Y-%m-%dT%H:%M:%SZ}"
        text = f"revocation list of {subject_of(issuer)}: next update after {_time(at_us):%Y-%m-%dT%H:%M:%SZ}, is {limit}"
        return [(Reason.CERTIFICATE_REVOKED, text)]
    for crl in usable:
        revoked = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if revoked is not None:
            text = f"certificate of {name}: serial {certificate.serial_number:x} revoked {revoked.revocation_date_utc:%Y-%m-%d}"
            return [(Reason.CERTIFICATE_REVOKED, text)]
    return []


def _is_list_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    usage = _extension(issuer, x509.KeyUsage)
    key = issuer.public_key()
    try:
        return (
            isinstance(key, EllipticCurvePublicKey)
            and (usage is None or usage.crl_sign)
            and not any(extension.critical for extension in crl.extensions)
            and crl.is_signature_valid(key)
        )
    except _UNREADABLE:
        return False


def _agent_id(leaf: x509.Certificate, findings: list[_Finding]) -> str:
    agent_id = common_name(leaf)
    if not NAME.fullmatch(agent_id):
        findings.append(_invalid(f"common name of {subject_of(leaf)}: one agent_id of the form {NAME.pattern} required"))
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None or list(names) != [x509.UniformResourceIdentifier(AGENT_URI + agent_id)]:
        findings.append(_invalid(f"subject alternative name of {subject_of(leaf)}: {AGENT_URI}{agent_id} required"))
    return agent_id


def _scope_sha256(leaf: x509.Certificate, findings: list[_Finding]) -> bytes:
    try:
        extension = leaf.extensions.get_extension_for_oid(SCOPE_OID)
    except x509.ExtensionNotFound:
        findings.append(_invalid(f"scope digest of {subject_of(leaf)}: extension {SCOPE_OID.dotted_string} is missing"))
        return b""
    value = extension.value.public_bytes()
    if extension.critical or len(value) != len(_OCTETS_32) + 32 or not value.startswith(_OCTETS_32):
        findings.append(_invalid(f"scope digest of {subject_of(leaf)}: 32 octets, not critical, has {value[:40].hex()}"))
    return value[len(_OCTETS_32) :]


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _invalid(text: str) -> _Finding:
    return Reason.CERTIFICATE_INVALID, text


def _time(at_us: int) -> datetime:
    return _EPOCH + at_us * _US
