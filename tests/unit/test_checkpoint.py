"""Checkpoints: one spelling each, signed by the log that they name."""

from __future__ import annotations

from base64 import b64encode

import pytest

from streams.audit.checkpoint import (
    Checkpoint,
    CheckpointError,
    WrongOriginError,
    parse_decimal,
    sign_checkpoint,
    verify_checkpoint,
)
from streams.core.merkle import MAX_TREE_SIZE
from streams.wire.note import (
    BadSignatureError,
    SignatureType,
    Signer,
    UntrustedNoteError,
    cosign_note,
    sign_note,
)

ORIGIN = "log.example/3"
ROOT = bytes(range(32))
ROOT_LINE = b64encode(ROOT)
CHECKPOINT = Checkpoint(ORIGIN, 20852163, ROOT)
LOG = Signer.from_seed(ORIGIN, b"\x01" * 32)
OTHER_LOG = Signer.from_seed("log.example/4", b"\x02" * 32)
WITNESS = Signer.from_seed("witness.example", b"\x03" * 32, SignatureType.COSIGNATURE_V1)


def _text(size: bytes = b"7", root: bytes = ROOT_LINE, tail: bytes = b"") -> bytes:
    return b"log.example/3\n" + size + b"\n" + root + b"\n" + tail


def test_three_lines() -> None:
    assert CHECKPOINT.encode() == b"log.example/3\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


@pytest.mark.parametrize(
    "checkpoint",
    [
        CHECKPOINT,
        Checkpoint("é", 0, ROOT),
        Checkpoint(ORIGIN, MAX_TREE_SIZE, ROOT),
        Checkpoint(ORIGIN, 1, ROOT, ("one", "two")),
    ],
)
def test_checkpoints_go_both_ways(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"log.example/3\n7\n",
        _text()[:-1],
        _text(size=b"007"),
        _text(size=b"00"),
        _text(size=b""),
        _text(size=b"-7"),
        _text(size=b"+7"),
        _text(size=b" 7"),
        _text(size=b"7 "),
        _text(size=b"7_0"),
        _text(size=b"0x7"),
        _text(size="७".encode()),
        _text(size=b"9223372036854775808"),
        _text(size=b"1" * 5000),
        _text(root=b""),
        _text(root=ROOT_LINE[:-1]),
        _text(root=ROOT_LINE[:-2] + b"9="),
        _text(root=ROOT_LINE + b" "),
        _text(root=b64encode(ROOT[:-1])),
        _text(root=b64encode(ROOT + b"\x00")),
        _text(root=b64encode(b"\xff" * 32).replace(b"/", b"_")),
        _text(tail=b"\n"),
        _text(tail=b"extension"),
        _text(tail=b"extension\n\n"),
        _text(tail=b"\nextension\n"),
        _text(tail=b"\xff\n"),
        _text(tail=b"x" * 1_000_000 + b"\n"),
        b"\n7\n" + ROOT_LINE + b"\n",
        b"\xff\n7\n" + ROOT_LINE + b"\n",
    ],
)
def test_every_other_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        (ORIGIN, -1, ROOT, ()),
        (ORIGIN, MAX_TREE_SIZE + 1, ROOT, ()),
        (ORIGIN, 1, ROOT[1:], ()),
        (ORIGIN, 1, ROOT, ("",)),
        (ORIGIN, 1, ROOT, ("a\nb",)),
    ],
)
def test_what_could_not_be_read_back_is_not_made(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint(origin, size, root, extensions)


@pytest.mark.parametrize(("digits", "number"), [(b"0", 0), (b"10", 10), (b"9223372036854775807", MAX_TREE_SIZE)])
def test_decimals(digits: bytes, number: int) -> None:
    assert parse_decimal("index", digits) == number


def test_a_refused_decimal_is_named_and_not_repeated_at_length() -> None:
    with pytest.raises(
        CheckpointError, match="index: 0 to 9223372036854775807 without leading zeroes required"
    ) as raised:
        parse_decimal("index", b"9" * 1000)
    assert len(str(raised.value)) < 120


def test_a_signed_checkpoint_comes_back() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG)
    assert verify_checkpoint(note, [OTHER_LOG.verifier, LOG.verifier]) == CHECKPOINT
    cosigned = cosign_note(note, WITNESS, time_s=1)
    assert verify_checkpoint(cosigned, [LOG.verifier]) == CHECKPOINT
    assert verify_checkpoint(cosigned, [LOG.verifier, WITNESS.verifier]) == CHECKPOINT


@pytest.mark.parametrize("signer", [OTHER_LOG, Signer.from_seed(ORIGIN, b"\x03" * 32, SignatureType.COSIGNATURE_V1)])
def test_only_the_log_s_own_key_signs(signer: Signer) -> None:
    with pytest.raises(WrongOriginError, match=r"checkpoint of log\.example/3: signed by"):
        sign_checkpoint(CHECKPOINT, signer)


def test_another_log_s_key_vouches_for_nothing() -> None:
    note = sign_note(CHECKPOINT.encode(), OTHER_LOG)
    with pytest.raises(WrongOriginError, match=r"signed by log\.example/4"):
        verify_checkpoint(note, [LOG.verifier, OTHER_LOG.verifier])


def test_a_witness_alone_vouches_for_nothing() -> None:
    namesake = Signer.from_seed(ORIGIN, b"\x03" * 32, SignatureType.COSIGNATURE_V1)
    text = CHECKPOINT.encode()
    note = text + b"\n" + namesake.sign(text, time_s=1)
    with pytest.raises(WrongOriginError):
        verify_checkpoint(note, [LOG.verifier, namesake.verifier])


def test_a_known_witness_s_bad_signature_condemns_the_checkpoint() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG) + WITNESS.sign(b"else\n", time_s=1)
    with pytest.raises(BadSignatureError):
        verify_checkpoint(note, [LOG.verifier, WITNESS.verifier])


def test_unsigned_and_malformed_checkpoints() -> None:
    with pytest.raises(UntrustedNoteError):
        verify_checkpoint(sign_checkpoint(CHECKPOINT, LOG), [OTHER_LOG.verifier])
    with pytest.raises(CheckpointError):
        verify_checkpoint(sign_note(_text(size=b"007"), LOG), [LOG.verifier])
