"""Checkpoints of the audit log: a log's name, size and root hash, signed. Source: C2SP tlog-checkpoint."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.core.errors import PortcullisError
from streams.core.merkle import HASH_BYTES, MAX_TREE_SIZE
from streams.wire.note import NoteError, SignatureType, decode_base64, sign_note, verify_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.wire.note import Signature, Signer, Verifier


# A note's bound: nothing larger could have been signed.
_MAX_TEXT_BYTES: Final = 1_000_000


class CheckpointError(PortcullisError):
    """A checkpoint's text is malformed."""


class WrongOriginError(CheckpointError):
    """A checkpoint is signed with the key of another log than the one that it names."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's name, how many leaves it has, and their root hash.

    Extension lines are read, as others' logs may have them; ours has none, because nobody can audit what they say.

    Raises:
        CheckpointError: a line is empty or broken, the size out of range, or the root not 32 bytes.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise CheckpointError(f"checkpoint line: one non-empty line required, got {line!r}")
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise CheckpointError(f"checkpoint size: 0 to {MAX_TREE_SIZE} allowed, got {self.size}")
        if len(self.root) != HASH_BYTES:
            raise CheckpointError(f"checkpoint root: {HASH_BYTES} bytes required, got {len(self.root)}")

    def encode(self) -> bytes:
        """Return the note text."""
        # b2a_base64 ends the root's line.
        head = b"%b\n%d\n%b" % (self.origin.encode(), self.size, b2a_base64(self.root))
        return head + "".join(f"{line}\n" for line in self.extensions).encode()

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a note text; each checkpoint has one spelling.

        Raises:
            CheckpointError: it is not exactly a checkpoint.
        """
        if len(text) > _MAX_TEXT_BYTES:
            raise CheckpointError(f"checkpoint: at most {_MAX_TEXT_BYTES} bytes allowed, got {len(text)}")
        lines = text.split(b"\n")
        if len(lines) < 4 or lines[-1]:
            raise CheckpointError("checkpoint: origin, size and root required, each line ended by a newline")
        origin, size, root, *extensions = lines[:-1]
        try:
            names = [line.decode() for line in (origin, *extensions)]
            hashed = decode_base64("checkpoint root", root)
        except (UnicodeDecodeError, NoteError) as error:
            raise CheckpointError(f"checkpoint: {error}") from None
        return cls(names[0], parse_decimal("checkpoint size", size), hashed, tuple(names[1:]))


def parse_decimal(name: str, digits: bytes) -> int:
    """Return a number of 0 to ``MAX_TREE_SIZE`` in ASCII decimal without leading zeroes.

    Raises:
        CheckpointError: it is spelled in another way, or too large.
    """
    # 19 digits hold the maximum; int() would also take signs, spaces, underscores and other scripts' digits.
    canonical = digits.isdigit() and len(digits) <= 19 and (digits == b"0" or not digits.startswith(b"0"))
    if not canonical or int(digits) > MAX_TREE_SIZE:
        raise CheckpointError(f"{name}: 0 to {MAX_TREE_SIZE} without leading zeroes required, got {digits[:24]!r}")
    return int(digits)


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """Return the checkpoint as a note signed by its log's keys, which bear its name: two while one replaces another.

    Raises:
        WrongOriginError: a key is another log's, or a cosigner's.
    """
    for signer in signers:
        _require_log_key([signer.verifier], checkpoint)
    return sign_note(checkpoint.encode(), *signers)


def open_checkpoint(note: bytes, verifiers: Iterable[Verifier]) -> tuple[Checkpoint, tuple[Signature, ...]]:
    """Return the checkpoint of a note that its own log has signed, and every known key's signature; all must verify.

    Raises:
        NoteError: the note is malformed, a known key's signature is bad, or no known key signed.
        CheckpointError: the text is no checkpoint.
        WrongOriginError: no key of the log that it names signed.
    """
    verified = verify_note(note, verifiers)
    checkpoint = Checkpoint.parse(verified.text)
    _require_log_key([signature.verifier for signature in verified.signatures], checkpoint)
    return checkpoint, verified.signatures


def verify_checkpoint(note: bytes, verifiers: Iterable[Verifier]) -> Checkpoint:
    """Return the checkpoint alone; see ``open_checkpoint``."""
    return open_checkpoint(note, verifiers)[0]


def is_log_key(key: Verifier, origin: str) -> bool:
    """Say whether a key is the log's own, not a cosigner's or another log's."""
    return key.name == origin and key.type is SignatureType.ED25519


def _require_log_key(signers: list[Verifier], checkpoint: Checkpoint) -> None:
    if not any(is_log_key(key, checkpoint.origin) for key in signers):
        raise WrongOriginError(f"checkpoint of {checkpoint.origin}: signed by {', '.join(key.name for key in signers)}")
