"""Signatures over DSSE's encoding: our vectors, the specification's, and that type, body and key all count."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.wire.signatures import (
    COMMAND_TYPE,
    ORDER_TYPE,
    POLICY_TYPE,
    REGISTRATION_TYPE,
    SIGNATURE_BYTES_MAX,
    SignatureInvalidError,
    is_valid,
    pre_authentication_encoding,
    sign,
    thumbprint,
    verify,
)
from tests.wire_world import new_key

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dsse_own.json").read_text())
TYPES: dict[str, str] = VECTORS["types"]
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY = new_key()


def public_key(encoded: str) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(b64decode(encoded))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def test_the_payload_types_are_those_of_the_vectors() -> None:
    ours = (ORDER_TYPE, COMMAND_TYPE, POLICY_TYPE, REGISTRATION_TYPE)
    assert [TYPES[name].encode() for name in ("order", "command", "policy", "registration")] == list(ours)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_own_vectors(case: dict[str, Any]) -> None:
    body, signature = b64decode(case["body"]), b64decode(case["signature"])
    payload_type = case["type"].encode()
    assert pre_authentication_encoding(payload_type, body) == b64decode(case["encoding"])
    assert is_valid(public_key(case["public_key"]), payload_type, body, signature) is case["valid"]


def test_the_vectors_hold_every_type_and_every_kind_of_failure() -> None:
    names = {case["name"] for case in VECTORS["cases"]}
    assert {f"{name} of {body}" for name in TYPES for body in ("nothing", "a text", "a kilobyte")} < names
    assert {case["name"] for case in VECTORS["cases"] if not case["valid"]} == {
        "another type",
        "another body",
        "another key",
        "no signature",
        "one byte more",
        "raw r and s",
        "not the encoding",
    }


def test_the_vector_of_the_specification() -> None:
    # DSSE protocol v1.0, Test vectors; its signatures are r and s as they are, ours are DER.
    numbers = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    )
    raw = b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    encoding = pre_authentication_encoding(b"http://example.com/HelloWorld", b"hello world")
    assert encoding == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert is_valid(numbers.public_key(), b"http://example.com/HelloWorld", b"hello world", signature)


# What lengths and separators are made of, so that confusions are likely.
PARTS = st.lists(st.sampled_from([b"0", b"1", b"2", b" "]), max_size=6).map(b"".join)


@given(PARTS, PARTS, PARTS, PARTS)
def test_two_documents_never_have_one_encoding(type_a: bytes, body_a: bytes, type_b: bytes, body_b: bytes) -> None:
    same = pre_authentication_encoding(type_a, body_a) == pre_authentication_encoding(type_b, body_b)
    assert same is ((type_a, body_a) == (type_b, body_b))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_signature_holds_for_its_key_type_and_body_only(body: bytes) -> None:
    signature = sign(KEY, ORDER_TYPE, body)
    verify(KEY.public_key(), ORDER_TYPE, body, signature)
    assert len(signature) <= SIGNATURE_BYTES_MAX
    assert not is_valid(KEY.public_key(), COMMAND_TYPE, body, signature)
    assert not is_valid(KEY.public_key(), ORDER_TYPE, body + b"\x00", signature)
    assert not is_valid(new_key().public_key(), ORDER_TYPE, body, signature)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_no_signature_and_raise_nothing_else(signature: bytes) -> None:
    assert not is_valid(KEY.public_key(), ORDER_TYPE, b"body", signature)
    with pytest.raises(SignatureInvalidError) as caught:
        verify(KEY.public_key(), ORDER_TYPE, b"body", signature)
    assert str(caught.value) == "signature over application/vnd.portcullis.order.v1+avro: not the key's"


def test_the_largest_signature_fits() -> None:
    largest = encode_dss_signature(ORDER_OF_P256 - 1, ORDER_OF_P256 - 1)
    assert len(largest) == SIGNATURE_BYTES_MAX


def test_the_other_signature_that_everybody_can_make_is_valid_too() -> None:
    # Why nothing is ever identified by its signature.
    r, s = decode_dss_signature(sign(KEY, ORDER_TYPE, b"body"))
    assert is_valid(KEY.public_key(), ORDER_TYPE, b"body", encode_dss_signature(r, ORDER_OF_P256 - s))


def test_a_thumbprint_is_the_digest_of_the_bytes() -> None:
    assert thumbprint(b"der") == sha256(b"der").digest()
