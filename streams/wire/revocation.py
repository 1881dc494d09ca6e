"""Revocation lists: a step of our own, since `cryptography.x509.verification` has none. Source: RFC 5280 section 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from streams.wire.certificate_fields import UNREADABLE, extension_of, from_time, subject_of, time_text, to_time

if TYPE_CHECKING:
    from collections.abc import Sequence


def load_list(pem: bytes) -> x509.CertificateRevocationList:
    """Read a revocation list, every part of it.

    Raises: ValueError where it is malformed, or has a critical extension: we know none, of a list or of an entry, so
    such a list says nothing that we may rely on.
    """
    try:
        crl = x509.load_pem_x509_crl(pem)
        _ = crl.issuer, crl.last_update_utc, crl.next_update_utc
        critical = [extension.oid for extension in crl.extensions if extension.critical]
        critical += [extension.oid for entry in crl for extension in entry.extensions if extension.critical]
    except UNREADABLE as error:
        raise ValueError(f"a revocation list in PEM required ({ascii(str(error))[:120]})") from None
    if critical:
        raise ValueError(f"no critical extension allowed, has {critical[0].dotted_string}")
    return crl


def list_text(crl: x509.CertificateRevocationList) -> str:
    """Return whose list it is, since when, until when, and how many it names, as a log shows it."""
    issuer = ascii(crl.issuer.rfc4514_string())[:100]
    until = "open" if crl.next_update_utc is None else time_text(crl.next_update_utc)
    return f"{issuer} from {time_text(crl.last_update_utc)} to {until}, {len(crl)} revoked"


def revocation_problem(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    at_us: int,
) -> str | None:
    """Look a certificate up in its issuer's lists; return why it counts as revoked at this moment (microseconds UTC).

    What keeps us from knowing counts as revoked: no list, none that is whole and the issuer's, or one that is out of
    date. A list from after the moment knows more, so it counts.
    """
    named = [crl for crl in crls if crl.issuer == certificate.issuer]
    lists = f"revocation list of {subject_of(issuer)}"
    if not named:
        return f"{lists}: required for {subject_of(certificate)}, is missing"
    usable = [crl for crl in named if _is_whole_list_of(crl, issuer)]
    if not usable:
        return f"{lists}: a whole list signed by this CA required, has {len(named)} others"
    next_update = max(usable, key=lambda crl: crl.last_update_utc).next_update_utc
    if next_update is None or from_time(next_update) < at_us:
        limit = "without" if next_update is None else time_text(next_update)
        return f"{lists}: next update after {time_text(to_time(at_us))} required, is {limit}"
    for crl in usable:
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            serial, date = certificate.serial_number, time_text(entry.revocation_date_utc)
            return f"certificate of {subject_of(certificate)}: serial {serial:x} revoked on {date}"
    return None


def _is_whole_list_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Say whether the CA signed this list and it is for all its certificates: delta and indirect lists are critical."""
    key = issuer.public_key()
    usage = extension_of(issuer, x509.KeyUsage)
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey) or (usage is not None and not usage.crl_sign):
        return False
    try:
        return crl.is_signature_valid(key) and not any(extension.critical for extension in crl.extensions)
    except UNREADABLE:
        return False
