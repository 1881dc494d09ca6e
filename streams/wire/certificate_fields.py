"""What certificates and revocation lists say, in our terms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

# Whatever reading malformed DER raises.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,  # where warnings are errors; what it warns of is refused in any case
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# The end of the year 9999, where dates end.
MOMENT_MAX_US: Final = 253_402_300_799_999_999

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


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
    return from_time(certificate.not_valid_before_utc), from_time(certificate.not_valid_after_utc)


def extension_of(
    document: x509.Certificate | x509.CertificateRevocationList, kind: type[_Extension]
) -> _Extension | None:
    """Return an extension's value, or nothing where there is none."""
    try:
        return document.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def public_point(key: EllipticCurvePublicKey) -> bytes:
    """Return the one spelling of a public key."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def to_time(moment_us: int) -> datetime:
    """Return a moment in microseconds UTC as a datetime."""
    return _EPOCH + moment_us * _US


def from_time(moment: datetime) -> int:
    """Return a datetime as microseconds UTC."""
    return (moment - _EPOCH) // _US


def time_text(moment: datetime) -> str:
    """Return a moment as a problem shows it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
