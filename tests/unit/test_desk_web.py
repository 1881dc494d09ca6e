"""The desk over HTTP without a cluster: who gets in, what each request must bring, what each answer carries."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey

from streams.core.incident import Cause, Incident
from streams.desk.access import Access
from streams.desk.accounts import Accounts
from streams.desk.feed import Feed
from streams.desk.orders import Order
from streams.desk.people import DeskRole, Identity
from streams.desk.security import BODY_BYTES_MAX
from streams.desk.settings import DeskSettings
from streams.desk.web import build_web
from streams.https import SCOPE_KEY
from streams.settings import Settings
from streams.wire.commands import Action, Command, Scope
from streams.wire.devpki import make_dev_pki
from streams.wire.trust import load_trust
from tests.desk_world import OPERATOR, QUICK, World
from tests.openid_provider import CLIENT_ID, Provider, provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.desk.signing import Hand

CHOSEN = "correct horse battery staple"
KILL = {"action": "KILL", "scope": "BOT", "target": "bot-a", "reason": "odd", "confirm": "bot-a"}


class InProcess(httpx.BaseTransport):
    """Asks an application without a server in between."""

    def __init__(self, app: Any) -> None:
        self._app = httpx.ASGITransport(app=app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())

        async def answer() -> httpx.Response:
            response = await self._app.handle_async_request(asked)
            return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

        return asyncio.run(answer())


def client_of(app: Any, settings: DeskSettings) -> httpx.Client:
    return httpx.Client(transport=InProcess(app), base_url=settings.origin)


@dataclass
class FakeHand:
    """Takes commands and keeps them."""

    given: list[tuple[str, str, str]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    def holds_key_of(self, name: str) -> bool:
        return name != "viewer@acme"

    def give(self, identity: Identity, order: Order, *, now_us: int) -> Command:
        self.given.append((identity.name, str(order.action), order.target))
        self.orders.append(order)
        return Command("c-1", order.action, order.scope, order.target, order.reason, identity.name, now_us)


class Browser:
    """A client of the desk that keeps its cookies and sends what our page sends."""

    def __init__(self, home: Path, settings: DeskSettings | None = None) -> None:
        self.settings = settings or DeskSettings()
        self.accounts = Accounts(home / "users.json", QUICK)
        world = World()
        world.registered("bot-a")
        world.registered("bot-x", operator="other_ltd")
        self.desk = world.desk
        feed = Feed(Settings(home=home, kafka_bootstrap_servers="127.0.0.1:1"), world.desk)
        self.hand = FakeHand()
        self.access = Access(self.settings, self.accounts, home / "pki", self.hand.holds_key_of)
        self.app = build_web(Settings(home=home), self.settings, feed, self.access, cast("Hand", self.hand))
        self.client = self.another()
        self.csrf = ""

    def another(self) -> httpx.Client:
        return client_of(self.app, self.settings)

    def user(self, name: str, role: DeskRole, operator: str = "") -> None:
        self.accounts.add(name, role, operator)
        self.accounts.choose(name, CHOSEN)

    def post(self, path: str, document: Any = None, **headers: str) -> Any:
        ours = {"origin": self.settings.origin, "x-csrf-token": self.csrf}
        return self.client.post(path, json=document or {}, headers=ours | headers)

    def sign_in(self, name: str, password: str = CHOSEN) -> Any:
        response = self.post("/api/login", {"name": name, "password": password})
        if response.status_code == 200:
            self.csrf = self.client.get("/api/me").json()["csrf"]
        return response


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    made = Browser(tmp_path)
    made.user("cfo@acme", DeskRole.RISK)
    made.user("viewer@acme", DeskRole.VIEWER)
    made.user("lead@acme", DeskRole.COMPLIANCE)
    made.user("ops@acme", DeskRole.OPERATOR, OPERATOR)
    return made


@pytest.mark.parametrize("path", ["/api/me", "/events", "/events/bots/bot-a", "/api/orders/x", "/api/commands"])
def test_a_stranger_gets_nothing(browser: Browser, path: str) -> None:
    response = browser.post(path) if path == "/api/commands" else browser.client.get(path)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert browser.client.get("/").headers["location"] == "/login"


def test_a_password_opens_a_session_and_signing_out_ends_it(browser: Browser) -> None:
    assert browser.sign_in("cfo@acme", "wrong").status_code == 401
    response = browser.sign_in("cfo@acme")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    me = browser.client.get("/api/me").json()
    assert (me["name"], me["role"], me["may"]) == (
        "cfo@acme",
        "risk",
        ["ACKNOWLEDGE", "HALT", "KILL", "REDUCE", "RELEASE"],
    )
    stolen = dict(browser.client.cookies)
    assert browser.post("/api/logout").status_code == 200
    browser.client.cookies.update(stolen)
    assert browser.client.get("/api/me").status_code == 401


def test_each_sign_in_gives_a_new_token_and_ends_the_session_before(browser: Browser) -> None:
    browser.sign_in("cfo@acme")
    first = dict(browser.client.cookies)
    browser.sign_in("cfo@acme")
    assert dict(browser.client.cookies) != first
    thief = browser.another()
    thief.cookies.update(first)
    assert thief.get("/api/me").status_code == 401


def test_guessing_is_slowed_down_by_name_and_the_right_word_comes_too_late(browser: Browser) -> None:
    for _ in range(5):
        assert browser.sign_in("cfo@acme", "guess").status_code == 401
    late = browser.sign_in("cfo@acme")
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 0
    assert browser.sign_in("viewer@acme").status_code == 200


def test_a_one_time_password_opens_nothing_but_its_own_change(browser: Browser) -> None:
    given = browser.accounts.add("new@acme", DeskRole.RISK)
    browser.sign_in("new@acme", given)
    assert browser.client.get("/api/me").json()["mustChange"]
    assert browser.post("/api/commands", KILL).status_code == 403
    assert browser.client.get("/events").status_code == 403
    assert browser.post("/api/password", {"current": given, "new": "short"}).status_code == 422
    assert browser.post("/api/password", {"current": given, "new": given}).status_code == 403
    assert browser.post("/api/password", {"current": given, "new": CHOSEN}).status_code == 200
    assert not browser.client.get("/api/me").json()["mustChange"]


def test_a_command_needs_our_page_and_the_sessions_token(browser: Browser) -> None:
    browser.sign_in("cfo@acme")
    assert browser.post("/api/commands", KILL, origin="https://evil.example").status_code == 403
    assert browser.post("/api/commands", KILL, **{"x-csrf-token": "guess"}).status_code == 403
    assert browser.client.post("/api/commands", json=KILL).status_code == 403
    assert browser.hand.given == []
    assert browser.post("/api/commands", KILL).status_code == 202
    assert browser.hand.given == [("cfo@acme", "KILL", "bot-a")]


@pytest.mark.parametrize(
    "change",
    [{"confirm": "bot-b"}, {"confirm": ""}, {"action": "EXPLODE"}, {"scope": "ALL", "target": "", "confirm": ""}],
)
def test_a_command_that_is_not_confirmed_by_name_is_refused(browser: Browser, change: dict[str, str]) -> None:
    browser.sign_in("cfo@acme")
    assert browser.post("/api/commands", KILL | change).status_code == 422
    assert browser.post("/api/commands", []).status_code == 422
    assert browser.hand.given == []


def test_roles_are_kept_by_the_desk_and_not_by_the_page(browser: Browser) -> None:
    browser.sign_in("viewer@acme")
    refused = browser.post("/api/commands", KILL)
    assert refused.status_code == 403
    assert "viewer" in refused.json()["detail"]
    browser.sign_in("ops@acme")
    assert browser.post("/api/commands", KILL | {"target": "bot-x", "confirm": "bot-x"}).status_code == 403
    assert browser.post("/api/commands", KILL).status_code == 202
    assert browser.hand.given == [("ops@acme", "KILL", "bot-a")]


def test_halt_and_reduce_are_given_like_a_kill(browser: Browser) -> None:
    browser.sign_in("cfo@acme")
    for action in ("HALT", "REDUCE"):
        assert browser.post("/api/commands", KILL | {"action": action}).status_code == 202
    browser.sign_in("ops@acme")
    assert browser.post("/api/commands", KILL | {"action": "HALT"}).status_code == 403
    assert browser.hand.given == [("cfo@acme", "HALT", "bot-a"), ("cfo@acme", "REDUCE", "bot-a")]


def test_an_incidents_step_says_whom_it_is_about_by_the_incident_alone(browser: Browser) -> None:
    incident = Incident("1-7", "BOT", "bot-a", Cause.MANUAL_KILL, None, 1, 1, 7, 1)
    browser.desk.on_incident(incident)
    step = {"action": "CLASSIFY", "incident": "1-7", "confirm": "1-7", "reason": "clients", "stage": "MAJOR"}
    browser.sign_in("cfo@acme")
    assert browser.post("/api/commands", step).status_code == 403  # of compliance
    browser.sign_in("lead@acme")
    assert browser.post("/api/commands", step | {"target": "bot-b", "scope": "ALL"}).status_code == 202
    completed = {**step, "action": "COMPLETE", "stage": None, "changes": ["a limit", "a test"]}
    assert browser.post("/api/commands", completed).status_code == 202
    assert browser.hand.orders == [
        Order(Action.CLASSIFY, Scope.BOT, "bot-a", "clients", "1-7", "MAJOR"),
        Order(Action.COMPLETE, Scope.BOT, "bot-a", "clients", "1-7", None, ("a limit", "a test")),
    ]
    unknown = {"incident": "9-9", "confirm": "9-9"}
    for change in (unknown, {"confirm": "bot-a"}, {"changes": ["x" * 301]}, {"changes": 7}):
        assert browser.post("/api/commands", step | change).status_code == 422, change


def test_a_program_that_fires_commands_is_slowed_down(browser: Browser) -> None:
    browser.sign_in("cfo@acme")
    codes = [browser.post("/api/commands", KILL).status_code for _ in range(40)]
    assert codes[:30] == [202] * 30
    assert 429 in codes[30:]


def test_a_change_of_the_users_list_counts_at_once(browser: Browser) -> None:
    browser.sign_in("cfo@acme")
    browser.accounts.remove("cfo@acme")
    assert browser.client.get("/api/me").status_code == 401


def test_large_bodies_are_refused_before_they_are_read(browser: Browser) -> None:
    assert browser.post("/api/login", {"name": "x" * BODY_BYTES_MAX, "password": ""}).status_code == 413


def test_every_answer_carries_the_security_headers(browser: Browser) -> None:
    for path in ("/login", "/api/me", "/static/js/main.js", "/nowhere"):
        headers = browser.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
    assert browser.client.get("/api/me").headers["cache-control"] == "no-store"


def test_another_name_of_this_machine_is_sent_to_the_one_that_counts(browser: Browser) -> None:
    response = browser.client.get("/login", headers={"host": "localhost:8088"})
    assert (response.status_code, response.headers["location"]) == (307, "http://127.0.0.1:8088/login")
    assert browser.client.get("/livez", headers={"host": "10.0.0.7"}).json() == {"live": True}
    assert browser.client.get("/readyz").status_code == 503  # nothing was read yet


def test_with_tls_the_cookie_belongs_to_this_host_alone(tmp_path: Path) -> None:
    browser = Browser(tmp_path, DeskSettings(public_url="https://desk.acme.example"))
    browser.user("cfo@acme", DeskRole.RISK)
    cookie = browser.sign_in("cfo@acme").headers["set-cookie"]
    assert cookie.startswith("__Host-portcullis_desk=")
    assert "Secure" in cookie
    assert "max-age" in browser.client.get("/login").headers["strict-transport-security"]


def test_a_certificate_signs_in_whom_the_list_has(tmp_path: Path) -> None:
    make_dev_pki(tmp_path / "pki")
    browser = Browser(tmp_path)
    browser.user("cfo@acme", DeskRole.RISK)
    der = {p.name: d for d, p in people_with_certificates(tmp_path)}
    app, current = browser.app, {"der": der["cfo@acme"]}

    async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, SCOPE_KEY: current["der"]}, receive, send)

    browser.client = client_of(with_certificate, browser.settings)
    assert browser.client.get("/api/methods").json()["certificate"] == "cfo@acme"
    assert browser.post("/api/login/certificate").status_code == 200
    assert browser.client.get("/api/me").json()["method"] == "certificate"
    current["der"] = der["ceo@acme"]  # trusted for commands, but nobody at this desk
    assert browser.post("/api/login/certificate").status_code == 401
    current["der"] = b"nobody's"
    assert browser.post("/api/login/certificate").status_code == 401


def people_with_certificates(home: Path) -> list[tuple[bytes, Any]]:
    trust = load_trust(home / "pki")
    ders = [ssl.PEM_cert_to_DER_cert(p.read_text()) for p in (home / "pki" / "trust" / "people").glob("*.pem")]
    return [(der, trust.people[sha256(der).digest()]) for der in ders]


@pytest.fixture
def openid(tmp_path: Path) -> Iterator[tuple[Provider, Browser]]:
    with provider() as made:
        settings = DeskSettings(openid_issuer=made.url, openid_client_id=CLIENT_ID)
        browser = Browser(tmp_path, settings)
        browser.user("jane@acme", DeskRole.RISK)
        yield made, browser


def by_openid(made: Provider, browser: Browser) -> str:
    """Go to the provider and back; return where the desk then sends the browser."""
    location = browser.client.get("/login/openid").headers["location"]
    assert location.startswith(made.url)
    back = urlsplit(httpx.get(location, follow_redirects=False).headers["location"])
    return str(browser.client.get(f"{back.path}?{back.query}").headers["location"])


def test_a_provider_signs_in_whom_the_list_has(openid: tuple[Provider, Browser]) -> None:
    made, browser = openid
    assert browser.client.get("/api/methods").json()["openid"]
    assert by_openid(made, browser) == "/"
    me = browser.client.get("/api/me").json()
    assert (me["name"], me["role"], me["method"]) == ("jane@acme", "risk", "openid")


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"},
        {"aud": "somebody else"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"preferred_username": "stranger@acme"},
        {"preferred_username": ["jane@acme"]},
        {"preferred_username": "viewer@acme", "role": "risk"},
    ],
)
def test_a_token_that_does_not_hold_signs_in_nobody(openid: tuple[Provider, Browser], spoil: dict[str, Any]) -> None:
    made, browser = openid
    made.spoil = spoil
    assert by_openid(made, browser) == "/login?refused=openid"
    assert browser.client.get("/api/me").status_code == 401


def test_a_token_of_another_key_or_without_one_is_refused(openid: tuple[Provider, Browser]) -> None:
    made, browser = openid
    made.key = ECKey.generate_key("P-256", {"kid": "one"})
    assert by_openid(made, browser) == "/login?refused=openid"
    made.signed = lambda claims: "eyJhbGciOiJub25lIn0.e30."  # type: ignore[method-assign]  # noqa: ARG005
    assert by_openid(made, browser) == "/login?refused=openid"


def test_a_provider_that_says_it_is_another_is_refused(openid: tuple[Provider, Browser]) -> None:
    made, browser = openid
    made.issuer = "https://evil.example"
    assert browser.client.get("/login/openid").headers["location"] == "/login?refused=openid"


def test_an_answer_that_another_browser_asked_for_signs_in_nobody(openid: tuple[Provider, Browser]) -> None:
    _, browser = openid
    location = browser.client.get("/login/openid").headers["location"]
    state = location.split("state=")[1].split("&")[0]
    victim = browser.another()
    answer = victim.get(f"/login/openid/callback?code=x&state={state}")
    assert answer.headers["location"] == "/login?refused=openid"


def test_the_providers_word_gives_a_role_only_where_the_settings_say_so(tmp_path: Path) -> None:
    with provider() as made:
        settings = DeskSettings(openid_issuer=made.url, openid_client_id=CLIENT_ID, openid_role_claim="desk_role")
        browser = Browser(tmp_path, settings)
        made.spoil = {"preferred_username": "regulator@esma", "desk_role": "regulator"}
        assert by_openid(made, browser) == "/"
        assert browser.client.get("/api/me").json()["role"] == "regulator"
        made.spoil |= {"desk_role": "operator"}  # whose? only the list could say
        assert by_openid(made, browser) == "/login?refused=openid"
