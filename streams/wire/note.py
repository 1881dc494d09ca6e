"""C2SP signed notes: text with Ed25519 signatures and timestamped cosignatures of named keys.

A note is its text (which ends in a newline), an empty line, and one line for each signature. Who verifies brings the
keys: signatures of unknown keys are skipped, so that keys can be added, but a bad one of a known key condemns the note.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterable

# The bounds of Go's sumdb/note. 16 post-quantum signatures, which the specification asks for, take 107 kB.
_MAX_NOTE_BYTES: Final = 1_000_000
_MAX_SIGNATURES: Final = 100
_MAX_TIME_S: Final = 2**63 - 1

_SIGNATURE_PREFIX: Final = "— ".encode()
_CONTROL_CHARACTER: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8

# y coordinates of the curve's eight points of low order; those of order 8 solve d·y⁴ + 2·y² = 1. Such a key verifies
# signatures which nobody made, so a log that has one can deny what it signed.
_FIELD: Final = 2**255 - 19
_ORDER_8_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER_Y: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})


class NoteError(PortcullisError):
    """A note, key name or verifier key is malformed."""


class UntrustedNoteError(NoteError):
    """No known key signed the note."""


class BadSignatureError(NoteError):
    """A signature line names a known key, but the signature is not that key's."""


class SignatureType(IntEnum):
    """What a key signs: the note's text, or a checkpoint's text and the time (tlog-cosignature)."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verify one named key's signatures.

    Raises:
        NoteError: the name has a space or plus, or the key is not a canonical Ed25519 key of high order.
    """

    name: str
    public_key: bytes
    type: SignatureType = SignatureType.ED25519
    key_id: bytes = field(init=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_name(self.name)
        y = int.from_bytes(self.public_key, "little") % 2**255
        if len(self.public_key) != 32 or y >= _FIELD or y in _LOW_ORDER_Y:
            raise NoteError(f"public key of {self.name}: not a canonical 32-byte Ed25519 key of high order")
        hashed = b"%b\n%c%b" % (self.name.encode(), self.type, self.public_key)
        object.__setattr__(self, "key_id", sha256(hashed).digest()[:_KEY_ID_BYTES])
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.public_key))

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a verifier key, ``name+key id+base64(type, public key)``. Source: C2SP signed-note, Verifier keys.

        Raises:
            NoteError: it is malformed, of a type we do not know, or its key id is not the key's.
        """
        name, key_id, key = [*vkey.split("+", 2), "", ""][:3]
        material = decode_base64("verifier key", key.encode(errors="replace"))
        if material[:1] not in (b"\x01", b"\x04"):
            raise NoteError(f"verifier key of {name}: type 1 or 4 required, got {material[:1].hex()}")
        verifier = cls(name, material[1:], SignatureType(material[0]))
        if verifier.key_id.hex() != key_id:
            raise NoteError(f"verifier key of {name}: key id {verifier.key_id.hex()} required, got {key_id}")
        return verifier

    @property
    def vkey(self) -> str:
        """The verifier key as text, for configuration and for others' tools."""
        return f"{self.name}+{self.key_id.hex()}+{_encode_base64(bytes([self.type]) + self.public_key).decode()}"

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """Check a signature on a note's text and return a cosignature's time (POSIX seconds).

        Raises:
            BadSignatureError: it is not this key's.
        """
        time_s, signed = None, text
        if self.type is SignatureType.COSIGNATURE_V1:
            time_s, signature = int.from_bytes(signature[:_TIME_BYTES], "big"), signature[_TIME_BYTES:]
            signed = _cosigned(text, time_s)
            if time_s > _MAX_TIME_S:
                raise BadSignatureError(f"cosignature of {self.name}: at most {_MAX_TIME_S} s allowed, got {time_s}")
        try:
            self._key.verify(signature, signed)
        except InvalidSignature:
            raise BadSignatureError(f"signature of {self.name}: not made by key {self.key_id.hex()}") from None
        return time_s


class Signer:
    """Sign with one named key. Two types of signature need two keys."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey, type_: SignatureType = SignatureType.ED25519) -> None:
        self._key = key
        self.verifier = Verifier(name, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), type_)

    @classmethod
    def from_seed(cls, name: str, seed: bytes, type_: SignatureType = SignatureType.ED25519) -> Signer:
        """Make the signer of a 32-byte Ed25519 private key."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed), type_)

    def sign(self, text: bytes, *, time_s: int | None = None) -> bytes:
        """Return the signature line for a note's text; a cosignature, and only that, states its time (POSIX seconds).

        Raises:
            NoteError: the time is missing, out of range, or not this type's.
        """
        stated = b""
        if self.verifier.type is SignatureType.COSIGNATURE_V1:
            if time_s is None or not 0 <= time_s <= _MAX_TIME_S:
                raise NoteError(f"time of a cosignature: 0 to {_MAX_TIME_S} s required, got {time_s}")
            stated, text = time_s.to_bytes(_TIME_BYTES, "big"), _cosigned(text, time_s)
        elif time_s is not None:
            raise NoteError(f"time of a signature: none allowed, got {time_s}")
        blob = self.verifier.key_id + stated + self._key.sign(text)
        return b"%b%b %b\n" % (_SIGNATURE_PREFIX, self.verifier.name.encode(), _encode_base64(blob))


@dataclass(frozen=True, slots=True)
class Signature:
    """One verified signature; ``time_s`` (POSIX seconds) is what a cosigner states."""

    verifier: Verifier
    time_s: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A note's text and its verified signatures. A key may sign twice, so a quorum counts verifiers."""

    text: bytes
    signatures: tuple[Signature, ...]


def sign_note(text: bytes, *signers: Signer) -> bytes:
    """Return the text as a note with each signer's signature, in this order.

    Raises:
        NoteError: nobody signs, or the text does not end in a newline or is not plain UTF-8.
    """
    if not signers or not text.endswith(b"\n"):
        raise NoteError("note: a signer and a text that ends in a newline required")
    _require_plain(text)
    return b"".join((text, b"\n", *(signer.sign(text) for signer in signers)))


def cosign_note(note: bytes, cosigner: Signer, *, time_s: int) -> bytes:
    """Return the note with a further line: the cosigner's statement at this time (POSIX seconds).

    The caller has verified the note and what it says.

    Raises:
        NoteError: the note is malformed, or the signer is not a cosigner.
    """
    text, _ = _split_note(note)
    return note + cosigner.sign(text, time_s=time_s)


def verify_note(note: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Check every signature whose key is known. Source: C2SP signed-note, Signatures.

    Raises:
        BadSignatureError: a known key's signature is bad, whatever the others are.
        UntrustedNoteError: no known key signed.
        NoteError: the note is malformed.
    """
    known = _by_name_and_id(verifiers)
    text, lines = _split_note(note)
    signatures = []
    for name, blob in lines:
        verifier = known.get((name, blob[:_KEY_ID_BYTES]))
        if verifier is not None:
            signatures.append(Signature(verifier, verifier.verify(text, blob[_KEY_ID_BYTES:])))
    if not signatures:
        raise UntrustedNoteError(f"note: none of {len(lines)} signatures is of one of {len(known)} known keys")
    return Note(text, tuple(signatures))


def decode_base64(name: str, encoded: bytes) -> bytes:
    """Return the bytes of padded standard base64, of which there is one spelling only.

    Raises:
        NoteError: it has another character, wrong padding, or bits set after the last byte.
    """
    try:
        decoded = a2b_base64(encoded, strict_mode=True)
    except Base64Error as error:
        raise NoteError(f"{name}: base64 required ({error})") from None
    if _encode_base64(decoded) != encoded:
        raise NoteError(f"{name}: canonical base64 required")
    return decoded


def _split_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return a note's text and, for each signature line, the key name and the bytes (key id, signature)."""
    if len(note) > _MAX_NOTE_BYTES:
        raise NoteError(f"note: at most {_MAX_NOTE_BYTES} bytes allowed, got {len(note)}")
    _require_plain(note)
    head, gap, signatures = note.rpartition(b"\n\n")
    if not gap or not signatures.endswith(b"\n"):
        raise NoteError("note: text, an empty line and signature lines required")
    lines = signatures[:-1].split(b"\n")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteError(f"note: at most {_MAX_SIGNATURES} signatures allowed, got {len(lines)}")
    return head + b"\n", [_parse_signature_line(line) for line in lines]


def _parse_signature_line(line: bytes) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(b" ")
    if not space or not line.startswith(_SIGNATURE_PREFIX):
        raise NoteError("signature line: em dash, key name and base64 required")
    _require_name(name.decode())
    blob = decode_base64("signature", encoded)
    if len(blob) <= _KEY_ID_BYTES:
        raise NoteError(f"signature: more than {_KEY_ID_BYTES} bytes required, got {len(blob)}")
    return name.decode(), blob


def _by_name_and_id(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise NoteError(f"verifiers: two keys of {verifier.name} have the key id {verifier.key_id.hex()}")
    return known


def _cosigned(text: bytes, time_s: int) -> bytes:
    """Return what a cosigner signs. Source: C2SP tlog-cosignature, Ed25519 signed message."""
    return b"cosignature/v1\ntime %d\n%b" % (time_s, text)


def _require_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteError(f"key name: no spaces and no plus allowed, got {name!r}")
    _require_plain(name.encode(errors="surrogatepass"))


def _require_plain(text: bytes) -> None:
    if _CONTROL_CHARACTER.search(text):
        raise NoteError("note: no control character but newline allowed")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise NoteError(f"note: UTF-8 required ({error.reason} at byte {error.start})") from None


def _encode_base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)
