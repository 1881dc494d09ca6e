"""Keys that sign without being shown: a key service, a PKCS#11 token, a file; all give what the gate accepts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

import streams
from streams.client.hsm import KmsSigner, Pkcs11Signer, SignerUnavailableError, load_signer, parse_uri
from streams.wire import devpki
from streams.wire.certificates import public_key_of
from streams.wire.keys import AgentCredentials, KeyFileError, private_pem, save_credentials
from streams.wire.signatures import ORDER_TYPE, is_valid
from tests.floor import policy

BOT = "token_bot"
PIN = "1234"
LIBRARIES = (
    Path(os.environ.get("SOFTHSM2_LIBRARY", "/nowhere")),
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
)


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> AgentCredentials:
    folder = tmp_path_factory.mktemp("pki")
    devpki.make_dev_pki(folder)
    return devpki.issue_agent(folder, json.dumps(policy(BOT)).encode())


def holds(credentials: AgentCredentials, body: bytes, signature: bytes) -> bool:
    key = public_key_of(x509.load_der_x509_certificate(credentials.chain[0]))
    return is_valid(key, ORDER_TYPE, body, signature)


class Service:
    """AWS KMS as far as signing goes."""

    def __init__(self, credentials: AgentCredentials) -> None:
        self._key = credentials.private_key
        self.requests: list[dict[str, Any]] = []

    def sign(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        return {"Signature": self._key.sign(request["Message"], ECDSA(Prehashed(SHA256())))}


class BrokenService:
    def sign(self, **_request: Any) -> dict[str, Any]:
        raise ConnectionError("secret detail")


def test_a_key_service_signs_a_digest(credentials: AgentCredentials) -> None:
    service = Service(credentials)
    signer = KmsSigner(service, "arn:aws:kms:eu-west-1:1:key/1", BOT, credentials.chain[0])
    assert holds(credentials, b"body", signer.sign(ORDER_TYPE, b"body"))
    (request,) = service.requests
    assert request["KeyId"] == "arn:aws:kms:eu-west-1:1:key/1"
    assert (request["MessageType"], request["SigningAlgorithm"], len(request["Message"])) == (
        "DIGEST",
        "ECDSA_SHA_256",
        32,
    )
    assert signer.thumbprint == sha256(credentials.chain[0]).digest()


def test_a_key_service_that_is_away_is_said_without_its_words(credentials: AgentCredentials) -> None:
    signer = KmsSigner(BrokenService(), "k", BOT, credentials.chain[0])
    with pytest.raises(SignerUnavailableError, match=r"^key service: ConnectionError$"):
        signer.sign(ORDER_TYPE, b"body")


def test_a_file_is_the_default_and_shows_nothing(credentials: AgentCredentials, tmp_path: Path) -> None:
    save_credentials(tmp_path, credentials)
    signer = load_signer(tmp_path, BOT)
    assert holds(credentials, b"body", signer.sign(ORDER_TYPE, b"body"))
    assert repr(signer) == f"KeySigner({BOT})"


@pytest.mark.parametrize(
    "uri",
    ["token=t;object=o?module-path=/m", "pkcs11:object=o?module-path=/m", "pkcs11:token=t?module-path=/m", "pkcs11:"],
)
def test_an_address_of_no_key_is_refused(uri: str) -> None:
    with pytest.raises(KeyFileError, match="PKCS#11 URI"):
        parse_uri(uri)


def test_an_address_is_read_as_the_standard_has_it() -> None:
    found = parse_uri("pkcs11:token=My%20token;object=bot+1;type=private?module-path=/lib/x+y.so&pin-source=file:/p\n")
    assert found["token"] == "My token"  # noqa: S105 - a token's label
    assert found["object"] == "bot+1"
    assert found["module-path"] == "/lib/x+y.so"


def test_a_token_signs(credentials: AgentCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: the token is not tried")
    library = next((path for path in LIBRARIES if path.is_file()), None)
    if library is None or shutil.which("softhsm2-util") is None:
        pytest.skip("no SoftHSM (Debian: softhsm2, or SOFTHSM2_LIBRARY): the token is not tried")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    put_into_token(library, credentials, tmp_path)
    save_credentials(tmp_path, credentials)
    (tmp_path / BOT / "key.pem").unlink()
    (tmp_path / "pin").write_text(PIN + "\n")
    uri = f"pkcs11:token=bots;object={BOT}?module-path={library}&pin-source=file:{tmp_path / 'pin'}"
    (tmp_path / BOT / "key.uri").write_text(uri)
    signer = load_signer(tmp_path, BOT)
    assert isinstance(signer, Pkcs11Signer)
    for body in (b"", b"body", bytes(300)):
        assert holds(credentials, body, signer.sign(ORDER_TYPE, body))
    with pytest.raises(SignerUnavailableError):
        Pkcs11Signer(uri.replace("object=token_bot", "object=nobody"), BOT, credentials.chain[0])


def put_into_token(library: Path, credentials: AgentCredentials, folder: Path) -> None:
    """Make a token and move the key into it, as a firm's officer would."""
    (folder / "key.pem").write_bytes(private_pem(credentials.private_key))
    common = ["softhsm2-util", "--module", str(library), "--pin", PIN]
    made = ["--init-token", "--free", "--label", "bots", "--so-pin", PIN]
    moved = ["--import", str(folder / "key.pem"), "--token", "bots", "--label", BOT, "--id", "01"]
    for arguments in (made, moved):
        subprocess.run([*common, *arguments], check=True, capture_output=True)
    (folder / "key.pem").unlink()


def test_the_package_shows_its_client_and_nothing_else() -> None:
    assert streams.connect.__name__ == "connect"
    with pytest.raises(AttributeError, match="no attribute 'gate'"):
        _ = streams.gate
