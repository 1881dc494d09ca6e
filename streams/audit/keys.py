"""Where a verifier has the logs' public keys from: a file that it was given, or the PKI of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.core.errors import PortcullisError
from streams.wire.log_keys import log_keys, parse_keys
from streams.wire.note import NoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streams.wire.log_keys import LogKey


class NoKeyError(PortcullisError):
    """No public key of a log is known."""


def read_keys(file: Path) -> tuple[LogKey, ...]:
    """Return the public keys of a file. Raises: NoKeyError where it cannot be read."""
    try:
        return tuple(parse_keys(file.read_text()))
    except (OSError, ValueError, NoteError) as error:
        raise NoKeyError(f"{file}: {error}") from None


def key_source(pki: Path, file: Path | None) -> Callable[[str], Sequence[LogKey]]:
    """Return what gives a log's public keys by its origin.

    Raises: NoKeyError where the file cannot be read, and from the result where it has no key of a log.
    """
    if file is None:
        return lambda origin: log_keys(pki, origin)
    known = read_keys(file)

    def keys(origin: str) -> Sequence[LogKey]:
        found = tuple(key for key in known if key.verifier.name == origin)
        if not found:
            raise NoKeyError(f"{file}: a key of {origin} required, has none")
        return found

    return keys
