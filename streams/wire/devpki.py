"""A PKI for development, drills and tests: all parties of a registration on one machine. Never for production.

`trust/` is what workers read (see `streams.wire.trust`). `private/` holds the parties' keys, readable by their owner
only; in a firm they are with the board, the operator, the CA and each person, and nowhere together. `chain/` has the
certificate of the CA that issues to bots.
"""

from __future__ import annotations

import fcntl
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from streams.core.documents import PERSON
from streams.core.policy import parse_policy, policy_id
from streams.wire.avro import Schema, encode
from streams.wire.certificate_fields import to_time
from streams.wire.certificates import public_key_of
from streams.wire.issuing import (
    Issuer,
    Validity,
    agent_certificate,
    intermediate_certificate,
    pinned_certificate,
    revocation_list,
    root_certificate,
    subject_name,
)
from streams.wire.keys import AgentCredentials, KeyFileError, SigningKey, load_private_key, private_pem, write_file
from streams.wire.log_keys import log_signers
from streams.wire.note import Signer
from streams.wire.signatures import POLICY_TYPE, REGISTRATION_TYPE, sign, thumbprint
from streams.wire.trust import FOLDER, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

APPROVER: Final = "ceo@acme"
OPERATOR: Final = "acme_trading_ltd"
PEOPLE: Final = {
    "ceo@acme": tuple(Role),
    "cfo@acme": (Role.KILL, Role.RELEASE, Role.ACKNOWLEDGE),
    "compliance_lead@acme": tuple(Role),
}

_FIRM: Final = "Acme Trading Ltd"
_AUTHORITY: Final = "Third Party CA (development)"
_ROOT: Final = "root-ca"
_ISSUING: Final = "issuing-ca"
_LIFE: Final = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
_LIST_LIFE: Final = timedelta(days=365)
_LIST_RENEWAL: Final = timedelta(days=30)
_AGENT_LIFE: Final = timedelta(days=398)
_BACKDATED: Final = timedelta(days=1)


def make_dev_pki(folder: Path) -> None:
    """Make what is missing of the parties' keys, certificates and seeds; renew revocation lists that run out."""
    with _locked(folder):
        _make_authorities(folder)
        for name in (_ROOT, _ISSUING):
            if _list_runs_out(folder, name):
                _publish_list(folder, name, ())
        _make_pinned(folder, "approvers", APPROVER, ())
        _make_pinned(folder, "operators", OPERATOR, ())
        for person, roles in PEOPLE.items():
            _make_pinned(folder, "people", person, roles)
        for name in ("log", "report"):
            _make_seed(folder, name)


def issue_agent(
    folder: Path, policy_document: bytes, *, not_before_us: int | None = None, not_after_us: int | None = None
) -> AgentCredentials:
    """Make a bot's key, and its certificate by the CA for the scope of this policy.

    Times in microseconds UTC, cut to seconds; without them from a day ago for 398 days.

    Raises: PolicyError where the policy does not hold, KeyFileError where there is no PKI.
    """
    policy = parse_policy(policy_document)
    now = datetime.now(UTC)
    validity = Validity(
        now - _BACKDATED if not_before_us is None else to_time(not_before_us).replace(microsecond=0),
        now + _AGENT_LIFE if not_after_us is None else to_time(not_after_us).replace(microsecond=0),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _issuer(folder, _ISSUING)
    name = subject_name(policy.agent_id, policy.operator)
    leaf = agent_certificate(key.public_key(), name, validity, issuer, policy.scope_sha256).public_bytes(Encoding.DER)
    chain = (leaf, issuer.certificate.public_bytes(Encoding.DER))
    return AgentCredentials(policy.agent_id, key, chain, thumbprint(leaf))


def make_registration(
    folder: Path, policy_document: bytes, credentials: AgentCredentials, *, at_us: int | None = None
) -> bytes:
    """Return a framed AgentRecord, signed by approver and operator at a moment in microseconds UTC, or now."""
    moment = datetime.now(UTC) if at_us is None else to_time(at_us)
    statement = orjson.dumps(
        {
            "agent_id": credentials.agent_id,
            "policy_sha256": policy_id(policy_document).hex(),
            "certificate_sha256": credentials.thumbprint.hex(),
            "registered_at": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
    )
    approver, operator = (_private_key(folder, role) for role in ("approvers", "operators"))
    return encode(
        Schema.AGENT_RECORD,
        {
            "agent_id": credentials.agent_id,
            "policy": policy_document,
            "approver_signature": sign(approver, POLICY_TYPE, policy_document),
            "approver_certificate": _certificate(_pinned_path(folder, "approvers", APPROVER)),
            "registration": statement,
            "operator_signature": sign(operator, REGISTRATION_TYPE, statement),
            "operator_certificate": _certificate(_pinned_path(folder, "operators", OPERATOR)),
            "certificate_chain": list(credentials.chain),
        },
    )


def revoke(folder: Path, serial: int) -> None:
    """Publish the issuing CA's revocation list with this certificate added."""
    with _locked(folder):
        _publish_list(folder, _ISSUING, (serial,))


def person_key(folder: Path, name: str) -> SigningKey:
    """Return the key with which a person signs commands. Raises: KeyFileError where there is no such person."""
    if name not in PEOPLE:
        raise KeyFileError(f"person: one of {', '.join(PEOPLE)} required, is {name[:60]!a}")
    certificate = _certificate(_pinned_path(folder, "people", name))
    return SigningKey(name, _private_key(folder, f"people-{name}"), thumbprint(certificate))


def held_key(keys: Path, folder: Path, name: str) -> SigningKey:
    """Return the key of a person whom the PKI in `folder` trusts, from a folder of keys that somebody holds for them.

    Raises: KeyFileError where there is no such person, no such key, or it is not the certificate's.
    """
    if not PERSON.fullmatch(name):
        raise KeyFileError(f"person: {PERSON.pattern} required, is {name[:60]!a}")
    path = keys / f"people-{name}.pem"
    key, certificate = load_private_key(path), _certificate(_pinned_path(folder, "people", name))
    if public_key_of(x509.load_der_x509_certificate(certificate)) != key.public_key():
        raise KeyFileError(f"{path}: the key of {name}'s certificate required")
    return SigningKey(name, key, thumbprint(certificate))


def log_signer(folder: Path, origin: str) -> Signer:
    """Return the newest signer of the audit log of this origin."""
    return log_signers(folder, origin).signers[-1][1]


def report_signer(folder: Path, name: str) -> Signer:
    """Return the signer of report batches under this key name."""
    return Signer.from_seed(name, _seed(folder, "report"))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_authorities(folder: Path) -> None:
    path = _authority_path(folder, _ROOT)
    if not path.is_file():
        key = _make_key(folder, _ROOT)
        _write_certificate(path, root_certificate(key, subject_name("Development root", _AUTHORITY), _LIFE))
    path = _authority_path(folder, _ISSUING)
    if not path.is_file():
        public_key = _make_key(folder, _ISSUING).public_key()
        name = subject_name("Development issuing CA", _AUTHORITY)
        _write_certificate(path, intermediate_certificate(public_key, name, _LIFE, _issuer(folder, _ROOT)))


def _make_pinned(folder: Path, role: str, name: str, units: Iterable[str]) -> None:
    path = _pinned_path(folder, role, name)
    if not path.is_file():
        key = _make_key(folder, f"{role}-{name}" if role == "people" else role)
        _write_certificate(path, pinned_certificate(key, subject_name(name, _FIRM, units), _LIFE))


def _make_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    path = _private_path(folder, name)
    if not path.is_file():
        write_file(path, private_pem(ec.generate_private_key(ec.SECP256R1())), secret=True)
    return load_private_key(path)


def _make_seed(folder: Path, name: str) -> None:
    path = folder / "private" / f"{name}.seed"
    if not path.is_file():
        write_file(path, secrets.token_bytes(32), secret=True)
    if name == "report":  # logs have a key each: `portcullis audit keys` tells them
        public_key = Signer.from_seed(name, path.read_bytes()).verifier.public_key
        write_file(folder / FOLDER / "keys" / f"{name}.pub", public_key)


def _list_runs_out(folder: Path, name: str) -> bool:
    path = _list_path(folder, name)
    next_update = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc if path.is_file() else None
    return next_update is None or next_update - datetime.now(UTC) < _LIST_RENEWAL


def _publish_list(folder: Path, name: str, serials: Iterable[int]) -> None:
    path = _list_path(folder, name)
    now, number = datetime.now(UTC), 1
    revoked = dict.fromkeys(serials, now)
    if path.is_file():
        before = x509.load_pem_x509_crl(path.read_bytes())
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        revoked |= {entry.serial_number: entry.revocation_date_utc for entry in before}
    crl = revocation_list(_issuer(folder, name), number, revoked, Validity(now, now + _LIST_LIFE))
    write_file(path, crl.public_bytes(Encoding.PEM))


def _issuer(folder: Path, name: str) -> Issuer:
    certificate = x509.load_der_x509_certificate(_certificate(_authority_path(folder, name)))
    return Issuer(certificate, _private_key(folder, name), f"http://crl.example/{name}.crl")


def _authority_path(folder: Path, name: str) -> Path:
    return (folder / FOLDER / "ca" if name == _ROOT else folder / "chain") / f"{name}.pem"


def _pinned_path(folder: Path, role: str, name: str) -> Path:
    return folder / FOLDER / role / f"{name}.pem"


def _list_path(folder: Path, name: str) -> Path:
    return folder / FOLDER / "crl" / f"{name}.pem"


def _private_path(folder: Path, name: str) -> Path:
    return folder / "private" / f"{name}.pem"


def _private_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    return load_private_key(_private_path(folder, name))


def _seed(folder: Path, name: str) -> bytes:
    path = folder / "private" / f"{name}.seed"
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _certificate(path: Path) -> bytes:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    write_file(path, certificate.public_bytes(Encoding.PEM))
