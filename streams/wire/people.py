"""The register of persons: who stands behind a name in the log, kept where it can be forgotten.

Certificates, commands and so the log call a person by a handle: a commitment to the identity under a random salt. Who
has the register's entry can prove whose handle it is; when the entry is shredded the handle says nothing about anybody,
and every hash, signature and proof of the log stays what it was.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.errors import PortcullisError
from streams.wire.keys import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HANDLE: Final = re.compile(r"p-[0-9a-f]{32}")
_SALT_BYTES: Final = 32
_IDENTITY_BYTES_MAX: Final = 4096
_DOMAIN: Final = b"portcullis person v1\n"


class PersonError(PortcullisError):
    """A person is not in the register, or an entry does not fit its handle."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A person's identity and the salt that ties it to the handle."""

    handle: str
    identity: Mapping[str, str]
    salt: bytes


def handle_of(identity: Mapping[str, str], salt: bytes) -> str:
    """Return the commitment to an identity: 128 bits of HMAC-SHA-256 under the salt, which hides and binds it."""
    text = orjson.dumps(dict(identity), option=orjson.OPT_SORT_KEYS)
    if not identity or len(text) > _IDENTITY_BYTES_MAX:
        raise PersonError(f"identity: 1 to {_IDENTITY_BYTES_MAX} bytes required, has {len(text)}")
    return f"p-{hmac.new(salt, _DOMAIN + text, hashlib.sha256).hexdigest()[:32]}"


def enrol(folder: Path, identity: Mapping[str, str]) -> Entry:
    """Register a person and return the entry; its handle is the common name for the person's certificate."""
    salt = secrets.token_bytes(_SALT_BYTES)
    entry = Entry(handle_of(identity, salt), dict(identity), salt)
    document = {"handle": entry.handle, "salt": salt.hex(), "identity": entry.identity}
    write_file(_path(folder, entry.handle), orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n", secret=True)
    return entry


def look_up(folder: Path, handle: str) -> Entry:
    """Return a person's entry, checked against the handle.

    Raises: PersonError where there is none, it was shredded, or it is not the one that the handle commits to.
    """
    path = _path(folder, handle)
    if _tombstone(path).is_file():
        raise PersonError(f"{handle}: shredded; nobody can say any more whose handle it was")
    try:
        document: dict[str, Any] = orjson.loads(path.read_bytes())
        entry = Entry(handle, dict(document["identity"]), bytes.fromhex(document["salt"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PersonError(f"{handle}: no entry in the register ({type(error).__name__})") from None
    if handle_of(entry.identity, entry.salt) != handle:
        raise PersonError(f"{handle}: the entry is another person's")
    return entry


def shred(folder: Path, handle: str, *, by: str, reason: str, now_us: int) -> None:
    """Forget a person: the salt is overwritten and the entry deleted; that it was, by whom and why, stays.

    Copies must go too: the register belongs in no backup that outlives the right to be forgotten.

    Raises: PersonError where there is no such person.
    """
    path = _path(folder, handle)
    size = len(orjson.dumps(dict(look_up(folder, handle).identity))) + 512
    note = orjson.dumps({"handle": handle, "shredded_by": by, "reason": reason, "at_us": now_us})
    write_file(_tombstone(path), note + b"\n")
    with path.open("r+b") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _path(folder: Path, handle: str) -> Path:
    if not HANDLE.fullmatch(handle):
        raise PersonError(f"handle: {HANDLE.pattern} required, is {handle[:60]!a}")
    return folder / f"{handle}.json"


def _tombstone(path: Path) -> Path:
    return path.with_suffix(".shredded")
