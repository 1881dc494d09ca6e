"""What a witness remembers: of each log the tree that it last cosigned. On disk before anybody sees the cosignature."""

from __future__ import annotations

import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.audit.segments import Position
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier

if TYPE_CHECKING:
    from pathlib import Path

_VERSION: Final = 1
_STATE_BYTES_MAX: Final = 16 * 1024 * 1024


class WitnessStateError(PortcullisError):
    """A witness's state is malformed or lost; it cosigns nothing until a person has looked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A log as last witnessed: how far it was followed, and the cosigned checkpoint."""

    position: Position
    note: bytes


class WitnessState:
    """The state in one file, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logs = _load(path)

    def get(self, origin: str) -> Seen | None:
        """Return what was seen of a log."""
        return self._logs.get(origin)

    def put(self, origin: str, seen: Seen) -> None:
        """Remember a log's tree; on disk when it returns. Raises: WitnessStateError where the tree is smaller."""
        before = self._logs.get(origin)
        if before is not None and seen.position.tree.size < before.position.tree.size:
            sizes = f"{seen.position.tree.size} after {before.position.tree.size}"
            raise WitnessStateError(f"log {origin}: a tree no smaller than the last required, is {sizes}")
        logs = self._logs | {origin: seen}
        _write(self._path, orjson.dumps({"version": _VERSION, "logs": {name: _row(s) for name, s in logs.items()}}))
        self._logs = logs


def _load(path: Path) -> dict[str, Seen]:
    if not path.exists():
        return {}
    try:
        data = path.read_bytes()
        document: dict[str, Any] = orjson.loads(data) if len(data) <= _STATE_BYTES_MAX else {}
        if document["version"] != _VERSION:
            raise ValueError(f"version {_VERSION} required")
        return {origin: _seen(row) for origin, row in document["logs"].items()}
    except (OSError, ValueError, KeyError, TypeError, PortcullisError) as error:
        raise WitnessStateError(f"{path}: cannot be read ({type(error).__name__}: {error})") from None


def _row(seen: Seen) -> dict[str, Any]:
    position = seen.position
    return {
        "tree": b64encode(position.tree.to_bytes()).decode(),
        "next_leaf": position.next_leaf,
        "next_note": position.next_note,
        "note": seen.note.decode(),
    }


def _seen(row: dict[str, Any]) -> Seen:
    tree = Frontier.from_bytes(b64decode(row["tree"], validate=True))
    return Seen(Position(tree, int(row["next_leaf"]), int(row["next_note"])), str(row["note"]).encode())


def _write(path: Path, data: bytes) -> None:
    """Replace a file so that after a crash it is the old or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
