"""The keys of the audit logs: one for each log and generation, with the time in which each counts.

A generation is one 32-byte seed; the key of a log is derived from it and the log's name (HKDF, RFC 5869), as no two
logs may share a key (C2SP tlog-policy). A new generation counts from its beginning, the one before until its end, and
while both count a checkpoint bears both signatures: who knows only one of them can read on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streams.core.errors import PortcullisError
from streams.wire.keys import KeyFileError, write_file
from streams.wire.note import NoteError, Signer, Verifier
from streams.wire.trust import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEED_BYTES: Final = 32
PUBLISHED: Final = "logs.keys"
"""Who verifies has the logs' public keys in this file of `trust/keys`, as `portcullis audit keys` writes them."""
_INFO: Final = b"portcullis log key v1\n"


class NoLogKeyError(PortcullisError):
    """No key of a log counts at this time: nothing can be signed."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation's number, from 1, and when its keys count (microseconds UTC, both ends included; None: no end)."""

    number: int
    not_before_us: int
    not_after_us: int | None

    def counts_at(self, at_us: int) -> bool:
        """Say whether the keys count at a moment."""
        return self.not_before_us <= at_us and (self.not_after_us is None or at_us <= self.not_after_us)


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log's public key and when it counts."""

    verifier: Verifier
    generation: Generation


@dataclass(frozen=True, slots=True)
class LogSigners:
    """The signers of one log."""

    origin: str
    signers: tuple[tuple[Generation, Signer], ...]

    def at(self, at_us: int) -> tuple[Signer, ...]:
        """Return who signs at a moment (microseconds UTC), the oldest key first.

        Raises: NoLogKeyError where no key counts.
        """
        found = tuple(signer for generation, signer in self.signers if generation.counts_at(at_us))
        if not found:
            raise NoLogKeyError(f"log {self.origin}: a key that counts at {at_us} us required, has none")
        return found


def log_signers(folder: Path, origin: str) -> LogSigners:
    """Return the signers of a log from the seeds in a PKI's folder. Raises: KeyFileError where there are none."""
    return LogSigners(origin, tuple((g, _signer(folder, origin, g)) for g in generations(folder)))


def log_keys(folder: Path, origin: str) -> tuple[LogKey, ...]:
    """Return the public keys of a log: from the seeds where this PKI has them, else from `trust/keys/logs.keys`.

    Raises: KeyFileError where there are none.
    """
    if _seed_path(folder, 1).is_file():
        return tuple(LogKey(_signer(folder, origin, g).verifier, g) for g in generations(folder))
    path = folder / FOLDER / "keys" / PUBLISHED
    try:
        found = tuple(key for key in parse_keys(path.read_text()) if key.verifier.name == origin)
    except (OSError, ValueError, NoteError) as error:
        raise KeyFileError(f"{path}: {error}") from None
    if not found:
        raise KeyFileError(f"{path}: a key of {origin} required, has none")
    return found


def generations(folder: Path) -> tuple[Generation, ...]:
    """Return all generations, the oldest first; one for all time where none was ever replaced.

    Raises: KeyFileError where the list is malformed.
    """
    path = _list_path(folder)
    if not path.is_file():
        return (Generation(1, 0, None),)
    try:
        rows = orjson.loads(path.read_bytes())
        return tuple(Generation(int(n), int(first), None if last is None else int(last)) for n, first, last in rows)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: rows of number, beginning and end required ({error})") from None


def rotate(folder: Path, *, now_us: int, overlap_us: int) -> Generation:
    """Begin a new generation now and let the one before count on for the overlap (microseconds); return the new one.

    Workers sign with it from their next start on: all must be started again within the overlap.

    Raises: KeyFileError where there is no PKI, or a generation has yet to end.
    """
    known = generations(folder)
    newest = known[-1]
    if any(g.not_after_us is not None and g.not_after_us >= now_us for g in known[:-1]):
        raise KeyFileError(f"generation {newest.number - 1} still counts: one replacement at a time")
    _seed(folder, newest.number)
    fresh = Generation(newest.number + 1, now_us, None)
    write_file(_seed_path(folder, fresh.number), secrets.token_bytes(SEED_BYTES), secret=True)
    ended = Generation(newest.number, newest.not_before_us, now_us + overlap_us)
    rows = [[g.number, g.not_before_us, g.not_after_us] for g in (*known[:-1], ended, fresh)]
    write_file(_list_path(folder), orjson.dumps(rows) + b"\n")
    return fresh


def encode_keys(keys: Sequence[LogKey]) -> str:
    """Return keys as lines: verifier key, beginning, end (microseconds UTC, `-` where there is none)."""
    return "".join(f"{key.verifier.vkey} {_span(key.generation)}\n" for key in keys)


def parse_keys(text: str) -> Iterator[LogKey]:
    """Yield the keys of lines as `encode_keys` writes them; a verifier key alone counts always, `#` begins a comment.

    Raises: NoteError or ValueError where a line is none.
    """
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) not in (1, 3):
            raise ValueError(f"line {number}: a verifier key, or it with beginning and end, required")
        first, last = (*fields[1:], "0", "-")[:2]
        span = Generation(number, int(first), None if last == "-" else int(last))
        yield LogKey(Verifier.parse(fields[0]), span)


def _span(generation: Generation) -> str:
    return f"{generation.not_before_us} {'-' if generation.not_after_us is None else generation.not_after_us}"


def _signer(folder: Path, origin: str, generation: Generation) -> Signer:
    derive = HKDF(SHA256(), SEED_BYTES, None, _INFO + origin.encode())
    return Signer.from_seed(origin, derive.derive(_seed(folder, generation.number)))


def _seed(folder: Path, number: int) -> bytes:
    path = _seed_path(folder, number)
    try:
        seed = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(seed) != SEED_BYTES:
        raise KeyFileError(f"{path}: {SEED_BYTES} bytes required, has {len(seed)}")
    return seed


def _seed_path(folder: Path, number: int) -> Path:
    return folder / "private" / ("log.seed" if number == 1 else f"log-{number}.seed")


def _list_path(folder: Path) -> Path:
    return folder / FOLDER / "keys" / "log-generations.json"
