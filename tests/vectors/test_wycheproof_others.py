"""Wycheproof's other files: what we never verify must never pass where a bot's or a log's signature is checked.

Applied elsewhere: ecdsa_secp256r1_sha256 (orders) and ed25519 (notes). Not applied, as nothing here has such an input:
hmac_sha256 and json_web_signature. Each of the files below has another hash or another encoding than ours.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from streams.wire import signatures

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "crypto_wycheproof"


@pytest.mark.parametrize("name", ["sha256_p1363", "sha3_256", "sha512"])
def test_other_hashes_and_encodings_are_not_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FOLDER / f"ecdsa_secp256r1_{name}_test.json.gz"
    if not file.is_file():
        pytest.skip("no shared data: crypto_wycheproof")
    monkeypatch.setattr(signatures, "pre_authentication_encoding", lambda _type, body: body)
    groups: list[dict[str, Any]] = json.loads(gzip.decompress(file.read_bytes()))["testGroups"]
    accepted, seen = [], 0
    for group in groups:
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            seen += 1
            body, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            if signatures.is_valid(key, signatures.ORDER_TYPE, body, signature):
                accepted.append(case["tcId"])
    assert (accepted, seen > 100) == ([], True)
