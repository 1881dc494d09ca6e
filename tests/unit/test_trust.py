"""The trust folder: what is read from it, and what it may not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from streams.wire.issuing import pinned_certificate, subject_name
from streams.wire.note import Signer, sign_note, verify_note
from streams.wire.signatures import thumbprint
from streams.wire.trust import Role, TrustError, load_trust, load_verifier
from tests.gate_world import us
from tests.wire_world import APPROVER_NAME, LONG, OPERATOR_NAME, Authority, der, new_key

if TYPE_CHECKING:
    from pathlib import Path

CA = Authority.make()
CEO_KEY = new_key()
APPROVER = pinned_certificate(new_key(), APPROVER_NAME, LONG)
OPERATOR = pinned_certificate(new_key(), OPERATOR_NAME, LONG)
CEO = pinned_certificate(CEO_KEY, subject_name("ceo@acme", "Acme", ("Trading desk", Role.KILL, Role.RELEASE)), LONG)
DESK = pinned_certificate(new_key(), subject_name("desk@acme", "Acme", (Role.ACKNOWLEDGE,)), LONG)


def pem(document: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return document.public_bytes(Encoding.PEM)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files: dict[str, x509.Certificate | x509.CertificateRevocationList] = {
        "approvers/ceo@acme": APPROVER,
        "operators/acme_trading_ltd": OPERATOR,
        "ca/root": CA.root.certificate,
        "crl/root": CA.crls[0],
        "crl/issuing": CA.crls[1],
        "people/ceo@acme": CEO,
        "people/desk@acme": DESK,
    }
    for name, document in files.items():
        put(tmp_path, name, pem(document))
    return tmp_path


def put(folder: Path, name: str, data: bytes) -> None:
    path = folder / "trust" / f"{name}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def problem(folder: Path) -> str:
    with pytest.raises(TrustError) as caught:
        load_trust(folder)
    return str(caught.value).replace(str(folder / "trust") + "/", "")


def test_the_store_holds_what_the_folder_has(folder: Path) -> None:
    trust = load_trust(folder)
    assert dict(trust.approvers) == {"ceo@acme": APPROVER}
    assert dict(trust.operators) == {"acme_trading_ltd": OPERATOR}
    assert trust.ca_roots == (CA.root.certificate,)
    assert trust.crls == (CA.crls[1], CA.crls[0])
    assert set(trust.people) == {thumbprint(der(CEO)), thumbprint(der(DESK))}
    ceo = trust.people[thumbprint(der(CEO))]
    assert (ceo.name, ceo.roles) == ("ceo@acme", frozenset({Role.KILL, Role.RELEASE}))
    assert ceo.public_key == CEO_KEY.public_key()
    assert (ceo.not_before_us, ceo.not_after_us) == (us("2020-01-01T00:00:00+00:00"), us("2050-01-01T00:00:00+00:00"))


def test_two_certificates_of_one_party_may_be_trusted_while_it_changes_them(folder: Path) -> None:
    renewed = pinned_certificate(new_key(), APPROVER_NAME, LONG)
    put(folder, "approvers/ceo@acme-2026", pem(renewed))
    assert set(load_trust(folder).approvers.values()) == {APPROVER, renewed}


@pytest.mark.parametrize("role", ["approvers", "operators", "ca"])
def test_nobody_in_a_role_is_refused(folder: Path, role: str) -> None:
    for path in (folder / "trust" / role).iterdir():
        path.unlink()
    assert problem(folder) == f"{role}: at least 1 certificate required, has 0"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert problem(tmp_path / "none").endswith("approvers: at least 1 certificate required, has 0")


def test_nobody_who_may_kill_is_refused(folder: Path) -> None:
    (folder / "trust" / "people" / "ceo@acme.pem").unlink()
    assert problem(folder) == "people: at least 1 person who may KILL required, has 0"


def test_lists_may_be_missing(folder: Path) -> None:
    for path in (folder / "trust" / "crl").iterdir():
        path.unlink()
    assert load_trust(folder).crls == ()


def test_one_key_under_two_names_is_refused(folder: Path) -> None:
    alias = pinned_certificate(CEO_KEY, subject_name("cfo@acme", "Acme", (Role.RELEASE,)), LONG)
    put(folder, "people/cfo@acme", pem(alias))
    assert problem(folder) == "people: two different keys of ceo@acme and cfo@acme required, have one"


def test_a_bots_certificate_is_no_ca(folder: Path) -> None:
    put(folder, "ca/other", pem(APPROVER))
    assert problem(folder) == "ca/other: a CA's certificate required, is 'ceo@acme'"
    put(folder, "ca/other", pem(CA.leaf(new_key())))
    assert problem(folder) == "ca/other: a CA's certificate required, is 'trading_bot_eu_v2'"


def test_a_person_without_a_role_is_refused(folder: Path) -> None:
    put(folder, "people/x", pem(pinned_certificate(new_key(), subject_name("x@acme", "Acme", ("KILLS", "Desk")), LONG)))
    assert problem(folder) == (
        "people/x: at least one OU of KILL, RELEASE, REVOKE, ACKNOWLEDGE, OVERRIDE, INCIDENT required, has 2 others"
    )


def test_a_person_needs_a_name(folder: Path) -> None:
    put(folder, "people/x", pem(pinned_certificate(new_key(), subject_name("a b", "Acme", (Role.KILL,)), LONG)))
    assert problem(folder).startswith("people/x: a common name of the form ")


def test_another_key_than_p256_is_refused(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    put(folder, "people/x", pem(pinned_certificate(key, subject_name("x@acme", "Acme", (Role.KILL,)), LONG)))
    assert "ECDSA on P-256 required, is secp384r1" in problem(folder)


@pytest.mark.parametrize("role", ["approvers", "operators", "ca", "crl", "people"])
@pytest.mark.parametrize("data", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_none_is_named(folder: Path, role: str, data: bytes) -> None:
    put(folder, f"{role}/bad", data)
    assert problem(folder).startswith(f"{role}/bad.pem: ")


def test_two_certificates_in_a_file_are_refused(folder: Path) -> None:
    put(folder, "approvers/two", pem(APPROVER) + pem(APPROVER))
    assert problem(folder) == "approvers/two.pem: 1 certificate required, has 2"


def test_a_certificate_without_a_common_name_is_refused(folder: Path) -> None:
    put(folder, "approvers/x", pem(pinned_certificate(new_key(), x509.Name([]), LONG)))
    assert problem(folder) == "approvers/x.pem: 1 common name (CN) required"


@pytest.mark.parametrize("where", ["list", "entry"])
def test_a_list_with_something_critical_is_refused(folder: Path, where: str) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), b"\x05\x00")
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CA.issuing.certificate.subject)
        .last_update(LONG.first)
        .next_update(LONG.last)
    )
    entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(LONG.first)
    if where == "list":
        builder = builder.add_extension(unknown, critical=True)
    else:
        entry = entry.add_extension(unknown, critical=True)
    crl = builder.add_revoked_certificate(entry.build()).sign(CA.issuing_key, SHA256())
    put(folder, "crl/bad", pem(crl))
    assert problem(folder) == "crl/bad.pem: no critical extension allowed, has 2.25.1"


def test_a_logs_verifier_is_read_by_its_keys_name(folder: Path) -> None:
    signer = Signer.from_seed("log.example/3", bytes(range(32)))
    path = folder / "trust" / "keys" / "log.pub"
    path.parent.mkdir()
    path.write_bytes(signer.verifier.public_key)
    verifier = load_verifier(folder, "log", "log.example/3")
    assert verify_note(sign_note(b"text\n", signer), [verifier]).text == b"text\n"
    with pytest.raises(TrustError, match=r"witness\.pub"):
        load_verifier(folder, "witness", "log.example/3")
    path.write_bytes(bytes(31))
    with pytest.raises(TrustError, match="not a canonical 32-byte Ed25519 key"):
        load_verifier(folder, "log", "log.example/3")
