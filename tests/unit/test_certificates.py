"""Certificates: one that holds, and each way in which one does not, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.core.reasons import Reason
from streams.wire.certificate_fields import MOMENT_MAX_US, common_name, to_time
from streams.wire.certificates import (
    AGENT_URI,
    CERTIFICATE_BYTES_MAX,
    SCOPE_OID,
    CertificateError,
    Chain,
    check_chain,
    load_certificate,
)
from streams.wire.issuing import Issuer, Validity, intermediate_certificate, revocation_list, subject_name
from streams.wire.signatures import thumbprint
from tests.gate_world import NOON, POLICY, S_US
from tests.wire_world import (
    AGENT_NAME,
    DAY_US,
    LEAF,
    LEAF_FIRST_US,
    LEAF_LAST_US,
    LONG,
    Authority,
    der,
    new_key,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CA = Authority.make()
KEY = new_key()
LEAF_CERTIFICATE = CA.leaf(KEY)
ISSUING = CA.issuing.certificate
ROOT = CA.root.certificate
# A leaf's extensions, which tests replace one by one.
USAGE = LEAF_CERTIFICATE.extensions.get_extension_for_class(x509.KeyUsage).value
URI = x509.UniformResourceIdentifier(AGENT_URI + POLICY.agent_id)
SCOPE = x509.UnrecognizedExtension(SCOPE_OID, b"\x04\x20" + POLICY.scope_sha256)


def check(
    *chain: x509.Certificate | bytes,
    roots: Sequence[x509.Certificate] = (ROOT,),
    crls: Sequence[x509.CertificateRevocationList] = CA.crls,
    at_us: int = NOON,
) -> Chain:
    ders = [item if isinstance(item, bytes) else der(item) for item in chain]
    return check_chain(ders, roots, crls, at_us)


def refused(*chain: x509.Certificate | bytes, **arguments: Any) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        check(*chain, **arguments)
    return caught.value


def leaf_with(
    *extensions: tuple[x509.ExtensionType, bool],
    without: tuple[type[x509.ExtensionType] | x509.ObjectIdentifier, ...] = (),
    key: Any = KEY,
    name: x509.Name = AGENT_NAME,
    issuer: Issuer | None = None,
) -> x509.Certificate:
    """Return a leaf with extensions replaced, added or left out."""
    issuer = issuer or CA.issuing
    replaced = {extension.oid for extension, _ in extensions}
    removed = {item if isinstance(item, x509.ObjectIdentifier) else item.oid for item in without}
    kept = [
        (extension.value, extension.critical)
        for extension in LEAF_CERTIFICATE.extensions
        if extension.oid not in replaced | removed
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(LEAF.first)
        .not_valid_after(LEAF.last)
    )
    for extension, critical in [*kept, *extensions]:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.private_key, SHA256())


def test_a_chain_that_holds_says_what_the_certificate_says() -> None:
    chain = check(LEAF_CERTIFICATE, ISSUING)
    assert chain.leaf == LEAF_CERTIFICATE
    assert chain.public_key == KEY.public_key()
    assert chain.thumbprint == thumbprint(der(LEAF_CERTIFICATE)) == LEAF_CERTIFICATE.fingerprint(SHA256())
    assert (chain.not_before_us, chain.not_after_us) == (LEAF_FIRST_US, LEAF_LAST_US)
    assert (chain.serial, chain.issuer_name) == (LEAF_CERTIFICATE.serial_number, "CN=Issuing,O=CA")
    assert (chain.agent_id, chain.scope_sha256) == (POLICY.agent_id, POLICY.scope_sha256)


def test_the_same_certificate_built_here_with_nothing_changed_holds() -> None:
    # The base of every refusal below: what they change is what is refused.
    assert check(leaf_with(), ISSUING).agent_id == POLICY.agent_id


def test_the_root_may_be_sent_along_and_may_issue_by_itself() -> None:
    assert check(LEAF_CERTIFICATE, ISSUING, ROOT).agent_id == POLICY.agent_id
    assert check(CA.leaf(KEY, issuer=CA.root)).agent_id == POLICY.agent_id


def test_validity_is_that_of_the_whole_path() -> None:
    short = Validity(to_time(NOON - DAY_US), to_time(NOON + DAY_US))
    certificate = intermediate_certificate(CA.issuing_key.public_key(), subject_name("Issuing", "CA"), short, CA.root)
    chain = check(CA.leaf(KEY, issuer=Issuer(certificate, CA.issuing_key, "http://crl.example/i.crl")), certificate)
    assert (chain.not_before_us, chain.not_after_us) == (NOON - DAY_US, NOON + DAY_US)


@pytest.mark.parametrize(
    ("at_us", "holds"),
    [
        (LEAF_FIRST_US - 1, False),
        (LEAF_FIRST_US, True),
        (LEAF_LAST_US, True),
        (LEAF_LAST_US + 1, False),
        (LEAF_LAST_US + S_US, False),
    ],
)
def test_validity_counts_to_the_microsecond_with_both_ends(at_us: int, *, holds: bool) -> None:
    always = tuple(CA.list_of(issuer, validity=LONG) for issuer in (CA.root, CA.issuing))
    if holds:
        assert check(LEAF_CERTIFICATE, ISSUING, at_us=at_us, crls=always).agent_id == POLICY.agent_id
        return
    error = refused(LEAF_CERTIFICATE, ISSUING, at_us=at_us, crls=always)
    assert error.reason is Reason.CERTIFICATE_EXPIRED
    assert error.problems[0].startswith("validity of 'CN=trading_bot_eu_v2,O=Acme': 2026-05-01T00:00:00Z to 2027-05-01")


@pytest.mark.parametrize("at_us", [-1, MOMENT_MAX_US + 1, 2**63 - 1, -(2**63)])
def test_a_moment_outside_the_calendar_is_refused(at_us: int) -> None:
    error = refused(LEAF_CERTIFICATE, ISSUING, at_us=at_us)
    assert (error.reason, error.problems) == (
        Reason.CERTIFICATE_EXPIRED,
        (f"moment: 0 to {MOMENT_MAX_US} us, is {at_us} us",),
    )


def test_an_expired_intermediate_is_named() -> None:
    short = Validity(to_time(NOON - 2 * DAY_US), to_time(NOON - DAY_US))
    certificate = intermediate_certificate(CA.issuing_key.public_key(), subject_name("Issuing", "CA"), short, CA.root)
    error = refused(LEAF_CERTIFICATE, certificate)
    assert error.reason is Reason.CERTIFICATE_EXPIRED
    assert [problem.split(":")[0] for problem in error.problems] == ["validity of 'CN=Issuing,O=CA'"]


def test_an_expired_certificate_of_an_untrusted_ca_has_both_problems() -> None:
    error = refused(LEAF_CERTIFICATE, ISSUING, roots=[Authority.make().root.certificate], at_us=LEAF_LAST_US + 1)
    assert error.reason is Reason.CERTIFICATE_INVALID
    assert [problem.split(":")[0] for problem in error.problems] == [
        "validity of 'CN=trading_bot_eu_v2,O=Acme'",
        "certificate_chain",
    ]


def self_signed() -> list[x509.Certificate]:
    own = Issuer(leaf_with(issuer=Issuer(LEAF_CERTIFICATE, KEY, "")), KEY, "")
    return [own.certificate]


P384 = ec.generate_private_key(ec.SECP384R1())
OTHER_CA = Authority.make()
ALIAS = x509.SubjectAlternativeName([URI, x509.DNSName("example.com")])
ELSEWHERE = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(AGENT_URI + "other_bot")])
SHORT_SCOPE = x509.UnrecognizedExtension(SCOPE_OID, b"\x04\x1f" + bytes(31))
BARE_SCOPE = x509.UnrecognizedExtension(SCOPE_OID, POLICY.scope_sha256)
OTHER_TYPE = x509.UnrecognizedExtension(SCOPE_OID, b"\x0c\x20" + POLICY.scope_sha256)
TWO_NAMES = x509.Name([*AGENT_NAME, x509.NameAttribute(NameOID.COMMON_NAME, "other_bot")])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), b"\x05\x00")
NO_SIGNING = x509.KeyUsage(
    digital_signature=False,
    key_agreement=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
REFUSED: dict[str, tuple[list[x509.Certificate], str]] = {
    "self-signed": (self_signed(), "a third party required, is self-signed"),
    "self-signed with the root's key": ([ROOT], "a third party required, is self-signed"),
    "other CA": ([OTHER_CA.leaf(KEY), OTHER_CA.issuing.certificate], "a path to a trusted CA required"),
    "a CA of the same name": ([OTHER_CA.leaf(KEY), ISSUING], "a path to a trusted CA required"),
    "no intermediate": ([LEAF_CERTIFICATE], "a path to a trusted CA required"),
    "issued by a bot": (
        [CA.leaf(new_key(), issuer=Issuer(LEAF_CERTIFICATE, KEY, "")), LEAF_CERTIFICATE, ISSUING],
        "path",
    ),
    "a CA as a bot": ([ISSUING], "a path to a trusted CA required"),
    "P-384": ([leaf_with(key=P384), ISSUING], "ECDSA on P-256 required, is secp384r1"),
    "RSA": ([leaf_with(key=rsa.generate_private_key(65537, 2048)), ISSUING], "is RSAPublicKey"),
    "Ed25519": ([leaf_with(key=ed25519.Ed25519PrivateKey.generate()), ISSUING], "is Ed25519PublicKey"),
    "may not sign": ([leaf_with((NO_SIGNING, True)), ISSUING], "digitalSignature required"),
    "for servers": ([leaf_with((SERVER, False)), ISSUING], "a path to a trusted CA required"),
    "unknown critical extension": ([leaf_with((UNKNOWN, True)), ISSUING], "a path to a trusted CA required"),
    "no scope": ([leaf_with(without=(SCOPE_OID,)), ISSUING], f"{SCOPE_OID.dotted_string} required, is missing"),
    "critical scope": ([leaf_with((SCOPE, True)), ISSUING], "32 octets, not critical"),
    "short scope": ([leaf_with((SHORT_SCOPE, False)), ISSUING], "has 041f"),
    "bare scope": ([leaf_with((BARE_SCOPE, False)), ISSUING], f"has {POLICY.scope_sha256.hex()}"),
    "scope of another type": ([leaf_with((OTHER_TYPE, False)), ISSUING], "has 0c20"),
    "SAN of another bot": ([leaf_with((ELSEWHERE, False)), ISSUING], f"{AGENT_URI}{POLICY.agent_id} and no other"),
    "two SANs": ([leaf_with((ALIAS, False)), ISSUING], "and no other required"),
    "no SAN": ([leaf_with(without=(x509.SubjectAlternativeName,)), ISSUING], "and no other required"),
    "two common names": ([leaf_with(name=TWO_NAMES), ISSUING], "one agent_id"),
    "no common name": ([leaf_with(name=x509.Name([])), ISSUING], "one agent_id"),
    "a name that is no agent_id": ([leaf_with(name=subject_name("bot/1", "Acme")), ISSUING], "one agent_id"),
    "a name that is not ASCII": ([leaf_with(name=subject_name("bøt", "Acme")), ISSUING], "one agent_id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_certificate_is_refused(name: str) -> None:
    chain, problem = REFUSED[name]
    error = refused(*chain)
    assert error.reason is Reason.CERTIFICATE_INVALID
    assert any(problem in text for text in error.problems), error.problems


@pytest.mark.parametrize("name", ["P-384", "may not sign", "no scope", "SAN of another bot", "two SANs", "short scope"])
def test_what_no_path_building_refuses_is_refused_here_alone(name: str) -> None:
    chain, _ = REFUSED[name]
    assert len(refused(*chain).problems) == 1


def test_an_authority_with_another_key_than_p256_is_refused() -> None:
    name = subject_name("Issuing", "CA")
    certificate = intermediate_certificate(P384.public_key(), name, LONG, CA.root)
    issuer = Issuer(CA.issuing.certificate, P384, "http://crl.example/i.crl")
    leaf = leaf_with((x509.AuthorityKeyIdentifier.from_issuer_public_key(P384.public_key()), False), issuer=issuer)
    error = refused(leaf, certificate, crls=[])
    assert "key of 'CN=Issuing,O=CA': ECDSA on P-256 required, is secp384r1" in error.problems


def test_a_root_with_another_key_than_p256_is_refused_though_it_was_not_sent() -> None:
    root = Authority(P384, CA.issuing_key).root.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(ISSUING.subject)
        .issuer_name(root.subject)
        .public_key(CA.issuing_key.public_key())
        .serial_number(1)
        .not_valid_before(LONG.first)
        .not_valid_after(LONG.last)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(P384.public_key()), critical=False)
    )
    for extension in ISSUING.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier | x509.CRLDistributionPoints):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    error = refused(LEAF_CERTIFICATE, builder.sign(P384, SHA384()), roots=[root], crls=[ISSUING_LIST])
    assert error.problems[0] == "key of 'CN=Root,O=CA': ECDSA on P-256 required, is secp384r1"


def test_no_trusted_root_no_certificate() -> None:
    assert refused(LEAF_CERTIFICATE, ISSUING, roots=()).problems == ("certificate_chain: a trusted CA required, has 0",)


def test_all_problems_are_named_at_once() -> None:
    bad = leaf_with((ELSEWHERE, False), (NO_SIGNING, True), without=(SCOPE_OID,), key=P384)
    fields = [problem.split(" of ")[0] for problem in refused(bad, ISSUING, roots=[OTHER_CA.root.certificate]).problems]
    assert fields[:2] == ["key", "key usage"]
    assert fields[2].startswith("certificate_chain: a path")
    assert fields[3:] == ["subject alternative name", "scope digest"]


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ([], "certificate_chain: 1 to 8 certificates, has 0"),
        ([LEAF_CERTIFICATE] * 9, "certificate_chain: 1 to 8 certificates, has 9"),
        ([b""], "certificate: DER of X.509 version 3 required"),
        ([b"\x30\x03\x02\x01\x01"], "certificate: DER of X.509 version 3 required"),
        ([LEAF_CERTIFICATE.public_bytes(Encoding.PEM)], "certificate: DER of X.509 version 3 required"),
        ([der(LEAF_CERTIFICATE) + b"\x00", ISSUING], "certificate: DER of X.509 version 3 required"),
        ([bytes(CERTIFICATE_BYTES_MAX + 1)], f"certificate: at most {CERTIFICATE_BYTES_MAX} bytes, has"),
    ],
)
def test_a_chain_that_is_none_is_refused(chain: list[x509.Certificate | bytes], problem: str) -> None:
    error = refused(*chain)
    assert error.reason is Reason.CERTIFICATE_INVALID
    assert len(error.problems) == 1
    assert error.problems[0].startswith(problem)


def test_no_changed_byte_of_what_is_signed_holds() -> None:
    # Outside of it, the signature has several spellings (unused bits, n - s); the operator signs the digest of one.
    good = der(LEAF_CERTIFICATE)
    accepted = set()
    for place in range(len(good)):
        for bit in (1, 0x80):
            changed = bytearray(good)
            changed[place] ^= bit
            try:
                accepted.add(check(bytes(changed), ISSUING).leaf.tbs_certificate_bytes)
            except CertificateError:
                continue
    assert accepted <= {LEAF_CERTIFICATE.tbs_certificate_bytes}


# Revocation.


def problem_of_revocation(*crls: x509.CertificateRevocationList, at_us: int = NOON) -> str:
    error = refused(LEAF_CERTIFICATE, ISSUING, crls=crls, at_us=at_us)
    assert error.reason is Reason.CERTIFICATE_REVOKED
    assert len(error.problems) == 1
    return error.problems[0]


ROOT_LIST, ISSUING_LIST = CA.crls
OTHERS_LIST = CA.list_of(CA.issuing, 1, 2, 3)


def test_a_list_with_others_is_no_revocation() -> None:
    assert check(LEAF_CERTIFICATE, ISSUING, crls=[ROOT_LIST, OTHERS_LIST]).agent_id == POLICY.agent_id


def test_a_revoked_bot_is_refused() -> None:
    serial = LEAF_CERTIFICATE.serial_number
    problem = problem_of_revocation(ROOT_LIST, CA.list_of(CA.issuing, 1, serial))
    assert problem == f"certificate of 'CN=trading_bot_eu_v2,O=Acme': serial {serial:x} revoked on 2026-06-02T12:00:00Z"


def test_a_revoked_authority_revokes_its_bots() -> None:
    problem = problem_of_revocation(CA.list_of(CA.root, ISSUING.serial_number), ISSUING_LIST)
    assert problem.startswith("certificate of 'CN=Issuing,O=CA': serial")


def test_a_serial_revoked_by_another_authority_means_nothing() -> None:
    elsewhere = CA.list_of(CA.root, LEAF_CERTIFICATE.serial_number)
    assert check(LEAF_CERTIFICATE, ISSUING, crls=[elsewhere, ISSUING_LIST]).agent_id == POLICY.agent_id


def test_a_list_that_the_authority_did_not_sign_is_none() -> None:
    forged = revocation_list(Issuer(ISSUING, new_key(), ""), 9, {}, LONG)
    problem = problem_of_revocation(ROOT_LIST, forged)
    assert problem == "revocation list of 'CN=Issuing,O=CA': a whole list signed by this CA required, has 1 others"


def test_a_forged_list_beside_the_real_one_changes_nothing() -> None:
    forged = revocation_list(Issuer(ISSUING, new_key(), ""), 9, {LEAF_CERTIFICATE.serial_number: to_time(NOON)}, LONG)
    assert check(LEAF_CERTIFICATE, ISSUING, crls=[*CA.crls, forged]).agent_id == POLICY.agent_id


def test_a_list_out_of_date_fails_closed_from_the_first_microsecond() -> None:
    last_us = NOON + 6 * DAY_US
    assert check(LEAF_CERTIFICATE, ISSUING, at_us=last_us).agent_id == POLICY.agent_id
    error = refused(LEAF_CERTIFICATE, ISSUING, at_us=last_us + 1)
    assert error.reason is Reason.CERTIFICATE_REVOKED
    assert [problem.split(",")[0] for problem in error.problems] == [
        "revocation list of 'CN=Issuing",
        "revocation list of 'CN=Root",
    ]
    assert error.problems[0].endswith("next update after 2026-06-09T12:00:00Z required, is 2026-06-09T12:00:00Z")


def test_a_list_without_a_next_update_cannot_be_checked_for_age() -> None:
    # The builder insists on one, so it is taken out of a list that has no other.
    class Undated:
        def __getattr__(self, name: str) -> Any:
            return None if name == "next_update_utc" else getattr(ISSUING_LIST, name)

    problem = problem_of_revocation(ROOT_LIST, Undated())  # type: ignore[arg-type]
    assert problem.endswith("required, is without")


def test_a_newer_list_counts_and_an_old_one_beside_it_does_no_harm() -> None:
    old = CA.list_of(CA.issuing, validity=Validity(to_time(NOON - 9 * DAY_US), to_time(NOON - DAY_US)))
    assert check(LEAF_CERTIFICATE, ISSUING, crls=[old, *CA.crls]).agent_id == POLICY.agent_id
    later = Validity(to_time(NOON + DAY_US), to_time(NOON + 2 * DAY_US))
    revoking = CA.list_of(CA.issuing, LEAF_CERTIFICATE.serial_number, validity=later)
    assert "revoked on" in problem_of_revocation(*CA.crls, revoking)


def test_once_revoked_in_a_list_that_is_there_always_revoked() -> None:
    newer = CA.list_of(CA.issuing, validity=Validity(to_time(NOON), to_time(NOON + DAY_US)))
    assert "revoked on" in problem_of_revocation(
        ROOT_LIST, CA.list_of(CA.issuing, LEAF_CERTIFICATE.serial_number), newer
    )


def test_a_missing_list_fails_closed_whether_or_not_the_certificate_names_one() -> None:
    missing = "revocation list of 'CN=Issuing,O=CA': required for 'CN=trading_bot_eu_v2,O=Acme', is missing"
    assert problem_of_revocation(ROOT_LIST) == missing
    silent = leaf_with(without=(x509.CRLDistributionPoints,))
    assert refused(silent, ISSUING, crls=[ROOT_LIST]).problems == (missing,)


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=True,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        ),
    ],
)
def test_a_part_of_a_list_is_no_list(extension: x509.ExtensionType) -> None:
    part = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ISSUING.subject)
        .last_update(to_time(NOON - DAY_US))
        .next_update(to_time(NOON + DAY_US))
        .add_extension(extension, critical=True)
        .sign(CA.issuing_key, SHA256())
    )
    assert "a whole list signed by this CA required" in problem_of_revocation(ROOT_LIST, part)


def test_an_authority_that_may_not_sign_lists_has_none() -> None:
    usage = x509.KeyUsage(
        digital_signature=False,
        key_agreement=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(ISSUING.subject)
        .issuer_name(ROOT.subject)
        .public_key(CA.issuing_key.public_key())
        .serial_number(7)
        .not_valid_before(LONG.first)
        .not_valid_after(LONG.last)
        .add_extension(usage, critical=True)
    )
    for extension in ISSUING.extensions:
        if not isinstance(extension.value, x509.KeyUsage):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    error = refused(LEAF_CERTIFICATE, builder.sign(CA.root_key, SHA256()))
    assert "a whole list signed by this CA required" in error.problems[0]


def test_load_certificate_keeps_what_it_read() -> None:
    assert load_certificate(der(LEAF_CERTIFICATE)) == LEAF_CERTIFICATE
    assert common_name(LEAF_CERTIFICATE) == POLICY.agent_id
