"""Sessions: who is signed in, for how long, and the tokens that show it. Pure: time and randomness are arguments.

Only digests of tokens are kept. A token is replaced after a quarter of an hour of use; the one before holds for two
minutes more, for requests that were under way.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.desk.people import Identity

SESSIONS_MAX: Final = 10_000
_ROTATE_S: Final = 900
_GRACE_S: Final = 120


@dataclass(slots=True)
class Session:
    """One signed-in browser. Times in seconds of one monotonic clock."""

    identity: Identity
    csrf: str
    began_s: float
    used_s: float
    token_s: float
    must_change: bool = False
    """Nothing but the change of a one-time password is allowed."""
    digest: bytes = b""
    old_digest: bytes = b""


class Sessions:
    """All sessions of the desk's life; a restart signs everybody out."""

    def __init__(self, make_token: Callable[[], str], *, idle_s: float, total_s: float) -> None:
        self._make_token = make_token
        self._idle_s, self._total_s = idle_s, total_s
        self._by_digest: dict[bytes, Session] = {}

    def open(self, identity: Identity, now_s: float, *, must_change: bool = False) -> tuple[Session, str]:
        """Return a new session and its token."""
        self._expire(now_s)
        session = Session(identity, self._make_token(), now_s, now_s, now_s, must_change)
        return session, self._renew(session, now_s)

    def find(self, token: str, now_s: float) -> Session | None:
        """Return the session of a token; None where there is none or it is over."""
        digest = _digest(token)
        session = self._by_digest.get(digest)
        if session is None:
            return None
        if self._over(session, now_s):
            self.close(session)
            return None
        if digest == session.old_digest and now_s - session.token_s > _GRACE_S:
            del self._by_digest[digest]
            return None
        return session

    def touch(self, session: Session, now_s: float) -> str | None:
        """Note that somebody used the session; return its new token where the old one has served long enough."""
        session.used_s = now_s
        return self._renew(session, now_s) if now_s - session.token_s >= _ROTATE_S else None

    def alive(self, session: Session, now_s: float) -> bool:
        """Say whether a session that was found before still holds."""
        return self._by_digest.get(session.digest) is session and not self._over(session, now_s)

    def close(self, session: Session) -> None:
        """End a session."""
        for digest in (session.digest, session.old_digest):
            self._by_digest.pop(digest, None)

    def close_all_of(self, name: str) -> None:
        """End all sessions of a person."""
        for session in [s for s in self._by_digest.values() if s.identity.name == name]:
            self.close(session)

    def _renew(self, session: Session, now_s: float) -> str:
        token = self._make_token()
        self._by_digest.pop(session.old_digest, None)
        session.old_digest, session.digest, session.token_s = session.digest, _digest(token), now_s
        self._by_digest[session.digest] = session
        return token

    def _over(self, session: Session, now_s: float) -> bool:
        return now_s - session.used_s > self._idle_s or now_s - session.began_s > self._total_s

    def _expire(self, now_s: float) -> None:
        for session in [s for s in self._by_digest.values() if self._over(s, now_s)]:
            self.close(session)
        while len(self._by_digest) >= SESSIONS_MAX:
            self.close(next(iter(self._by_digest.values())))


def same(given: str, expected: str) -> bool:
    """Compare two tokens in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
