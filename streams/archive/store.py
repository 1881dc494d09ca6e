"""What a store of write-once objects must do, and the one in a folder.

A folder keeps objects from being written twice, not from being deleted by its owner: retention needs a store with
Object Lock, or a file system mounted from elsewhere.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDS: Final = "legal-holds/"


class StoreError(PortcullisError):
    """The store does not answer or refuses: to be tried again."""


class ObjectDiffersError(PortcullisError):
    """An object is there already with other bytes: somebody has written where only the archive may."""


class WrongStoreError(PortcullisError):
    """The store cannot keep what is asked of it."""


class ObjectStore(Protocol):
    """Objects by name; a written one never changes. Used by many threads."""

    def put_once(self, name: str, data: bytes, *, held: bool) -> None:
        """Write an object; the same bytes again are no error.

        Raises: ObjectDiffersError where other bytes are there, StoreError where it cannot be written now.
        """

    def get(self, name: str) -> bytes | None:
        """Return an object, None where there is none. Raises: StoreError."""

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin so. Raises: StoreError."""

    def set_hold(self, name: str, *, held: bool) -> None:
        """Put an object under legal hold, or take it off. Raises: StoreError."""

    def extend(self, name: str, years: int) -> None:
        """Keep an object until so many years after it was written, never less. Raises: StoreError."""

    def put_note(self, name: str, data: bytes | None) -> None:
        """Write or (None) delete an object that may change: a hold's note. Raises: StoreError."""


class FolderStore:
    """Objects as read-only files, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def put_once(self, name: str, data: bytes, *, held: bool) -> None:  # noqa: ARG002 - a folder has no holds of its own
        """Write an object under a name that nothing has."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = _draft(path, data, 0o444)
            try:
                os.link(draft, path)  # unlike a rename, it replaces nothing
            finally:
                draft.unlink()
            _sync_folder(path.parent)
        except FileExistsError:
            if path.read_bytes() != data:
                raise ObjectDiffersError(f"{path}: other bytes are there") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def get(self, name: str) -> bytes | None:
        """Return a file's bytes."""
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def names(self, prefix: str) -> Iterator[str]:
        """Yield names in order."""
        root = self._path(prefix)
        for path in sorted(root.rglob("*")) if root.is_dir() else []:
            if path.is_file() and not path.name.startswith("."):
                yield str(path.relative_to(self._folder))

    def set_hold(self, name: str, *, held: bool) -> None:
        """Do nothing: the hold's note tells whoever cleans up."""

    def extend(self, name: str, years: int) -> None:
        """Refuse: nothing here keeps a file for a time."""
        raise WrongStoreError(f"{self._path(name)}: a store with Object Lock required for {years} years of retention")

    def put_note(self, name: str, data: bytes | None) -> None:
        """Replace or delete a file."""
        path = self._path(name)
        try:
            if data is None:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            _draft(path, data, 0o644).replace(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            raise WrongStoreError(f"object {name[:100]!a}: a name inside the archive required")
        return path


def _draft(path: Path, data: bytes, mode: int) -> Path:
    """Write a file beside its place, on disk when it returns."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
