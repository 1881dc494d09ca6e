"""The desk over HTTP: pages, what is pushed to them, and what people order there."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import KafkaException
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from streams.clock import now_us
from streams.core.errors import PortcullisError
from streams.desk.broadcast import Broadcaster, Subscriber
from streams.desk.lives import OrderLostError, order_life
from streams.desk.openid import CALLBACK
from streams.desk.orders import read_order
from streams.desk.people import NotAllowedError
from streams.desk.rates import RateLimit
from streams.desk.security import Guard, problem
from streams.desk.views import sees_agent
from streams.wire.avro import DecodeError
from streams.wire.commands import Action, CommandRefusedError, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from streams.desk.access import Access
    from streams.desk.feed import Feed
    from streams.desk.sessions import Session
    from streams.desk.settings import DeskSettings
    from streams.desk.signing import Hand
    from streams.settings import Settings

_log = structlog.get_logger()
STATIC: Final = Path(__file__).parent / "static"
_PING_S: Final = 10
_HOLDS_EVERY_S: Final = 5.0
_LIVES_AT_ONCE: Final = 2
_REFUSALS: Final = (
    (NotAllowedError, HTTPStatus.FORBIDDEN),
    (CommandRefusedError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


class Web:
    """The handlers; whoever is not signed in gets no further than the sign-in page."""

    def __init__(self, settings: Settings, feed: Feed, access: Access, hand: Hand) -> None:
        self._settings, self._feed, self._access, self._hand = settings, feed, access, hand
        self.broadcaster = Broadcaster(feed)
        # A panic must get through: a limit on kills is there to stop a program, not a person.
        self._commands = RateLimit(burst=30, per_s=1.0)
        self._lookups = RateLimit(burst=20, per_s=2.0)
        self._reading = asyncio.Semaphore(_LIVES_AT_ONCE)

    def routes(self) -> list[Route | Mount]:
        """Return the routes."""
        access, guarded = self._access, self._signed_in
        return [
            Route("/", self._index),
            Route("/login", self._login_page),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/api/methods", access.methods),
            Route("/api/login", access.login, methods=["POST"]),
            Route("/api/login/certificate", access.login_by_certificate, methods=["POST"]),
            Route("/login/openid", access.openid_begin),
            Route(CALLBACK, access.openid_callback),
            Route("/api/me", guarded(self._me)),
            Route("/api/logout", guarded(self._logout), methods=["POST"]),
            Route("/api/password", guarded(access.change_password), methods=["POST"]),
            Route("/api/commands", guarded(self._command), methods=["POST"]),
            Route("/api/orders/{cl_ord_id}", guarded(self._order)),
            Route("/events", guarded(self._events)),
            Route("/events/bots/{agent_id}", guarded(self._events)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    def _signed_in(
        self, handler: Callable[[Request, Session], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a handler: it is called with the session that holds and is allowed to ask."""

        async def handle(request: Request) -> Response:
            session = self._access.session(request)
            refused = self._access.refusal(request, session, change=request.method == "POST")
            if refused is not None or session is None:
                return refused or problem(HTTPStatus.UNAUTHORIZED, "sign in first")
            return self._access.used(await handler(request, session), session)

        return handle

    async def _index(self, request: Request) -> Response:
        session = self._access.session(request)
        if session is None or session.must_change:
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        return FileResponse(STATIC / "index.html")

    async def _login_page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "login.html")

    async def _livez(self, _request: Request) -> Response:
        return JSONResponse({"live": True})

    async def _readyz(self, _request: Request) -> Response:
        pulse = self._feed.desk.pulse
        ready = pulse.caught_up and not pulse.silent_us(now_us())
        return JSONResponse({"ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _me(self, _request: Request, session: Session) -> Response:
        return self._access.me(session)

    async def _logout(self, _request: Request, session: Session) -> Response:
        return self._access.logout(session)

    async def _events(self, request: Request, session: Session) -> Response:
        subscriber = Subscriber(session.identity.view, request.path_params.get("agent_id", ""))
        return EventSourceResponse(self._pushed(subscriber, session), ping=_PING_S)

    async def _pushed(self, subscriber: Subscriber, session: Session) -> AsyncIterator[dict[str, str]]:
        """Yield what is pushed. An open page is a page in use: desks watch for hours without a click."""
        self.broadcaster.join(subscriber)
        checked_s = time.monotonic()
        try:
            while True:
                name, data = await subscriber.queue.get()
                yield {"event": name, "data": data}
                if time.monotonic() - checked_s >= _HOLDS_EVERY_S:
                    checked_s = session.used_s = time.monotonic()
                    if not self._access.holds(session):
                        yield {"event": "signed-out", "data": "{}"}
                        return
        finally:
            self.broadcaster.leave(subscriber)

    async def _command(self, request: Request, session: Session) -> Response:
        """Give a command in the person's name; the answer comes by push, from the lanes themselves."""
        identity = session.identity
        if self._commands.wait_s(identity.name, time.monotonic()):
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many commands")
        try:
            body = await request.body()
            with self._feed.lock:
                order = read_order(body, self._feed.desk.incidents)
                bot = self._feed.desk.bots.get(order.target) if order.scope is Scope.BOT else None
            identity.require(order.action, order.scope, "" if bot is None else bot.operator)
            # An audit is read from the log: no more of these at once than of orders' lives.
            async with self._reading if order.action is Action.COMPLETE else nullcontext():
                command = await asyncio.to_thread(self._hand.give, identity, order, now_us=now_us())
        except (PortcullisError, KafkaException) as error:
            status = next((s for kind, s in _REFUSALS if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)
            _log.warning("a command was refused", by=identity.name, error=str(error))
            return problem(status, str(error))
        told = {"action": order.action, "scope": order.scope, "target": order.target, "incident": order.incident_id}
        _log.info("command given", by=identity.name, id=command.command_id, **told)
        return JSONResponse({"command_id": command.command_id}, HTTPStatus.ACCEPTED)

    async def _order(self, request: Request, session: Session) -> Response:
        """Tell an order's life."""
        view, cl_ord_id = session.identity.view, request.path_params["cl_ord_id"]
        if self._lookups.wait_s(session.identity.name, time.monotonic()):
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many look-ups")
        desk, agent_id = self._feed.desk, request.query_params.get("bot", "")
        with self._feed.lock:
            found = [f for f in desk.find_orders(cl_ord_id, agent_id) if sees_agent(desk, view, f[0])]
        if len(found) > 1:
            return JSONResponse({"bots": sorted(agent for agent, _ in found)})
        if not found:
            return problem(HTTPStatus.NOT_FOUND, f"no order {cl_ord_id[:60]!a} since the desk began to read")
        try:
            async with self._reading:
                life = await asyncio.to_thread(order_life, self._settings, found[0][1])
        except OrderLostError as error:
            return problem(HTTPStatus.GONE, str(error))
        except (KafkaException, DecodeError) as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the log cannot be read: {error}")
        return JSONResponse(life)


def build_web(settings: Settings, desk_settings: DeskSettings, feed: Feed, access: Access, hand: Hand) -> ASGIApp:
    """Return the ASGI application; it starts and stops the feed."""
    web = Web(settings, feed, access, hand)

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        feed.start()
        pushing = asyncio.create_task(web.broadcaster.run())
        try:
            yield
        finally:
            pushing.cancel()
            await asyncio.to_thread(feed.stop)

    app = Starlette(routes=web.routes(), lifespan=running)
    return Guard(app, origin=desk_settings.origin, secure=desk_settings.secure)
