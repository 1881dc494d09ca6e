"""Who is told what, when and how often; and that mail and a webhook really get it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st

from streams.local.readiness import free_ports
from streams.notify.dispatch import Alert, Dispatcher, Item
from streams.notify.routes import NotifySettings, Route, RoutesError, load_routes, parse_routes
from streams.notify.run import Channel
from streams.resources import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERT = Alert("0-7-BREAKER_HALTED", "CRITICAL", "BREAKER_HALTED", "bot-1", "", "bot-1: ACTIVE to HALTED")
ALL = Route("all", "INFO", frozenset(), ("json://x",), 3)
LOUD = Route("loud", "CRITICAL", frozenset(), ("json://y",), 3)
SETTINGS = NotifySettings((ALL, LOUD), 600, 100)


def alert(number: int, severity: str = "WARNING", kind: str = "") -> Alert:
    return replace(ALERT, alert_id=f"a-{number}", severity=severity, kind=kind or f"KIND_{number}")


def test_an_alert_goes_to_the_routes_that_take_it_and_once() -> None:
    dispatcher = Dispatcher(SETTINGS)
    dispatcher.take(alert(1), (0, 1), 0.0)
    dispatcher.take(alert(2, "CRITICAL"), (0, 2), 0.0)
    dispatcher.take(alert(2, "CRITICAL"), (0, 2), 900.0)  # the same once more
    sent = []
    for now_s in range(3):
        for route, item in dispatcher.due(float(now_s)):
            sent.append((route.name, item.alert.alert_id))
            dispatcher.done(route, float(now_s))
    assert sorted(sent) == [("all", "a-1"), ("all", "a-2"), ("loud", "a-2")]
    assert dispatcher.oldest(0) is None


def test_one_like_it_is_told_again_only_after_a_while() -> None:
    dispatcher = Dispatcher(SETTINGS)
    for number, now_s in enumerate((0.0, 599.0, 601.0)):
        dispatcher.take(alert(number, kind="SAME"), (0, number), now_s)
    assert dispatcher.repeated == 1


def test_a_route_that_fails_is_tried_again_later_and_in_the_end_given_up() -> None:
    dispatcher = Dispatcher(replace(SETTINGS, routes=(ALL,)))
    dispatcher.take(alert(1), (3, 9), 0.0)
    times, now_s = [], 0.0
    while dispatcher.oldest(3) is not None:
        for route, _ in dispatcher.due(now_s):
            times.append(now_s)
            dispatcher.failed(route, now_s)
        now_s += 0.5
    assert times == [0.0, 1.0, 3.0, 8.0, 23.0, 83.0, 143.0]
    assert dispatcher.given_up == 1


def test_a_flood_is_cut_but_for_what_is_critical_and_the_next_one_says_how_many() -> None:
    dispatcher = Dispatcher(replace(SETTINGS, routes=(ALL,)))
    for number in range(8):
        dispatcher.take(alert(number), (0, number), 0.0)
    dispatcher.take(alert(99, "CRITICAL"), (0, 99), 0.0)
    sent: list[tuple[str, int]] = []
    for step in range(20):
        for route, item in dispatcher.due(step / 100):
            sent.append((item.alert.alert_id, item.more))
            dispatcher.done(route, step / 100)
    assert sent == [("a-0", 0), ("a-1", 0), ("a-2", 0), ("a-99", 5)]
    assert dispatcher.limited == 5


@given(st.lists(st.tuples(st.sampled_from(["take", "done", "failed"]), st.integers(0, 20)), max_size=80))
def test_no_offset_is_let_go_while_a_route_waits_for_it(steps: list[tuple[str, int]]) -> None:
    dispatcher, now_s, waiting = Dispatcher(replace(SETTINGS, routes=(replace(ALL, per_minute=1000),))), 0.0, []
    for number, (action, gap_s) in enumerate(steps):
        now_s += gap_s
        if action == "take":
            dispatcher.take(alert(number), (0, number), now_s)
            waiting.append(number)
        else:
            for route, item in dispatcher.due(now_s):
                if action == "done":
                    dispatcher.done(route, now_s)
                    waiting.remove(item.place[1])
                elif dispatcher.failed(route, now_s):
                    waiting.remove(item.place[1])
        assert dispatcher.oldest(0) == (min(waiting) if waiting else None)


# Settings.


def test_the_example_holds_once_its_secrets_are_there() -> None:
    path = resource("infra/notify/notify.example.toml")
    names = ("SLACK_TOKEN", "MAIL_PASSWORD", "TWILIO_SID", "TWILIO_TOKEN", "TWILIO_FROM", "ON_CALL_PHONE")
    found = load_routes(path, dict.fromkeys(names, "secret1"))
    assert [route.name for route in found.routes] == ["desk", "on-call", "compliance"]
    assert "secret1" in found.routes[0].urls[0]
    assert "secret1" not in repr(found)
    with pytest.raises(RoutesError, match="the environment variable SLACK_TOKEN"):
        load_routes(path, {})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"route": []}, "route: a list of 1 to 32"),
        ({"route": [{"name": "x", "least": "LOW", "urls": ["json://x"]}]}, "least: one of INFO"),
        ({"route": [{"name": "x", "least": "INFO", "urls": []}]}, "urls: a list of 1"),
        ({"route": [{"name": "x", "least": "INFO", "urls": ["json://x"]}] * 2}, "different names"),
        ({"colour": "red"}, "colour: no such field"),
    ],
)
def test_settings_that_do_not_hold_are_refused_without_an_address(change: dict[str, Any], problem: str) -> None:
    good = {"route": [{"name": "x", "least": "INFO", "urls": ["json://secret@x"]}]}
    with pytest.raises(RoutesError, match=problem) as caught:
        parse_routes(good | change, {})
    assert "secret" not in str(caught.value)


def test_an_address_of_no_kind_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="route r: Apprise does not know address 1 of 1"):
        Channel(Route("r", "INFO", frozenset(), ("nonsense-secret",), 1))


# The way out.


class Mailbox:
    """Keeps what a mail server is given."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope.content.decode())
        return "250 OK"


class Hook(BaseHTTPRequestHandler):
    """Keeps what a webhook is given; refuses while told to."""

    bodies: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).bodies.append(json.loads(body))
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[tuple[int, type[Hook]]]:
    handler = type("OwnHook", (Hook,), {"bodies": [], "status": 200})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Python 3.11's own mail package
def test_a_mail_server_and_a_webhook_get_the_alert(webhook: tuple[int, type[Hook]]) -> None:
    port, hook = webhook
    box = Mailbox()
    (smtp,) = free_ports(1)
    controller = Controller(box, hostname="127.0.0.1", port=smtp)
    controller.start()
    try:
        urls = (f"json://127.0.0.1:{port}/", f"mailto://127.0.0.1:{smtp}?from=gate@example.org&to=desk@example.org")
        channel = Channel(Route("r", "INFO", frozenset(), urls, 1))
        assert channel.send(Item((0, 7), ALERT, 0.0, more=4))
    finally:
        controller.stop()
    (mail,), (body,) = box.mails, hook.bodies
    assert "[CRITICAL] BREAKER_HALTED bot-1" in mail
    assert body["title"] == "[CRITICAL] BREAKER_HALTED bot-1"
    assert "4 more alerts" in body["message"]
    assert body["type"] == "failure"


def test_an_address_that_refuses_is_a_failure(webhook: tuple[int, type[Hook]]) -> None:
    port, hook = webhook
    hook.status = 500
    assert not Channel(Route("r", "INFO", frozenset(), (f"json://127.0.0.1:{port}/",), 1)).send(
        Item((0, 1), ALERT, 0.0)
    )
