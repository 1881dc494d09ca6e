"""Wycheproof: hostile ECDSA P-256 signatures, judged as others judge them (C2SP/wycheproof, Apache-2.0).

Their messages are not in DSSE's encoding, so the encoding is taken out of the way; everything else is ours.
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

FILE = Path(__file__).parents[3] / "shared" / "data" / "crypto_wycheproof" / "ecdsa_secp256r1_sha256_test.json.gz"


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    if not FILE.is_file():
        pytest.skip("no shared data: crypto_wycheproof")
    monkeypatch.setattr(signatures, "pre_authentication_encoding", lambda _type, body: body)
    found: list[dict[str, Any]] = json.loads(gzip.decompress(FILE.read_bytes()))["testGroups"]
    return found


def test_every_verdict_is_wycheproofs(groups: list[dict[str, Any]]) -> None:
    wrong, seen = [], {"valid": 0, "invalid": 0}
    for group in groups:
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            seen[case["result"]] += 1
            body, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            if signatures.is_valid(key, signatures.ORDER_TYPE, body, signature) is not (case["result"] == "valid"):
                wrong.append((case["tcId"], case["comment"]))
    assert wrong == []
    assert seen["valid"] > 100
    assert seen["invalid"] > 100


def test_with_the_encoding_none_of_them_is_a_bots_signature(
    groups: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for group in groups:
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            body, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            assert not signatures.is_valid(key, signatures.ORDER_TYPE, body, signature), case["tcId"]
