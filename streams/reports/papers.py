"""The certificates and revocation lists that a batch carries, so that who signed what can be seen off-line."""

from __future__ import annotations

from hashlib import sha256
from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert
from typing import TYPE_CHECKING

from streams.reports.layout import CERTIFICATES, REVOCATIONS
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.decisions import decode_audit_event
from streams.wire.trust import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def write_papers(out: Path, registrations: Iterable[bytes], pki: Path | None) -> None:
    """Write every certificate of these registrations (leaves), and the authorities' certificates and lists of `pki`."""
    for name in (CERTIFICATES, REVOCATIONS):
        (out / name).mkdir()
    certificates = {der for leaf in registrations for der in _certificates(leaf)}
    if pki is not None:
        certificates |= {PEM_cert_to_DER_cert(path.read_text()) for path in sorted((pki / FOLDER / "ca").glob("*.pem"))}
        for path in sorted((pki / FOLDER / "crl").glob("*.pem")):
            (out / REVOCATIONS / path.name).write_bytes(path.read_bytes())
    for der in certificates:
        (out / CERTIFICATES / f"{sha256(der).hexdigest()}.pem").write_text(DER_cert_to_PEM_cert(der))


def _certificates(leaf: bytes) -> Iterator[bytes]:
    event, _ = decode_audit_event(leaf)
    try:
        record = decode(Schema.AGENT_RECORD, event.subject or b"")
    except DecodeError:
        return
    yield from (record["approver_certificate"], record["operator_certificate"], *record["certificate_chain"])
