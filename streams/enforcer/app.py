"""The enforcer's HTTP interface: orders in, verdicts out, each bot's own state; everything else is a problem."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from streams.enforcer.documents import BODY_BYTES_MAX
from streams.enforcer.openapi import openapi_document
from streams.enforcer.problems import MEDIA_TYPE, Problem, ProblemError
from streams.https import SCOPE_KEY
from streams.wire.headers import TRACEPARENT, traceparent_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from streams.enforcer.identity import Identities
    from streams.enforcer.submissions import Submissions
    from streams.enforcer.view import AgentView
    from streams.telemetry.tracing import Tracing

KEY_HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
_JSON: Final = "application/json"
_STATUSES: Final = {404: Problem.NOT_FOUND, 405: Problem.METHOD_NOT_ALLOWED}


class Enforcer:
    """The routes' handlers."""

    def __init__(
        self,
        identities: Identities,
        submissions: Submissions,
        view: AgentView,
        ready: Callable[[], dict[str, bool]],
        note: Callable[[int, float], None] = lambda _status, _seconds: None,
        tracing: Tracing | None = None,
    ) -> None:
        """Answer requests; `note` is told the status and seconds of each answer to an order, `tracing` makes spans."""
        self._identities, self._submissions, self._view = identities, submissions, view
        self._ready, self._note, self._tracing = ready, note, tracing

    async def submit(self, request: Request) -> Response:
        """Sign an order in the bot's name, send it, and answer with its verdict."""
        began_s = time.monotonic()
        traceparent = traceparent_of(request.headers.get(TRACEPARENT, "").encode())
        try:
            if self._tracing is None:
                answer = await self._submit(request, traceparent)
            else:
                answer = await self._traced(self._tracing, request, traceparent)
        except ProblemError as error:
            self._note(error.status, time.monotonic() - began_s)
            raise
        self._note(answer.status_code, time.monotonic() - began_s)
        return answer

    async def _traced(self, tracing: Tracing, request: Request, traceparent: str) -> Response:
        with tracing.request(traceparent) as span:
            try:
                answer = await self._submit(request, span.traceparent)
            except ProblemError as error:
                span.end(error.status, error.members.get("reason") or error.problem.name)
                raise
            span.end(answer.status_code, "APPROVED" if answer.status_code == HTTPStatus.OK else "REPEATED")
            return answer

    async def _submit(self, request: Request, traceparent: str) -> Response:
        agent_id = self._caller(request)
        key = request.headers.get(KEY_HEADER, "")
        if not _KEY.fullmatch(key):
            raise ProblemError(Problem.IDEMPOTENCY_KEY_REQUIRED, "1 to 128 printable characters, no spaces")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise ProblemError(Problem.MEDIA_TYPE_UNSUPPORTED)
        status, document = await self._submissions.submit(agent_id, key, await _body(request), traceparent)
        return _json(document, status)

    async def order(self, request: Request) -> Response:
        """Show what is known of an order that was sent here."""
        found = self._submissions.find(self._caller(request), request.path_params["cl_ord_id"])
        if found is None:
            raise ProblemError(Problem.NOT_FOUND)
        return _json(found.document())

    async def agent(self, request: Request) -> Response:
        """Show a bot its own state: registration, limits, trading state, and what the last verdict said of usage."""
        agent_id = self._own(request)
        figures = self._submissions.figures[agent_id]
        last = figures.last_verdict or {}
        usage = {"daily_value_eur": last.get("daily_value_eur"), "score": last.get("score")}
        counts = {
            "requests": figures.requests,
            "approved": figures.approved,
            "rejected": figures.rejected,
            "timed_out": figures.timed_out,
        }
        state = {"agent_id": agent_id, **self._view.of(agent_id)}
        return _json({**state, "usage": {**usage, "as_of": last.get("decision_time")}, "through_this_enforcer": counts})

    async def limits(self, request: Request) -> Response:
        """Show a bot its limits."""
        found = self._view.of(self._own(request)).get("limits")
        if found is None:
            raise ProblemError(Problem.NOT_FOUND, "not registered")
        return _json(found)

    async def openapi(self, _request: Request) -> Response:
        """Return the description of this interface."""
        return _json(openapi_document())

    async def livez(self, _request: Request) -> Response:
        """Say that requests are answered."""
        return _json({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        """Say whether an order sent now could get its verdict."""
        parts = self._ready()
        return _json({"ready": all(parts.values()), "parts": parts}, 200 if all(parts.values()) else 503)

    def _caller(self, request: Request) -> str:
        return self._identities.agent_of(request.scope.get(SCOPE_KEY), time.time_ns() // 1000)

    def _own(self, request: Request) -> str:
        agent_id = self._caller(request)
        if request.path_params["agent_id"] != agent_id:
            raise ProblemError(Problem.NOT_YOUR_BOT)
        return agent_id


def build_app(enforcer: Enforcer, on_stop: Callable[[], Awaitable[None]]) -> Starlette:
    """Return the application; `on_stop` runs at its end."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await on_stop()

    routes = [
        Route("/v1/orders", enforcer.submit, methods=["POST"]),
        Route("/v1/orders/{cl_ord_id}", enforcer.order, methods=["GET"]),
        Route("/v1/agents/{agent_id}", enforcer.agent, methods=["GET"]),
        Route("/v1/agents/{agent_id}/limits", enforcer.limits, methods=["GET"]),
        Route("/openapi.json", enforcer.openapi, methods=["GET"]),
        *(Route(path, enforcer.livez, methods=["GET"]) for path in ("/livez", "/healthz")),
        Route("/readyz", enforcer.readyz, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {ProblemError: _on_problem, HTTPException: _on_http}
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


async def _body(request: Request) -> bytes:
    """Return the body. Raises: ProblemError where it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ProblemError(Problem.BODY_TOO_LARGE, f"at most {BODY_BYTES_MAX} bytes")
    return body


async def _on_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return _json(error.body(), error.status)


async def _on_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    found = ProblemError(_STATUSES.get(error.status_code, Problem.NOT_FOUND))
    return _json(found.body(), found.status, dict(error.headers or {}))


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    kind = MEDIA_TYPE if "type" in document and "title" in document else _JSON
    return Response(orjson.dumps(document), status, {"cache-control": "no-store", **(headers or {})}, kind)
