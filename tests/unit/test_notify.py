"""Who is told what, when and how often; and that mail and a webhook really get it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notify.dispatch import Alert, Dispatcher, Item
from streams.notify.routes import NotifySettings, Route, RoutesError, load_routes, parse_routes
from streams.notify.run import Channel
from streams.resources import resource
from streams.rig.mailbox import open_mailbox

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
        for route, items in dispatcher.due(float(now_s)):
            sent += [(route.name, item.alert.alert_id) for item in items]
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


def test_what_gathers_while_a_message_is_on_its_way_goes_in_one() -> None:
    dispatcher = Dispatcher(replace(SETTINGS, routes=(ALL,)))
    dispatcher.take(alert(0), (0, 0), 0.0)
    ((_, first),) = dispatcher.due(0.0)
    for number in range(1, 30):
        dispatcher.take(alert(number), (0, number), 0.1)
    assert not dispatcher.due(0.2)  # one message at a time
    dispatcher.done(ALL, 0.3)
    sent = [len(first)]
    while due := dispatcher.due(0.4):
        sent.append(len(due[0][1]))
        dispatcher.done(ALL, 0.4)
    assert sent == [1, 20, 9]
    assert dispatcher.sent == 30


def test_a_message_that_fails_comes_again_whole_and_newer_alerts_join_it() -> None:
    dispatcher = Dispatcher(replace(SETTINGS, routes=(ALL,), give_up_after_s=10))
    for number in range(3):
        dispatcher.take(alert(number), (0, number), 9.0 * (number == 2))
    dispatcher.due(0.0)
    assert dispatcher.failed(ALL, 0.0) == 0
    assert not dispatcher.due(0.9)
    ((_, items),) = dispatcher.due(10.0)
    assert len(items) == 3
    assert dispatcher.failed(ALL, 10.0) == 2  # the two that waited for ten seconds
    assert dispatcher.oldest(0) == 2


def test_a_flood_is_cut_but_for_what_is_critical_and_the_next_one_says_how_many() -> None:
    dispatcher = Dispatcher(replace(SETTINGS, routes=(ALL,)))
    sent: list[tuple[list[str], int]] = []
    for step in range(6):
        for number in range(2):
            dispatcher.take(alert(10 * step + number, "CRITICAL" if step == 5 else "WARNING"), (0, step), 0.0)
        for route, items in dispatcher.due(step / 100):
            sent.append(([item.alert.alert_id for item in items], items[0].more))
            dispatcher.done(route, step / 100)
    assert sent == [(["a-0", "a-1"], 0), (["a-10", "a-11"], 0), (["a-20", "a-21"], 0), (["a-50", "a-51"], 4)]
    assert dispatcher.limited == 4


@given(st.lists(st.tuples(st.sampled_from(["take", "done", "failed"]), st.integers(0, 20)), max_size=80))
def test_no_offset_is_let_go_while_a_route_waits_for_it(steps: list[tuple[str, int]]) -> None:
    dispatcher, now_s, waiting = Dispatcher(replace(SETTINGS, routes=(replace(ALL, per_minute=1000),))), 0.0, []
    for number, (action, gap_s) in enumerate(steps):
        now_s += gap_s
        if action == "take":
            dispatcher.take(alert(number), (0, number), now_s)
            waiting.append(number)
        else:
            for route, items in dispatcher.due(now_s):
                gone = len(items)
                if action == "done":
                    dispatcher.done(route, now_s)
                else:
                    gone = dispatcher.failed(route, now_s)
                for item in items[:gone]:
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
def test_a_mail_server_and_a_webhook_get_the_alerts_at_once(webhook: tuple[int, type[Hook]]) -> None:
    port, hook = webhook
    with open_mailbox() as box:
        channel = Channel(Route("r", "INFO", frozenset(), (f"json://127.0.0.1:{port}/", box.url()), 1))
        assert all(target.request_rate_per_sec == 0 for target in channel._targets)
        assert channel.send([Item((0, 7), ALERT, 0.0, more=4), Item((0, 8), alert(8), 0.0)])
        assert channel.send([Item((0, 9), alert(9), 0.0)])
    (_, mail), (_, second) = box.mails
    body = hook.bodies[0]
    assert mail.startswith("[CRITICAL] BREAKER_HALTED bot-1 and 1 more\n")
    assert second.startswith("[WARNING] KIND_9 bot-1\n")
    assert body["title"] == "[CRITICAL] BREAKER_HALTED bot-1 and 1 more"
    for told in (mail, body["message"]):
        assert ALERT.alert_id in told
        assert "a-8" in told
        assert "4 more alerts" in told
    assert body["type"] == "failure"


def test_an_address_that_refuses_is_a_failure(webhook: tuple[int, type[Hook]]) -> None:
    port, hook = webhook
    hook.status = 500
    assert not Channel(Route("r", "INFO", frozenset(), (f"json://127.0.0.1:{port}/",), 1)).send(
        [Item((0, 1), ALERT, 0.0)]
    )
