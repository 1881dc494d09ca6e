"""What every answer carries and every request must bring: headers, bounds, and proof that our own page asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 16 * 1024
_SAFE: Final = frozenset(("GET", "HEAD"))
_PROBES: Final = frozenset(("/livez", "/readyz"))
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_TRANSPORT: Final = {"Strict-Transport-Security": "max-age=31536000"}


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error for programs and people. Source: RFC 9457."""
    document = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(document, status.value, headers, media_type="application/problem+json")


class Guard:
    """Wraps the application: security headers on every answer; changes come from our own page only, and are short."""

    def __init__(self, app: ASGIApp, *, origin: str, secure: bool) -> None:
        self._app = app
        self._origin = origin
        self._host = origin.partition("://")[2]
        self._headers = _HEADERS | (_TRANSPORT if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (self._app if refused is None else refused)(scope, receive, send_guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        if method in _SAFE:
            # One name only: `localhost` is another site than 127.0.0.1, and so is a name that was made to point here.
            elsewhere = headers.get("host") != self._host and path not in _PROBES
            return RedirectResponse(self._origin + path, HTTPStatus.TEMPORARY_REDIRECT) if elsewhere else None
        # A browser names the page that asks; SameSite cookies and the session's token stand behind this.
        if headers.get("origin") != self._origin:
            return problem(HTTPStatus.FORBIDDEN, f"Origin: {self._origin} required")
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_BYTES_MAX} bytes, with their length")
        return None
