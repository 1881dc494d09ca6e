"""The users' list: who has which role, and for local users the hash of a password (Argon2id). A file of its own."""

from __future__ import annotations

import fcntl
import secrets
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from streams.core.documents import NAME, PERSON
from streams.core.errors import PortcullisError
from streams.desk.people import DeskRole, Identity, Method
from streams.wire.keys import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD_CHARS_MIN: Final = 12
PASSWORD_CHARS_MAX: Final = 256
_USERS_MAX: Final = 10_000
_ONE_TIME_BYTES: Final = 15


class AccountError(PortcullisError):
    """The users' list does not hold, or a change of it is refused."""


@dataclass(frozen=True, slots=True)
class User:
    """A person of the desk; without a hash they sign in by certificate or OpenID Connect only."""

    name: str
    role: DeskRole
    operator: str = ""
    password_hash: str = ""
    one_time: bool = False
    """The password was given out, not chosen: it must be changed before anything else."""


class Accounts:
    """The users' list in a file, read anew whenever it is asked: a change counts at once."""

    def __init__(self, path: Path, hasher: PasswordHasher | None = None) -> None:
        self._path = path
        self._hasher = hasher or PasswordHasher()
        # Who is not there costs as much time as who is.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def users(self) -> dict[str, User]:
        """Return all users by name. Raises: AccountError where the file does not hold."""
        try:
            listed = orjson.loads(self._path.read_bytes())["users"] if self._path.is_file() else []
            users = [User(**{**entry, "role": DeskRole(entry["role"])}) for entry in listed]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AccountError(f"{self._path}: a users' list required ({error})") from None
        return {user.name: user for user in users}

    def identify(self, name: str, method: Method) -> Identity | None:
        """Return who a proven name is; None where the list does not have it."""
        user = self.users().get(name)
        return None if user is None else Identity(user.name, user.role, user.operator, method)

    def verify(self, name: str, password: str) -> User | None:
        """Return the user whose password this is, else None; takes tens of milliseconds on purpose."""
        user = self.users().get(name)
        stored = user.password_hash if user is not None and user.password_hash else self._nobody
        try:
            self._hasher.verify(stored, password[:PASSWORD_CHARS_MAX])
        except (Argon2Error, InvalidHashError):
            return None
        return user if user is not None and stored is user.password_hash else None

    def add(self, name: str, role: DeskRole, operator: str = "", *, with_password: bool = True) -> str:
        """Add a user and return their one-time password, empty without one.

        Raises: AccountError where name, role and operator do not go together, or the name is taken.
        """
        if not PERSON.fullmatch(name):
            raise AccountError(f"name: {PERSON.pattern} required, is {name[:60]!a}")
        if (role is DeskRole.OPERATOR) != bool(NAME.fullmatch(operator)):
            raise AccountError(f"operator: a name required for the role {DeskRole.OPERATOR}, and for no other")
        password = secrets.token_urlsafe(_ONE_TIME_BYTES) if with_password else ""
        hashed = self._hasher.hash(password) if password else ""
        with self._changed() as users:
            if name in users:
                raise AccountError(f"name: {name} is there already")
            if len(users) >= _USERS_MAX:
                raise AccountError(f"at most {_USERS_MAX} users")
            users[name] = User(name, role, operator, hashed, one_time=bool(password))
        return password

    def remove(self, name: str) -> None:
        """Remove a user. Raises: AccountError where there is none."""
        with self._changed() as users:
            if users.pop(name, None) is None:
                raise AccountError(f"name: {name[:60]!a} is not there")

    def reset(self, name: str) -> str:
        """Give a user a new one-time password and return it. Raises: AccountError where there is none."""
        password = secrets.token_urlsafe(_ONE_TIME_BYTES)
        self._set(name, password, one_time=True)
        return password

    def choose(self, name: str, password: str) -> None:
        """Set the password that a user chose. Raises: AccountError where it is too short or too long."""
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise AccountError(f"password: {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters required")
        self._set(name, password, one_time=False)

    def _set(self, name: str, password: str, *, one_time: bool) -> None:
        hashed = self._hasher.hash(password)
        with self._changed() as users:
            if name not in users:
                raise AccountError(f"name: {name[:60]!a} is not there")
            users[name] = replace(users[name], password_hash=hashed, one_time=one_time)

    @contextmanager
    def _changed(self) -> Iterator[dict[str, User]]:
        """Yield the users to be changed, one process at a time, and write them afterwards."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            users = self.users()
            yield users
            listed = [asdict(user) for _, user in sorted(users.items())]
            write_file(self._path, orjson.dumps({"users": listed}, option=orjson.OPT_INDENT_2), secret=True)
