"""Keys that can be used but not read: a PKCS#11 token's, or a key service's.

A bot's credentials folder holds `chain.pem` and one of: `key.pem` (the key itself, for development), `key.uri` (a
PKCS#11 URI, RFC 7512) or `kms-key-arn.txt` (the name of a key of AWS KMS, or of a service with the same interface).
"""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote

from streams.core.errors import PortcullisError
from streams.wire.keys import KeyFileError, load_chain, load_credentials
from streams.wire.signatures import pre_authentication_encoding, thumbprint
from streams.wire.signed_orders import KeySigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.wire.signed_orders import OrderSigner

URI_FILE: Final = "key.uri"
ARN_FILE: Final = "kms-key-arn.txt"
_SCHEME: Final = "pkcs11:"


class SignerUnavailableError(PortcullisError):
    """The token or key service does not sign now."""


class KeyService(Protocol):
    """The one call of AWS KMS that signing needs; boto3's client has it."""

    def sign(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as boto3 has it
        """Sign a digest with a key of the service."""


class KmsSigner:
    """Signs with a key service: the digest goes there, the key stays there."""

    waits = True

    def __init__(self, service: KeyService, key_id: str, agent_id: str, certificate_der: bytes) -> None:
        self._service, self._key_id = service, key_id
        self.agent_id, self.thumbprint = agent_id, thumbprint(certificate_der)

    def sign(self, payload_type: bytes, body: bytes) -> bytes:
        """Return the signature of a body of this type. Raises: SignerUnavailableError."""
        digest = sha256(pre_authentication_encoding(payload_type, body)).digest()
        try:
            answer = self._service.sign(
                KeyId=self._key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
            )
        except Exception as error:
            raise SignerUnavailableError(f"key service: {type(error).__name__}") from error
        return bytes(answer["Signature"])


class Pkcs11Signer:
    """Signs with a token's key; one session, so one signature at a time.

    Source: PKCS#11 v2.40, CKM_ECDSA: every token has it, CKM_ECDSA_SHA256 not every one.
    """

    waits = True

    def __init__(self, uri: str, agent_id: str, certificate_der: bytes) -> None:
        """Open the token that a PKCS#11 URI names. Raises: KeyFileError, SignerUnavailableError."""
        import pkcs11  # noqa: PLC0415 - an optional library
        from pkcs11.util.ec import encode_ecdsa_signature  # noqa: PLC0415

        self.agent_id, self.thumbprint = agent_id, thumbprint(certificate_der)
        self._lock = threading.Lock()
        self._key: Any  # what a key can do depends on the token
        self._mechanism, self._encode = pkcs11.Mechanism.ECDSA, encode_ecdsa_signature
        self._failure = pkcs11.exceptions.PKCS11Error
        where = parse_uri(uri)
        try:
            token = pkcs11.lib(where["module-path"]).get_token(token_label=where["token"])
            session = token.open(user_pin=_pin(where))
            self._key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=where["object"])
        except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
            raise SignerUnavailableError(f"token {where['token']}: {type(error).__name__}") from error

    def sign(self, payload_type: bytes, body: bytes) -> bytes:
        """Return the signature of a body of this type. Raises: SignerUnavailableError."""
        digest = sha256(pre_authentication_encoding(payload_type, body)).digest()
        try:
            with self._lock:
                pair = self._key.sign(digest, mechanism=self._mechanism)
        except self._failure as error:
            raise SignerUnavailableError(f"token: {type(error).__name__}") from error
        return bytes(self._encode(pair))


def parse_uri(uri: str) -> dict[str, str]:
    """Return the attributes of a PKCS#11 URI; `token`, `object` and `module-path` must be there. Source: RFC 7512.

    Raises: KeyFileError.
    """
    path, _, query = uri.strip().removeprefix(_SCHEME).partition("?")
    pairs = [part.partition("=") for part in path.split(";")]
    where = {name: unquote(value) for name, _, value in pairs} | dict(parse_qsl(query.replace("+", "%2B")))
    missing = [name for name in ("token", "object", "module-path") if not where.get(name)]
    if not uri.startswith(_SCHEME) or missing:
        raise KeyFileError(f"{URI_FILE}: a PKCS#11 URI with {', '.join(missing) or _SCHEME} required")
    return where


def _pin(where: dict[str, str]) -> str | None:
    """Return the token's PIN from the file that `pin-source` names; a PIN in the URI itself is not taken."""
    source = where.get("pin-source", "").removeprefix("file:")
    if not source:
        return None
    try:
        return Path(source).read_text().rstrip("\n")
    except OSError as error:
        raise KeyFileError(f"pin-source {source}: {error.strerror}") from None


def load_signer(folder: Path, agent_id: str) -> OrderSigner:
    """Return the signer of a bot whose credentials are in `<folder>/<agent_id>`.

    Raises: KeyFileError where the folder does not hold; SignerUnavailableError where a token does not open.
    """
    own = folder / agent_id
    for name, make in _STORES.items():
        if (own / name).is_file():
            chain = load_chain(folder, agent_id)
            return make((own / name).read_text().strip(), agent_id, chain[0])
    credentials = load_credentials(folder, agent_id)
    return KeySigner(agent_id, credentials.private_key, credentials.thumbprint)


def _kms(key_id: str, agent_id: str, certificate_der: bytes) -> KmsSigner:
    import boto3  # noqa: PLC0415 - an optional library

    return KmsSigner(boto3.client("kms"), key_id, agent_id, certificate_der)


_STORES: Final[dict[str, Callable[[str, str, bytes], OrderSigner]]] = {URI_FILE: Pkcs11Signer, ARN_FILE: _kms}
