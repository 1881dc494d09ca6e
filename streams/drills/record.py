"""Signed records of drills and fitness tests: DSSE envelopes in JSON, each signed by a named person.

The SHA-256 of a record's file is what a policy's `last_passed` names. Source: DSSE v1.0 (envelope).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.errors import PortcullisError
from streams.wire.keys import write_file
from streams.wire.signatures import TEST_RECORD_TYPE, is_valid, sign

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams.wire.keys import SigningKey
    from streams.wire.trust import TrustStore

RECORD_BYTES_MAX: Final = 4 * 1024 * 1024


class RecordRefusedError(PortcullisError):
    """A record does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record whose signature holds: what it says, who signed it, the SHA-256 of its file."""

    body: Mapping[str, Any]
    signed_by: str
    sha256: str


def write_record(path: Path, body: Mapping[str, Any], signer: SigningKey) -> None:
    """Sign a record and write it to a file."""
    payload = orjson.dumps(dict(body) | {"signed_by": signer.name}, option=orjson.OPT_SORT_KEYS)
    envelope = {
        "payloadType": TEST_RECORD_TYPE.decode(),
        "payload": b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": signer.thumbprint.hex(),
                "sig": b64encode(sign(signer.private_key, TEST_RECORD_TYPE, payload)).decode(),
            }
        ],
    }
    write_file(path, orjson.dumps(envelope, option=orjson.OPT_INDENT_2) + b"\n")


def read_record(path: Path, trust: TrustStore) -> SignedRecord:
    """Read a record and check its signature against the people that are trusted here.

    Raises: RecordRefusedError where the file is no record, or not signed by whom it names.
    """
    try:
        data = path.read_bytes()[: RECORD_BYTES_MAX + 1]
    except OSError as error:
        raise RecordRefusedError(f"{path}: {error.strerror}") from None
    if len(data) > RECORD_BYTES_MAX:
        raise RecordRefusedError(f"{path}: at most {RECORD_BYTES_MAX} bytes required")
    payload_type, payload, key_id, signature = _open(path, data)
    person = trust.people.get(key_id)
    if person is None:
        raise RecordRefusedError(f"{path}: keyid of a known person required, is {key_id.hex()[:64]!r}")
    if payload_type != TEST_RECORD_TYPE or not is_valid(person.public_key, TEST_RECORD_TYPE, payload, signature):
        raise RecordRefusedError(f"{path}: signature of {person.name} over {TEST_RECORD_TYPE.decode()} required")
    body = orjson.loads(payload)  # signed by a known person, so it is what `write_record` made
    ended_us = body["ended_at_us"]
    if body["signed_by"] != person.name or not person.not_before_us <= ended_us <= person.not_after_us:
        raise RecordRefusedError(f"{path}: signed by {person.name} within their certificate's validity required")
    return SignedRecord(body, person.name, sha256(data).hexdigest())


def _open(path: Path, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Return type, payload, key id and signature of an envelope with one signature."""
    try:
        envelope = orjson.loads(data)
        (signature,) = envelope["signatures"]
        return (
            envelope["payloadType"].encode(),
            b64decode(envelope["payload"], validate=True),
            bytes.fromhex(signature["keyid"]),
            b64decode(signature["sig"], validate=True),
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise RecordRefusedError(f"{path}: a DSSE envelope with one signature required ({error})") from None
