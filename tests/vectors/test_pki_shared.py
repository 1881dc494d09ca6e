"""Outside certificates and revocation lists: NIST's PKITS, x509-limbo, pyca's. Skipped where the data is absent."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from streams.core.reasons import Reason
from streams.wire.certificate_fields import UNREADABLE
from streams.wire.certificates import CertificateError, check_chain, load_certificate
from streams.wire.revocation import load_list, revocation_problem
from tests.gate_world import us

DATA = Path(__file__).parents[3] / "shared" / "data"
AT_US = us("2020-06-01T00:00:00+00:00")  # PKITS is valid from 2010 to 2030


def require(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no shared data: {name}")
    return path


@cache
def pkits() -> dict[str, dict[str, bytes]]:
    document = json.loads(gzip.decompress(require("pki_nist_pkits/pkits.json.gz").read_bytes()))
    return {kind: {item["name"]: b64decode(item["der_b64"]) for item in items} for kind, items in document.items()}


def certificates(kind: str) -> dict[str, x509.Certificate]:
    found = {}
    for name, data in pkits()[kind].items():
        try:
            found[name] = load_certificate(data)
        except CertificateError:
            continue
    return found


@cache
def lists() -> tuple[x509.CertificateRevocationList, ...]:
    """Return the lists that an installation may have; the others, which it refuses to start with, are left out."""
    found = []
    for data in pkits()["crls"].values():
        try:
            pem = x509.load_der_x509_crl(data).public_bytes(Encoding.PEM)
            found.append(load_list(pem))
        except UNREADABLE:
            continue
    return tuple(found)


def problem_of(certificate: x509.Certificate) -> str | None:
    issuers = [
        authority
        for authority in certificates("ca_certs").values()
        if authority.subject == certificate.issuer and is_issued_by(certificate, authority)
    ]
    return revocation_problem(certificate, issuers[0], lists(), AT_US)


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - each algorithm has its own
        return False
    return True


REVOKED = ("InvalidLongSerialNumberTest18",)
NO_USABLE_LIST = ("Invalidpre2000CRLnextUpdateTest12", "InvalidkeyUsageCriticalcRLSignFalseTest4")
# They are about a list that is not there or is another CA's.
NO_LIST = ("InvalidMissingCRLTest1", "InvalidBadCRLIssuerNameTest5", "InvalidWrongCRLTest6")
GOOD = (
    "ValidTwoCRLsTest7",
    "ValidGeneralizedTimeCRLnextUpdateTest13",
    "ValidNegativeSerialNumberTest14",
    "ValidLongSerialNumberTest17",
    "ValidCertificatePathTest1",
    "ValidUTF8StringEncodedNamesTest9",
    "ValidkeyUsageNotCriticalTest3",
    "ValidpathLenConstraintTest8",
    "ValidDNnameConstraintsTest4",
)


# Tests of PKITS that say nothing of revocation lists as they are kept here, and why. Each of their certificates is held
# against the chain check all the same, in `test_pkits_no_certificate_of_others_is_a_bots`.
NO_POLICIES = "a bot's certificate has no policies, and nobody asks for any: its scope is in an extension of its own"
CHAIN = "the chain check is asked for it, not the revocation lists"
ONE_KEY = "an authority here has one key, which signs certificates and lists: another list for it is no list"
WHOLE_LISTS = "a list that is a part of another, or one's for another, is refused when it is read: tested below"
EXCLUDED = (
    (r".*Polic(y|ies).*", NO_POLICIES),
    (r"UserNoticeQualifier.*", NO_POLICIES),
    (r".*nameConstraints.*", CHAIN),
    (r".*pathLenConstraint.*|.*basicConstraints.*", CHAIN),
    (r".*(notBefore|notAfter)Date.*|Validpre2000UTC.*", CHAIN),
    (r"InvalidkeyUsageNotCritical.*", CHAIN),
    (r"Valid(RFC3280|UnknownNotCritical).*", CHAIN),
    (r".*NameChaining.*|ValidUTF8StringCaseInsensitive.*", "names are compared byte by byte: they are pinned"),
    (r".*DSASignature.*", "no authority may have a DSA key"),
    (r"InvalidRevokedCATest2", "its authority is revoked, and that one is asked for: tested below"),
    (r".*BasicSelfIssued.*|ValidSeparateCertificateandCRLKeys.*", ONE_KEY),
    (r".*deltaCRL.*", WHOLE_LISTS),
    (r".*(IDPwithindirectCRL|cRLIssuer|onlyContains|onlySomeReasons|[dD]istributionPoint).*", WHOLE_LISTS),
    (r"InvalidUnknownCRL.*Extension.*", WHOLE_LISTS),
    (r"InvalidNegativeSerialNumberTest15", "a negative serial number is refused before: tested below"),
)


def test_pkits_what_is_left_out_has_a_reason() -> None:
    asked = {f"{name}EE.crt" for name in (*REVOKED, *NO_USABLE_LIST, *NO_LIST, *GOOD)}
    left = pkits()["end_entity_tests"].keys() - asked
    assert asked <= pkits()["end_entity_tests"].keys()
    used = set()
    for name in sorted(left):
        patterns = [pattern for pattern, _ in EXCLUDED if re.fullmatch(pattern, name.removesuffix("EE.crt"))]
        assert patterns, name
        used.add(patterns[0])
    assert used == {pattern for pattern, _ in EXCLUDED}


@pytest.mark.parametrize("name", REVOKED)
def test_pkits_revoked_certificates_are_found(name: str) -> None:
    assert "revoked on" in (problem_of(certificates("end_entity_tests")[f"{name}EE.crt"]) or "")


def test_pkits_a_negative_serial_number_is_refused() -> None:
    with pytest.raises(CertificateError, match="serial number"):
        load_certificate(pkits()["end_entity_tests"]["InvalidNegativeSerialNumberTest15EE.crt"])


def test_pkits_a_revoked_authority_is_found() -> None:
    assert "revoked on" in (problem_of(certificates("ca_certs")["RevokedsubCACert.crt"]) or "")


@pytest.mark.parametrize("name", NO_USABLE_LIST)
def test_pkits_lists_that_may_not_be_used_fail_closed(name: str) -> None:
    problem = problem_of(certificates("end_entity_tests")[f"{name}EE.crt"])
    assert problem is not None
    assert problem.startswith("revocation list of ")


@pytest.mark.parametrize("name", GOOD)
def test_pkits_good_certificates_are_not_revoked(name: str) -> None:
    assert problem_of(certificates("end_entity_tests")[f"{name}EE.crt"]) is None


@pytest.mark.parametrize("name", NO_LIST)
def test_pkits_without_a_list_nobody_knows(name: str) -> None:
    assert "is missing" in (problem_of(certificates("end_entity_tests")[f"{name}EE.crt"]) or "")


@pytest.mark.parametrize(
    "name",
    [
        "UnknownCRLEntryExtensionCACRL",
        "UnknownCRLExtensionCACRL",
        "deltaCRLCA1deltaCRL",
        "indirectCRLCA1CRL",
        "onlySomeReasonsCA1compromiseCRL",
        "onlyContainsUserCertsCACRL",
    ],
)
def test_pkits_lists_with_something_critical_are_no_lists(name: str) -> None:
    pem = x509.load_der_x509_crl(pkits()["crls"][f"{name}.crl"]).public_bytes(Encoding.PEM)
    with pytest.raises(ValueError, match="no critical extension allowed"):
        load_list(pem)


def test_pkits_no_certificate_of_others_is_a_bots() -> None:
    roots = [certificate for name, certificate in certificates("ca_certs").items() if name.startswith("TrustAnchor")]
    chains = [[data] for data in pkits()["end_entity_tests"].values()]
    assert len(roots) == 1
    for chain in chains:
        with pytest.raises(CertificateError) as caught:
            check_chain(chain, roots, lists(), AT_US)
        assert caught.value.reason is Reason.CERTIFICATE_INVALID


def test_limbo_no_certificate_of_others_is_a_bots_and_nothing_else_is_raised() -> None:
    document = json.loads(gzip.decompress(require("pki_x509_limbo/limbo.json.gz").read_bytes()))
    for case in document["testcases"]:
        chain = [x509_der(text) for text in (case["peer_certificate"], *case["untrusted_intermediates"])]
        roots = [root for text in case["trusted_certs"] if (root := readable(x509_der(text))) is not None]
        with pytest.raises(CertificateError) as caught:
            check_chain(chain[:8], roots, (), AT_US)
        assert caught.value.problems, case["id"]


def x509_der(pem: str) -> bytes:
    return b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))


def readable(der: bytes) -> x509.Certificate | None:
    try:
        return load_certificate(der)
    except CertificateError:
        return None


def test_pyca_lists_are_read_or_refused_with_a_reason() -> None:
    outcomes: dict[str, Any] = {}
    with tarfile.open(require("pki_ocsp_crl/crl.tar.gz")) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            try:
                outcomes[member.name] = load_list(file.read())
            except ValueError as error:
                outcomes[member.name] = str(error)
    assert isinstance(outcomes["crl_empty.pem"], x509.CertificateRevocationList)
    assert len(outcomes["crl_almost_10k.pem"]) == 9_999
    for name in ("crl_delta_crl_indicator.pem", "crl_idp_only_ca.pem", "crl_md2_unknown_crit_entry_ext.pem"):
        assert outcomes[name].startswith("no critical extension allowed, has "), name
    for name in ("crl_dup_entry_ext.pem", "crl_unsupported_reason.pem", "crl_inner_outer_mismatch.der"):
        assert outcomes[name].startswith("a revocation list in PEM required"), name
