"""Private keys on disk: PEM (PKCS 8, not encrypted), readable by their owner only."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streams.core.documents import NAME
from streams.core.errors import PortcullisError
from streams.wire.certificates import public_key_of
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from pathlib import Path

_KEY_FILE: Final = "key.pem"
_CHAIN_FILE: Final = "chain.pem"


class KeyFileError(PortcullisError):
    """A key or certificate file is missing or not what it should be."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A named party's key with the SHA-256 thumbprint of its certificate."""

    name: str
    private_key: EllipticCurvePrivateKey
    thumbprint: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.name})"


@dataclass(frozen=True, slots=True)
class AgentCredentials:
    """What a bot signs its orders with: its key, its certificate and intermediates (DER, leaf first)."""

    agent_id: str
    private_key: EllipticCurvePrivateKey
    chain: tuple[bytes, ...]
    thumbprint: bytes

    def __repr__(self) -> str:
        return f"AgentCredentials({self.agent_id})"


def save_credentials(folder: Path, credentials: AgentCredentials) -> Path:
    """Write a bot's key and chain to `<folder>/<agent_id>/` and return that folder."""
    own = _folder_of(folder, credentials.agent_id)
    chain = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in credentials.chain)
    write_file(own / _KEY_FILE, private_pem(credentials.private_key), secret=True)
    write_file(own / _CHAIN_FILE, chain)
    return own


def load_credentials(folder: Path, agent_id: str) -> AgentCredentials:
    """Read what `save_credentials` wrote.

    Raises: KeyFileError where a file is missing or malformed, or the key is not the certificate's.
    """
    own = _folder_of(folder, agent_id)
    key = load_private_key(own / _KEY_FILE)
    chain = load_chain(folder, agent_id)
    if public_key_of(x509.load_der_x509_certificate(chain[0])) != key.public_key():
        raise KeyFileError(f"{own / _CHAIN_FILE}: the certificate of the key in {_KEY_FILE} required")
    return AgentCredentials(agent_id, key, chain, thumbprint(chain[0]))


def load_chain(folder: Path, agent_id: str) -> tuple[bytes, ...]:
    """Read a bot's certificate and intermediates (DER, leaf first).

    Raises: KeyFileError where the file is missing or malformed, or the certificate's key is not P-256.
    """
    path = _folder_of(folder, agent_id) / _CHAIN_FILE
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
        public_key_of(certificates[0])
    except (OSError, ValueError, PortcullisError) as error:
        raise KeyFileError(f"{path}: certificates in PEM required ({error})") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def load_private_key(path: Path) -> EllipticCurvePrivateKey:
    """Read a P-256 key. Raises: KeyFileError where the file holds none; the text shows nothing of it."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: a key in PEM, not encrypted, required ({type(error).__name__})") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise KeyFileError(f"{path}: ECDSA on P-256 required, is {type(key).__name__}")
    return key


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    """Return a key as PEM (PKCS 8, not encrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_file(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write a file whole or not at all; a secret one readable by its owner only, its new folders too."""
    path.parent.mkdir(mode=0o700 if secret else 0o755, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)


def _folder_of(folder: Path, agent_id: str) -> Path:
    if not NAME.fullmatch(agent_id) or set(agent_id) == {"."}:
        raise KeyFileError(f"agent_id: {NAME.pattern} required, is {agent_id[:80]!a}")
    return folder / agent_id
