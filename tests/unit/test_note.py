"""Signed notes: who signed counts, every other spelling is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.wire.note import (
    BadSignatureError,
    NoteError,
    Signature,
    SignatureType,
    Signer,
    UntrustedNoteError,
    Verifier,
    cosign_note,
    decode_base64,
    sign_note,
    verify_note,
)

TEXT = "log.example/3\nnaïve — text\n\nwith an empty line\n".encode()
LOG = Signer.from_seed("log.example/3", bytes(range(32)))
OTHER = Signer.from_seed("other.example", b"\x01" * 32)
WITNESS = Signer.from_seed("witness.example/w", b"\x02" * 32, SignatureType.COSIGNATURE_V1)
NOTE = sign_note(TEXT, LOG)
TIME_S = 1_760_000_000


def test_a_note_reads_as_its_text_an_empty_line_and_a_signature() -> None:
    text, signature = NOTE.rsplit(b"\n\n", 1)
    assert text + b"\n" == TEXT
    assert signature.decode().startswith("— log.example/3 ")
    assert signature.endswith(b"\n")


def test_the_text_and_who_signed_come_back() -> None:
    note = verify_note(NOTE + OTHER.sign(TEXT), [OTHER.verifier, LOG.verifier])
    assert note.text == TEXT
    assert note.signatures == (Signature(LOG.verifier, None), Signature(OTHER.verifier, None))


def test_unknown_signatures_are_skipped() -> None:
    same_name = Signer.from_seed(LOG.verifier.name, b"\x03" * 32)
    same_id = b"\xe2\x80\x94 someone.example " + NOTE.rsplit(b" ", 1)[1]
    note = verify_note(NOTE + same_name.sign(b"else\n") + same_id, [LOG.verifier])
    assert note.signatures == (Signature(LOG.verifier, None),)


def test_no_known_signature_is_no_trust() -> None:
    with pytest.raises(UntrustedNoteError, match="none of 1 signatures is of one of 1 known keys"):
        verify_note(NOTE, [OTHER.verifier])
    with pytest.raises(UntrustedNoteError):
        verify_note(NOTE, [])


@pytest.mark.parametrize("note", [NOTE + LOG.sign(b"else\n"), NOTE + OTHER.sign(b"else\n")])
def test_a_bad_signature_of_a_known_key_condemns_the_note(note: bytes) -> None:
    with pytest.raises(BadSignatureError):
        verify_note(note, [LOG.verifier, OTHER.verifier])


def test_a_changed_text_is_found() -> None:
    with pytest.raises(BadSignatureError, match=r"log\.example/3"):
        verify_note(NOTE.replace(b"empty", b"emptY"), [LOG.verifier])


@pytest.mark.parametrize("length", [1, 8, 9, 63, 65, 72])
@pytest.mark.parametrize("signer", [LOG, WITNESS])
def test_a_signature_of_a_wrong_length_is_bad(signer: Signer, length: int) -> None:
    with pytest.raises(BadSignatureError):
        signer.verifier.verify(TEXT, b"\x01" * length)


def test_a_cosignature_states_its_time() -> None:
    note = verify_note(cosign_note(NOTE, WITNESS, time_s=TIME_S), [LOG.verifier, WITNESS.verifier])
    assert note.signatures == (Signature(LOG.verifier, None), Signature(WITNESS.verifier, TIME_S))


def test_a_cosignature_binds_its_time_and_is_no_signature() -> None:
    blob = decode_base64("", WITNESS.sign(TEXT, time_s=TIME_S).split()[2])[4:]
    later = (TIME_S + 1).to_bytes(8, "big") + blob[8:]
    plain = Verifier(WITNESS.verifier.name, WITNESS.verifier.public_key)
    for verifier, signature in ((WITNESS.verifier, later), (plain, blob[8:])):
        with pytest.raises(BadSignatureError):
            verifier.verify(TEXT, signature)
    assert WITNESS.verifier.verify(TEXT, blob) == TIME_S


def test_a_cosignature_from_beyond_the_end_of_time_is_bad() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    for time_s in (2**63 - 1, 2**63):
        signature = time_s.to_bytes(8, "big") + key.sign(b"cosignature/v1\ntime %d\n%b" % (time_s, TEXT))
        if time_s < 2**63:
            assert WITNESS.verifier.verify(TEXT, signature) == time_s
        else:
            with pytest.raises(BadSignatureError, match="at most 9223372036854775807 s allowed"):
                WITNESS.verifier.verify(TEXT, signature)


@pytest.mark.parametrize("time_s", [None, -1, 2**63])
def test_a_cosigner_needs_a_time(time_s: int | None) -> None:
    with pytest.raises(NoteError, match="time of a cosignature"):
        WITNESS.sign(TEXT, time_s=time_s)


def test_only_a_cosigner_states_a_time() -> None:
    with pytest.raises(NoteError, match="time of a signature"):
        cosign_note(NOTE, LOG, time_s=TIME_S)


def test_verifier_keys_go_both_ways() -> None:
    for signer in (LOG, OTHER, WITNESS):
        assert Verifier.parse(signer.verifier.vkey) == signer.verifier


def test_one_key_has_another_id_for_each_name_and_type() -> None:
    key = LOG.verifier.public_key
    verifiers = [Verifier(name, key, type_) for name in ("a", "b") for type_ in SignatureType]
    assert len({verifier.key_id for verifier in verifiers}) == 4


_NAME, _ID, _KEY = LOG.verifier.vkey.split("+", 2)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        _NAME,
        f"{_NAME}+{_ID}",
        f"+{_ID}+{_KEY}",
        f"a b+{_ID}+{_KEY}",
        f"a\x00b+{_ID}+{_KEY}",
        f"a\ud800+{_ID}+{_KEY}",
        f"{_NAME}+{_ID}+{_KEY}+",
        f"{_NAME}+{_ID}+{_KEY}\n",
        f"{_NAME}+{_ID.upper()}0+{_KEY}",
        f"{_NAME}+00000000+{_KEY}",
        f"{_NAME}+{_ID}+A{_KEY[:-4]}",
        f"{_NAME}+{_ID}+Ag{_KEY[2:]}",
        f"{_NAME}+{_ID}+é{_KEY[1:]}",
        f"{_NAME}+{_ID}+\ud800{_KEY[1:]}",
    ],
)
def test_malformed_verifier_keys(vkey: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(vkey)


_FIELD = 2**255 - 19


def _order_8_ys() -> list[int]:
    """Solve d·y⁴ + 2·y² = 1: twice such a point has y = 0, and four times it is (0, -1)."""
    d = -121665 * pow(121666, -1, _FIELD) % _FIELD
    root_of_minus_one = pow(2, (_FIELD - 1) // 4, _FIELD)

    def square_root(square: int) -> int | None:
        root = pow(square, (_FIELD + 3) // 8, _FIELD)
        return next((r for r in (root, root * root_of_minus_one % _FIELD) if r * r % _FIELD == square % _FIELD), None)

    s = square_root(1 + d)
    assert s is not None
    squares = [(sign * s - 1) * pow(d, -1, _FIELD) % _FIELD for sign in (1, -1)]
    roots = [root for root in map(square_root, squares) if root is not None]
    return [y for root in roots for y in (root, _FIELD - root)]


def test_there_are_two_ys_of_order_8() -> None:
    assert len(_order_8_ys()) == 2


@pytest.mark.parametrize("sign_bit", [0, 2**255])
@pytest.mark.parametrize("y", [0, 1, _FIELD - 1, _FIELD, _FIELD + 1, _FIELD + 3, *_order_8_ys()])
def test_keys_that_verify_what_nobody_signed_are_refused(y: int, sign_bit: int) -> None:
    with pytest.raises(NoteError, match="not a canonical 32-byte Ed25519 key of high order"):
        Verifier("log.example", (y + sign_bit).to_bytes(32, "little"))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\u0085", "a\nb", "a\x1b"])
def test_key_names_without_spaces_plus_and_controls(name: str) -> None:
    with pytest.raises(NoteError):
        Signer.from_seed(name, b"\x01" * 32)


def test_two_keys_of_one_name_and_id_are_ambiguous() -> None:
    twin = Verifier(LOG.verifier.name, OTHER.verifier.public_key)
    object.__setattr__(twin, "key_id", LOG.verifier.key_id)
    with pytest.raises(NoteError, match="two keys of log"):
        verify_note(NOTE, [LOG.verifier, twin])
    assert verify_note(NOTE, [LOG.verifier, LOG.verifier]).text == TEXT


_LINE = LOG.sign(TEXT)
_UNKNOWN = OTHER.sign(TEXT)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n",
        TEXT,
        TEXT + b"\n",
        NOTE[:-1],
        NOTE[:-1] + b"x",
        NOTE + b"\n",
        NOTE + b"x\n",
        NOTE + b"\xe2\x80\x94 \n",
        NOTE + b"\xe2\x80\x94 someone.example\n",
        NOTE + b"\xe2\x80\x94 someone.example \n",
        NOTE + b"\xe2\x80\x94  AAAAAAA=\n",
        NOTE + b"\xe2\x80\x94 a+b AAAAAAA=\n",
        NOTE + "— a\u00a0b AAAAAAA=\n".encode(),
        NOTE + b"\xe2\x80\x94 someone.example AAAAAA==\n",
        NOTE + b"\xe2\x80\x94 someone.example AAAAAAA\n",
        NOTE + b"\xe2\x80\x94 someone.example AAAAAAB=\n",
        NOTE + b"\xe2\x80\x94 someone.example AAAAAAA= \n",
        NOTE + b"\xe2\x80\x94 someone.example AAAA AAAA\n",
        NOTE + b"- someone.example AAAAAAA=\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"empty", b"emp\x00y"),
        NOTE.replace(b"empty", b"emp\xffy"),
        NOTE.replace(b"empty", b"emp\xed\xa0\x80y"),
        b"x" * 1_000_000 + b"\n\n" + _LINE,
        TEXT + b"\n" + _UNKNOWN * 100 + _LINE,
    ],
)
def test_malformed_notes(note: bytes) -> None:
    with pytest.raises(NoteError) as raised:
        verify_note(note, [LOG.verifier])
    assert raised.type is NoteError


def test_a_hundred_signatures_are_read() -> None:
    assert verify_note(TEXT + b"\n" + _UNKNOWN * 99 + _LINE, [LOG.verifier]).signatures[0].verifier == LOG.verifier


def test_the_text_ends_at_the_last_empty_line() -> None:
    # A signed note inside a text is text.
    inner = NOTE + b"\nand more\n"
    assert verify_note(sign_note(inner, OTHER), [OTHER.verifier]).text == inner
    with pytest.raises(UntrustedNoteError):
        verify_note(sign_note(inner, OTHER), [LOG.verifier])


@pytest.mark.parametrize("text", [b"", b"no newline", b"tab\t\n", b"\xff\n", b"cr\r\n"])
def test_texts_that_cannot_be_a_note_are_not_signed(text: bytes) -> None:
    with pytest.raises(NoteError):
        sign_note(text, LOG)


@pytest.mark.parametrize("encoded", [b"AA", b"AB==", b"AAAB===", b"AA==\n", b"A-_=", b" AAA", b"AA==AA=="])
def test_base64_has_one_spelling(encoded: bytes) -> None:
    with pytest.raises(NoteError, match=r"hash: .*base64 required"):
        decode_base64("hash", encoded)
