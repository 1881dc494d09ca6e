"""Write dsse_own.json: ``python -m tests.vectors.make_dsse``. Signatures are randomised: each run writes other ones."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FILE = Path(__file__).with_name("dsse_own.json")
TYPES = {
    "order": "application/vnd.portcullis.order.v1+avro",
    "command": "application/vnd.portcullis.command.v1+avro",
    "policy": "application/vnd.portcullis.policy.v1+json",
    "registration": "application/vnd.portcullis.registration.v1+json",
}
BODIES = {"nothing": b"", "a text": b'{"agent_id": "bot-1"}', "a kilobyte": bytes(range(256)) * 4}


def _key(label: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(sha256(label.encode()).digest()), ec.SECP256R1())


def _encoding(payload_type: str, body: bytes) -> bytes:
    """Return DSSE's encoding, written here a second time and not taken from the code under test."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body))


def _case(
    name: str, payload_type: str, body: bytes, signature: bytes, *, valid: bool, key: str = "bot"
) -> dict[str, Any]:
    point = _key(key).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "name": name,
        "type": payload_type,
        "body": b64encode(body).decode(),
        "encoding": b64encode(_encoding(payload_type, body)).decode(),
        "public_key": b64encode(point).decode(),
        "signature": b64encode(signature).decode(),
        "valid": valid,
    }


def document() -> dict[str, Any]:
    """Return the types and cases."""
    algorithm, key = ec.ECDSA(SHA256()), _key("bot")
    cases = [
        _case(f"{name} of {size}", kind, body, key.sign(_encoding(kind, body), algorithm), valid=True)
        for name, kind in TYPES.items()
        for size, body in BODIES.items()
    ]
    kind, body = TYPES["order"], BODIES["a text"]
    good = key.sign(_encoding(kind, body), algorithm)
    raw = b"".join(number.to_bytes(32) for number in decode_dss_signature(good))
    cases += [
        _case("another type", TYPES["command"], body, good, valid=False),
        _case("another body", kind, body + b" ", good, valid=False),
        _case("another key", kind, body, good, valid=False, key="operator"),
        _case("no signature", kind, body, b"", valid=False),
        _case("one byte more", kind, body, good + b"\x00", valid=False),
        _case("raw r and s", kind, body, raw, valid=False),
        _case("not the encoding", kind, body, key.sign(body, algorithm), valid=False),
    ]
    return {"types": TYPES, "cases": cases}


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n")
