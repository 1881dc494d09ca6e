"""Signatures of bots and people: ECDSA P-256 with SHA-256 (DER) over the DSSE pre-authentication encoding.

The encoding binds the payload's type, so a signature on one kind of document never holds for another. ECDSA has two
valid signatures (s and n - s) for each; that is harmless here, as nothing is ever identified by its signature.
Source: DSSE protocol v1.0.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

ORDER_TYPE: Final = b"application/vnd.portcullis.order.v1+avro"
HEARTBEAT_TYPE: Final = b"application/vnd.portcullis.heartbeat.v1+avro"
COMMAND_TYPE: Final = b"application/vnd.portcullis.command.v1+avro"
POLICY_TYPE: Final = b"application/vnd.portcullis.policy.v1+json"
REGISTRATION_TYPE: Final = b"application/vnd.portcullis.registration.v1+json"
TEST_RECORD_TYPE: Final = b"application/vnd.portcullis.test-record.v1+json"

_ALGORITHM: Final = ECDSA(SHA256())
# Two 32-byte integers, each with at most one leading zero and two bytes of header, in a sequence.
SIGNATURE_BYTES_MAX: Final = 72


class SignatureInvalidError(PortcullisError):
    """A signature is missing, malformed or not the key's."""


def pre_authentication_encoding(payload_type: bytes, body: bytes) -> bytes:
    """Return the bytes that are signed: type and body, each after its length."""
    return b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type, len(body), body)


def sign(key: EllipticCurvePrivateKey, payload_type: bytes, body: bytes) -> bytes:
    """Return the DER signature of a body of this type."""
    return key.sign(pre_authentication_encoding(payload_type, body), _ALGORITHM)


def verify(key: EllipticCurvePublicKey, payload_type: bytes, body: bytes, signature: bytes) -> None:
    """Check a signature.

    Raises: SignatureInvalidError where it is not the key's over this body and type.
    """
    if not is_valid(key, payload_type, body, signature):
        raise SignatureInvalidError(f"signature over {payload_type.decode()}: not the key's")


def is_valid(key: EllipticCurvePublicKey, payload_type: bytes, body: bytes, signature: bytes) -> bool:
    """Say whether a signature is the key's; releases the interpreter while it computes."""
    if not 0 < len(signature) <= SIGNATURE_BYTES_MAX:
        return False
    try:
        key.verify(signature, pre_authentication_encoding(payload_type, body), _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def thumbprint(certificate_der: bytes) -> bytes:
    """Return a certificate's SHA-256 thumbprint, the header `x5t#S256`. Source: RFC 7515 section 4.1.8."""
    return sha256(certificate_der).digest()
