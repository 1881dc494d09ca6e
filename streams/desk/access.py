"""Signing in and out over HTTP: passwords, client certificates, OpenID Connect; sessions in a cookie."""

from __future__ import annotations

import asyncio
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from starlette.responses import JSONResponse, RedirectResponse, Response

from streams.desk.accounts import AccountError
from streams.desk.openid import OpenId, OpenIdError
from streams.desk.people import MAY, Method
from streams.desk.rates import RateLimit
from streams.desk.security import problem
from streams.desk.sessions import Session, Sessions, same
from streams.https import SCOPE_KEY
from streams.wire.signatures import thumbprint
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from streams.desk.accounts import Accounts
    from streams.desk.people import Identity
    from streams.desk.settings import DeskSettings

_log = structlog.get_logger()
_STATE_COOKIE: Final = "portcullis_openid"
_STATE_S: Final = 600
_CSRF_HEADER: Final = "x-csrf-token"
_VERIFIED_AT_ONCE: Final = 2


class Access:
    """Who is signed in, and how one becomes so."""

    def __init__(self, settings: DeskSettings, accounts: Accounts, pki: Path, has_key: Callable[[str], bool]) -> None:
        self._settings, self._accounts, self._pki, self._has_key = settings, accounts, pki, has_key
        self.sessions = Sessions(
            lambda: secrets.token_urlsafe(32), idle_s=settings.session_idle_s, total_s=settings.session_s
        )
        self._openid = OpenId(settings, accounts) if settings.openid_issuer else None
        # A browser sends a `__Host-` cookie back to this host alone, and by TLS alone.
        self._cookie = "__Host-portcullis_desk" if settings.secure else "portcullis_desk"
        self._by_name = RateLimit(burst=5, per_s=1 / 30)
        self._by_address = RateLimit(burst=20, per_s=1 / 6)
        # Argon2 takes 64 MiB a time.
        self._verifying = asyncio.Semaphore(_VERIFIED_AT_ONCE)

    def session(self, request: Request) -> Session | None:
        """Return the session of a request's cookie."""
        session = self.sessions.find(request.cookies.get(self._cookie, ""), time.monotonic())
        return session if session is not None and self.holds(session) else None

    def holds(self, session: Session) -> bool:
        """Say whether a session still holds; it ends when the users' list says something else of the person."""
        identity = session.identity
        listed = self._accounts.identify(identity.name, identity.method)
        by_claim = identity.method is Method.OPENID and bool(self._settings.openid_role_claim)
        if listed != identity and not (listed is None and by_claim):
            self.sessions.close(session)
        return self.sessions.alive(session, time.monotonic())

    def refusal(self, request: Request, session: Session | None, *, change: bool) -> JSONResponse | None:
        """Return why a request is refused; None where its session holds, and proves itself where it changes things."""
        if session is None:
            return problem(HTTPStatus.UNAUTHORIZED, "sign in first")
        if change and not same(request.headers.get(_CSRF_HEADER, ""), session.csrf):
            return problem(HTTPStatus.FORBIDDEN, f"{_CSRF_HEADER}: the session's token required")
        if session.must_change and request.url.path not in ("/api/me", "/api/password", "/api/logout"):
            return problem(HTTPStatus.FORBIDDEN, "the one-time password must be changed first")
        return None

    def used(self, response: Response, session: Session) -> Response:
        """Note the use of a session on its answer, with a new token when it is time."""
        token = self.sessions.touch(session, time.monotonic())
        if token is not None:
            self._set_cookie(response, token)
        return response

    def me(self, session: Session) -> JSONResponse:
        """Tell the page who is signed in and what they may do."""
        identity = session.identity
        return JSONResponse(
            {
                "name": identity.name,
                "role": identity.role,
                "operator": identity.operator,
                "method": identity.method,
                "may": sorted(MAY[identity.role]),
                "key": self._has_key(identity.name),
                "csrf": session.csrf,
                "mustChange": session.must_change,
            }
        )

    async def methods(self, request: Request) -> JSONResponse:
        """Tell the sign-in page which ways there are."""
        identity = self._by_certificate(request)
        return JSONResponse(
            {"certificate": None if identity is None else identity.name, "openid": self._openid is not None}
        )

    async def login(self, request: Request) -> Response:
        """Sign in by password."""
        try:
            document = orjson.loads(await request.body())
            name, password = str(document["name"])[:100], str(document["password"])
        except (ValueError, KeyError, TypeError):
            return problem(HTTPStatus.BAD_REQUEST, "name and password required")
        address = request.client.host if request.client is not None else ""
        now_s = time.monotonic()
        wait_s = max(self._by_name.wait_s(name, now_s), self._by_address.wait_s(address, now_s))
        if wait_s:
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many tries", {"Retry-After": str(int(wait_s) + 1)})
        async with self._verifying:
            user = await asyncio.to_thread(self._accounts.verify, name, password)
        if user is None:
            _log.warning("sign-in refused", name=name, address=address)
            return problem(HTTPStatus.UNAUTHORIZED, "name or password is wrong")
        self._by_name.forgive(name)
        identity = self._accounts.identify(name, Method.PASSWORD)
        if identity is None:
            return problem(HTTPStatus.UNAUTHORIZED, "name or password is wrong")
        return self._signed_in(request, identity, JSONResponse({}), must_change=user.one_time)

    async def login_by_certificate(self, request: Request) -> Response:
        """Sign in by the client certificate of the connection."""
        identity = self._by_certificate(request)
        if identity is None:
            return problem(HTTPStatus.UNAUTHORIZED, "no certificate of a known person on this connection")
        return self._signed_in(request, identity, JSONResponse({}))

    async def openid_begin(self, _request: Request) -> Response:
        """Send the browser to the provider."""
        if self._openid is None:
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        try:
            url, state = await self._openid.begin(time.monotonic())
        except OpenIdError as error:
            return _back_to_login(error)
        response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
        # The answer must come back to the browser that began: else somebody signs another in as themselves.
        response.set_cookie(
            _STATE_COOKIE, state, max_age=_STATE_S, httponly=True, secure=self._settings.secure, samesite="lax"
        )
        return response

    async def openid_callback(self, request: Request) -> Response:
        """Take the provider's answer."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        if self._openid is None or not state or not same(request.cookies.get(_STATE_COOKIE, ""), state):
            return _back_to_login(OpenIdError("state: not this browser's"))
        try:
            identity = await self._openid.finish(state, code, time.monotonic())
        except OpenIdError as error:
            return _back_to_login(error)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        response.delete_cookie(_STATE_COOKIE)
        return self._signed_in(request, identity, response)

    async def change_password(self, request: Request, session: Session) -> Response:
        """Replace the password; all other sessions of the person end."""
        identity = session.identity
        if identity.method is not Method.PASSWORD:
            return problem(HTTPStatus.CONFLICT, "you did not sign in by password")
        try:
            document: dict[str, Any] = orjson.loads(await request.body())
            current, chosen = str(document["current"]), str(document["new"])
        except (ValueError, KeyError, TypeError):
            return problem(HTTPStatus.BAD_REQUEST, "current and new password required")
        if self._by_name.wait_s(identity.name, time.monotonic()):
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many tries")
        async with self._verifying:
            user = await asyncio.to_thread(self._accounts.verify, identity.name, current)
        if user is None or same(current, chosen):
            return problem(HTTPStatus.FORBIDDEN, "the current password is wrong, or the new one is the same")
        try:
            await asyncio.to_thread(self._accounts.choose, identity.name, chosen)
        except AccountError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        self.sessions.close_all_of(identity.name)
        return self._signed_in(request, identity, JSONResponse({}))

    def logout(self, session: Session) -> Response:
        """End the session."""
        self.sessions.close(session)
        response = JSONResponse({})
        response.delete_cookie(self._cookie, secure=self._settings.secure, httponly=True, samesite="lax")
        return response

    def _signed_in(
        self, request: Request, identity: Identity, response: Response, *, must_change: bool = False
    ) -> Response:
        """Open a session, always a new one: a token that somebody planted is worth nothing."""
        before = self.session(request)
        if before is not None:
            self.sessions.close(before)
        _, token = self.sessions.open(identity, time.monotonic(), must_change=must_change)
        self._set_cookie(response, token)
        _log.info("signed in", name=identity.name, role=identity.role, method=identity.method)
        return response

    def _set_cookie(self, response: Response, token: str) -> None:
        response.set_cookie(self._cookie, token, path="/", httponly=True, secure=self._settings.secure, samesite="lax")

    def _by_certificate(self, request: Request) -> Identity | None:
        """Return whose certificate the connection's TLS has proven, where the users' list has them."""
        der = request.scope.get(SCOPE_KEY)
        person = None if der is None else load_trust(self._pki).people.get(thumbprint(der))
        now_us = time.time_ns() // 1000
        if person is None or not person.not_before_us <= now_us <= person.not_after_us:
            return None
        return self._accounts.identify(person.name, Method.CERTIFICATE)


def _back_to_login(error: OpenIdError) -> Response:
    _log.warning("sign-in by OpenID Connect refused", error=str(error))
    return RedirectResponse("/login?refused=openid", HTTPStatus.SEE_OTHER)
