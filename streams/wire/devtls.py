"""TLS of one machine, for development, drills and tests: the firm's own CA, its broker and its services.

Bots are not among them: they present the certificates with which they sign, of the third-party CA. A broker that trusts
the two CAs on two listeners gives them different names, so that neither CA can make somebody into one of the other's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from streams.wire.issuing import Issuer, Validity, root_certificate, service_certificate, subject_name
from streams.wire.keys import load_private_key, private_pem, write_file
from streams.wire.trust import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BROKER: Final = "broker"
ADMIN: Final = "admin"
ENFORCER: Final = "enforcer"

_SERVERS: Final = (BROKER, ENFORCER)
_FIRM: Final = "Acme Trading Ltd"
_CA: Final = "ca"
_LIFE: Final = timedelta(days=398)
_BACKDATED: Final = timedelta(days=1)


def make_dev_tls(folder: Path, services: Iterable[str]) -> None:
    """Make what is missing: the firm's CA, and keys and certificates of its broker, administrator and services."""
    if not _certificate(folder, _CA).is_file():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder, _CA, key, root_certificate(key, subject_name("Platform CA (development)", _FIRM), _validity()))
    root = x509.load_pem_x509_certificate(_certificate(folder, _CA).read_bytes())
    issuer = Issuer(root, load_private_key(_key(folder, _CA)), "http://crl.example/platform-ca.crl")
    for name in (BROKER, ADMIN, *services):
        if not _certificate(folder, name).is_file():
            key = ec.generate_private_key(ec.SECP256R1())
            subject = subject_name(name, _FIRM)
            made = service_certificate(key.public_key(), subject, _validity(), issuer, serves=name in _SERVERS)
            _write(folder, name, key, made)
    # Kafka reads key and certificate from one file.
    write_file(
        keystore(folder), _key(folder, BROKER).read_bytes() + _certificate(folder, BROKER).read_bytes(), secret=True
    )


def keystore(folder: Path) -> Path:
    """Return the file with the broker's key and certificate."""
    return folder / "tls" / "private" / "broker-keystore.pem"


def service_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the files with a service's certificate and key."""
    return _certificate(folder, name), _key(folder, name)


def services_ca(folder: Path) -> Path:
    """Return the file with the certificate of the CA of the firm's services."""
    return _certificate(folder, _CA)


def bots_ca(folder: Path) -> Path:
    """Return the file with the root certificate of the third-party CA that certifies bots."""
    return folder / FOLDER / "ca" / "root-ca.pem"


def service_properties(folder: Path, name: str) -> dict[str, str]:
    """Return the properties of a Kafka client that presents a service's certificate."""
    return _properties(folder, _certificate(folder, name), _key(folder, name))


def bot_properties(folder: Path, credentials: Path) -> dict[str, str]:
    """Return the properties of a Kafka client that presents a bot's certificate, from its credentials' folder."""
    return _properties(folder, credentials / "chain.pem", credentials / "key.pem")


def password_properties(folder: Path, username: str, password: str) -> dict[str, str]:
    """Return the properties of a Kafka client that proves a password, over TLS (SCRAM)."""
    return {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(services_ca(folder)),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": username,
        "sasl.password": password,
    }


def _properties(folder: Path, certificate: Path, key: Path) -> dict[str, str]:
    return {
        "security.protocol": "SSL",
        "ssl.ca.location": str(services_ca(folder)),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key),
    }


def _validity() -> Validity:
    now = datetime.now(UTC)
    return Validity(now - _BACKDATED, now + _LIFE)


def _certificate(folder: Path, name: str) -> Path:
    return folder / "tls" / f"{name}.pem"


def _key(folder: Path, name: str) -> Path:
    return folder / "tls" / "private" / f"{name}.pem"


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    write_file(_key(folder, name), private_pem(key), secret=True)
    write_file(_certificate(folder, name), certificate.public_bytes(Encoding.PEM))
