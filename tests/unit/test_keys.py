"""Keys on disk: written whole, for their owner, and read back only where they fit."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from streams.wire.keys import (
    AgentCredentials,
    KeyFileError,
    SigningKey,
    load_credentials,
    load_private_key,
    private_pem,
    save_credentials,
    write_file,
)
from streams.wire.signatures import thumbprint
from tests.wire_world import Authority, der, new_key

if TYPE_CHECKING:
    from pathlib import Path

CA = Authority.make()
KEY = new_key()
CHAIN = (der(CA.leaf(KEY)), der(CA.issuing.certificate))
CREDENTIALS = AgentCredentials("trading_bot_eu_v2", KEY, CHAIN, thumbprint(CHAIN[0]))


def test_credentials_come_back_as_they_were(tmp_path: Path) -> None:
    own = save_credentials(tmp_path, CREDENTIALS)
    assert own == tmp_path / "trading_bot_eu_v2"
    found = load_credentials(tmp_path, "trading_bot_eu_v2")
    assert (found.agent_id, found.chain, found.thumbprint) == ("trading_bot_eu_v2", CHAIN, CREDENTIALS.thumbprint)
    assert found.private_key.private_numbers() == KEY.private_numbers()
    assert stat.S_IMODE((own / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


def test_new_credentials_take_the_place_of_the_old(tmp_path: Path) -> None:
    save_credentials(tmp_path, CREDENTIALS)
    key = new_key()
    chain = (der(CA.leaf(key)), CHAIN[1])
    save_credentials(tmp_path, AgentCredentials("trading_bot_eu_v2", key, chain, thumbprint(chain[0])))
    assert load_credentials(tmp_path, "trading_bot_eu_v2").chain == chain
    assert {path.name for path in (tmp_path / "trading_bot_eu_v2").iterdir()} == {"key.pem", "chain.pem"}


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    own = save_credentials(tmp_path, CREDENTIALS)
    write_file(own / "key.pem", private_pem(new_key()), secret=True)
    with pytest.raises(KeyFileError, match=r"chain\.pem: the certificate of the key in key\.pem required"):
        load_credentials(tmp_path, "trading_bot_eu_v2")


@pytest.mark.parametrize("agent_id", ["", "..", ".", "a/b", "../x", "/etc", "a" * 65, "é"])
def test_an_agent_id_is_never_a_path(tmp_path: Path, agent_id: str) -> None:
    with pytest.raises(KeyFileError, match="agent_id: "):
        load_credentials(tmp_path, agent_id)


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"key\.pem: No such file"):
        load_credentials(tmp_path, "trading_bot_eu_v2")
    own = save_credentials(tmp_path, CREDENTIALS)
    (own / "chain.pem").write_bytes(b"nothing")
    with pytest.raises(KeyFileError, match=r"chain\.pem: certificates in PEM required"):
        load_credentials(tmp_path, "trading_bot_eu_v2")
    (own / "chain.pem").unlink()
    with pytest.raises(KeyFileError, match=r"chain\.pem: certificates in PEM required"):
        load_credentials(tmp_path, "trading_bot_eu_v2")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "a key in PEM, not encrypted, required"),
        (CHAIN[0], "a key in PEM, not encrypted, required"),
        (
            KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "a key in PEM, not encrypted, required",
        ),
        (private_pem(ec.generate_private_key(ec.SECP384R1())), "ECDSA on P-256 required"),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "ECDSA on P-256 required",
        ),
    ],
)
def test_a_file_that_is_no_key_of_ours_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with pytest.raises(KeyFileError, match=problem) as caught:
        load_private_key(path)
    assert caught.value.__cause__ is None


def test_what_is_printed_shows_no_key() -> None:
    assert repr(CREDENTIALS) == "AgentCredentials(trading_bot_eu_v2)"
    assert repr(SigningKey("ceo@acme", KEY, bytes(32))) == "SigningKey(ceo@acme)"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_file(path, b"one")
    path.chmod(0o400)
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [item.name for item in path.parent.iterdir()] == ["file"]
