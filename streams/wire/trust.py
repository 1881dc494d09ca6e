"""Whom this installation trusts: certificates pinned in a folder, one sub-folder a role. Nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from streams.core.documents import PERSON
from streams.core.errors import PortcullisError
from streams.wire.certificate_fields import common_name, extension_of, public_point, validity_us
from streams.wire.certificates import CertificateError, load_certificate, public_key_of
from streams.wire.note import NoteError, Verifier
from streams.wire.revocation import load_list
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

FOLDER: Final = "trust"
_FILES_MAX: Final = 1_000

_Loaded = TypeVar("_Loaded")


class TrustError(PortcullisError):
    """The trust folder does not hold; the text names file, rule and value."""


@unique
class Role(StrEnum):
    """What a person may order; the organisational units (OU) of the person's certificate."""

    KILL = "KILL"
    RELEASE = "RELEASE"
    REVOKE = "REVOKE"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    OVERRIDE = "OVERRIDE"
    INCIDENT = "INCIDENT"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may order the gate; the certificate's validity in microseconds UTC, both ends included."""

    name: str
    roles: frozenset[Role]
    public_key: EllipticCurvePublicKey
    not_before_us: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The pinned certificates: approvers and operators by file name, people by their certificate's SHA-256."""

    approvers: Mapping[str, x509.Certificate]
    operators: Mapping[str, x509.Certificate]
    ca_roots: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    people: Mapping[bytes, Person]


def load_trust(folder: Path) -> TrustStore:
    """Read `trust/{approvers,operators,ca,crl,people}/*.pem` of a folder; only `crl` may be empty.

    Raises: TrustError where a file cannot be read, is not what its folder is for, or nobody has a role.
    """
    approvers, operators, ca = (_certificates(folder, role) for role in ("approvers", "operators", "ca"))
    for role, certificates in (("approvers", approvers), ("operators", operators), ("ca", ca)):
        if not certificates:
            raise TrustError(f"{folder / FOLDER / role}: at least 1 certificate required, has 0")
    for name, certificate in ca.items():
        _require_authority(folder / FOLDER / "ca" / name, certificate)
    people = {
        thumbprint(certificate.public_bytes(Encoding.DER)): _person(folder / FOLDER / "people" / name, certificate)
        for name, certificate in _certificates(folder, "people").items()
    }
    _require_people(folder / FOLDER / "people", people.values())
    crls = tuple(_read(path, load_list) for path in _files(folder, "crl"))
    return TrustStore(approvers, operators, tuple(ca.values()), crls, people)


def trust_stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of each certificate and list of the folder: another stamp, another content."""
    found = ((path, path.stat()) for path in sorted((folder / FOLDER).rglob("*.pem")))
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)


def trust_digest(folder: Path) -> str:
    """Return the SHA-256 of the folder's certificates and lists, with their names, in hexadecimal."""
    digest = sha256()
    for path in sorted((folder / FOLDER).rglob("*.pem")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder / FOLDER).as_posix()} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def authorities(folder: Path) -> tuple[bytes, ...]:
    """Return the root certificates (DER) of the CAs that certify bots. Raises: TrustError."""
    return tuple(root.public_bytes(Encoding.DER) for root in _certificates(folder, "ca").values())


def load_verifier(folder: Path, key: str, name: str) -> Verifier:
    """Return the verifier of notes for `trust/keys/<key>.pub` (32 raw bytes) under a key name, as a log's origin.

    Raises: TrustError where there is no such key.
    """
    path = folder / FOLDER / "keys" / f"{key}.pub"
    return _read(path, lambda data: Verifier(name, data))


def _certificates(folder: Path, role: str) -> dict[str, x509.Certificate]:
    return {path.stem: _read(path, _load_pem) for path in _files(folder, role)}


def _files(folder: Path, role: str) -> list[Path]:
    paths = sorted((folder / FOLDER / role).glob("*.pem"))
    if len(paths) > _FILES_MAX:
        raise TrustError(f"{folder / FOLDER / role}: at most {_FILES_MAX} files, has {len(paths)}")
    return paths


def _read(path: Path, load: Callable[[bytes], _Loaded]) -> _Loaded:
    try:
        return load(path.read_bytes())
    except (OSError, ValueError, CertificateError, NoteError) as error:
        raise TrustError(f"{path}: {error}") from None


def _load_pem(data: bytes) -> x509.Certificate:
    certificates = x509.load_pem_x509_certificates(data)
    if len(certificates) != 1:
        raise ValueError(f"1 certificate required, has {len(certificates)}")
    certificate = load_certificate(certificates[0].public_bytes(Encoding.DER))
    public_key_of(certificate)
    if not common_name(certificate):
        raise ValueError("1 common name (CN) required")
    return certificate


def _require_authority(path: Path, certificate: x509.Certificate) -> None:
    constraints = extension_of(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise TrustError(f"{path}: a CA's certificate required, is {common_name(certificate)!r}")


def _require_people(path: Path, people: Collection[Person]) -> None:
    """Require somebody who may kill, and that nobody acts under two names: two must be two."""
    if not any(Role.KILL in person.roles for person in people):
        raise TrustError(f"{path}: at least 1 person who may {Role.KILL} required, has 0")
    holders: dict[bytes, str] = {}
    for person in people:
        holder = holders.setdefault(public_point(person.public_key), person.name)
        if holder != person.name:
            raise TrustError(f"{path}: two different keys of {holder} and {person.name} required, have one")


def _person(path: Path, certificate: x509.Certificate) -> Person:
    name = common_name(certificate)
    if not PERSON.fullmatch(name):
        raise TrustError(f"{path}: a common name of the form {PERSON.pattern} required, has {name[:60]!a}")
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    # Other units may be there: they grant nothing.
    roles = frozenset(role for role in Role if any(unit.value == role for unit in units))
    if not roles:
        raise TrustError(f"{path}: at least one OU of {', '.join(Role)} required, has {len(units)} others")
    not_before_us, not_after_us = validity_us(certificate)
    return Person(name, roles, public_key_of(certificate), not_before_us, not_after_us)
