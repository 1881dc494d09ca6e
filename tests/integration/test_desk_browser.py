"""The risk desk as people use it: a real Chromium on a real desk, worker and broker, with bots that trade."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition

from streams.clock import now_us
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.desk.accounts import Accounts
from streams.desk.people import DeskRole
from streams.desk.settings import DeskSettings
from streams.kafka.reading import partitions_of, reader
from streams.local.readiness import free_ports
from streams.names import Topic
from streams.rig.live import LiveOptions, Running, run_live
from streams.settings import Settings
from streams.sim.fleet import REGION
from streams.wire.avro import body_of
from streams.wire.decisions import Verdict, decode_verdict
from streams.wire.headers import SIGNATURE, THUMBPRINT
from streams.wire.messages import encode_order
from streams.wire.signatures import ORDER_TYPE, sign
from tests.browser import CHROMIUM, WAIT_MS, chromium, serious, signed_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium"),
]

CHOSEN = "correct horse battery staple"
PEOPLE = {
    "cfo@acme": DeskRole.RISK,
    "ceo@acme": DeskRole.RISK,
    "compliance_lead@acme": DeskRole.COMPLIANCE,
    "viewer@acme": DeskRole.VIEWER,
}
S_US = 1_000_000


@dataclass
class Live:
    """The running desk, and what its pages complained of."""

    running: Running
    browser: Browser
    errors: list[str] = field(default_factory=list)
    pages: dict[str, Page] = field(default_factory=dict)

    def page(self, name: str) -> Page:
        """Return the person's page, signed in once, with nothing open but the table."""
        if name not in self.pages:
            self.pages[name] = signed_in(self.browser, self.running.url, name, CHOSEN, self.errors)
        page = self.pages[name]
        page.keyboard.press("Escape")  # a dialog
        page.keyboard.press("Escape")  # a bot
        page.wait_for_selector("#drawer", state="hidden")
        return page


@pytest.fixture(scope="module")
def live(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home: Path = tmp_path_factory.mktemp("desk")
    accounts = Accounts(home / "desk" / "users.json")
    for name, role in PEOPLE.items():
        accounts.add(name, role)
        accounts.choose(name, CHOSEN)
    ready: list[Running] = []
    failure: list[BaseException] = []
    stop, is_up = threading.Event(), threading.Event()

    def tell(running: Running) -> None:
        ready.append(running)
        is_up.set()

    def run() -> None:
        settings = Settings(home=home, kafka_bootstrap_servers=kafka)
        try:
            run_live(
                settings,
                DeskSettings(port=free_ports(1)[0]),
                LiveOptions(8, 6, 1, warehouse=False),
                ready=tell,
                stop=stop,
            )
        except BaseException as error:  # noqa: BLE001 - told below
            failure.append(error)
        finally:
            is_up.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert is_up.wait(120)
        assert ready, failure
        with chromium() as browser:
            yield Live(ready[0], browser)
    finally:
        stop.set()
        thread.join(60)
    assert not failure


def bad_order(running: Running, agent_id: str) -> tuple[str, bytes]:
    """Send an order to a venue that no policy allows; return its ClOrdID and body."""
    cl_ord_id = f"bad-{uuid.uuid4().hex[:12]}"
    credentials = running.stage.credentials[agent_id]
    order = Order(
        agent_id,
        cl_ord_id,
        None,
        MsgType.NEW_ORDER_SINGLE,
        "BTC_USDT",
        "XXXX",
        REGION,
        Side.BUY,
        OrdType.MARKET,
        TimeInForce.IMMEDIATE_OR_CANCEL,
        10**15,
        None,
        now_us(),
    )
    value = encode_order(order)
    headers = (
        (SIGNATURE, sign(credentials.private_key, ORDER_TYPE, body_of(value))),
        (THUMBPRINT, credentials.thumbprint),
    )
    sender = running.stage.sender()
    sender.send(running.stage.topic(Topic.ORDERS_REQUESTED), agent_id.encode(), value, headers)
    sender.flush()
    return cl_ord_id, body_of(value)


def verdicts(running: Running, topic: Topic, agent_id: str) -> list[Verdict]:
    """Return all committed verdicts on a bot's orders."""
    settings = running.stage.settings
    consumer = reader(settings.kafka_bootstrap_servers, {})
    try:
        places = partitions_of(consumer, [running.stage.topic(topic)])
        consumer.assign([TopicPartition(name, number, 0) for name, number in places])
        waiting, found = set(places), []
        while waiting:
            for message in consumer.consume(1000, 0.2):
                if message.error() is not None:
                    waiting.discard((message.topic() or "", message.partition() or 0))
                elif message.key() == agent_id.encode():
                    found.append(decode_verdict(message.value() or b""))
        return found
    finally:
        consumer.close()


def open_bot(page: Page, agent_id: str) -> None:
    """Open a bot; the table shows it alone, and its state is there, so that nothing moves while it is clicked."""
    page.fill("#search", agent_id)
    page.wait_for_function("() => document.querySelectorAll('#bot-table tr[data-id]:not([hidden])').length === 1")
    page.click(f'#bot-table tr[data-id="{agent_id}"]')
    page.get_by_role("heading", name=agent_id, exact=True).wait_for()
    page.wait_for_function("() => document.querySelector('#drawer-state').textContent !== ''")


def hold_to_stop(page: Page, agent_id: str) -> None:
    """Open a bot and hold its stop button as long as it wants to be held."""
    open_bot(page, agent_id)
    page.click("#drawer .danger")
    page.fill("#order-reason", "a drill")
    page.locator("dialog .hold").hover()
    page.mouse.down()
    page.wait_for_selector("#watched")
    page.mouse.up()
    page.wait_for_selector("#watched .verdict.good")


def test_a_refusal_is_on_the_page_within_a_second_of_its_verdict(live: Live) -> None:
    page = live.page("viewer@acme")
    open_bot(page, "maker-01")
    shows = """id => {
        const row = [...document.querySelectorAll("#drawer-orders tr")].find((tr) => tr.textContent.includes(id));
        return row && row.textContent.includes("Venue not allowed") ? Date.now() : null;
    }"""
    after_us = []
    for _ in range(3):
        cl_ord_id, body = bad_order(live.running, "maker-01")
        shown_us = page.wait_for_function(shows, arg=cl_ord_id, polling=20).json_value() * 1000
        (verdict,) = (v for v in verdicts(live.running, Topic.ORDERS_REJECTED, "maker-01") if v.order == body)
        after_us.append(shown_us - verdict.decision_time_us)
    assert min(after_us) < S_US, after_us  # others may use the machine meanwhile: the quickest counts


def test_a_kill_on_the_page_stops_approvals_within_a_second_and_shows_its_proof(live: Live) -> None:
    page = live.page("cfo@acme")
    took_us = []
    for agent_id in ("taker-01", "momentum-01"):
        hold_to_stop(page, agent_id)
        text = page.inner_text("#watched")
        assert "In force in 1 of 1 lane" in text
        assert "offset in the log" in text
        page.wait_for_function("() => Number(document.querySelector('#watched .figures dd').textContent) > 0")
        given_us = page.evaluate("Date.now()") * 1000
        approved = verdicts(live.running, Topic.ORDERS_APPROVED, agent_id)
        refused = verdicts(live.running, Topic.ORDERS_REJECTED, agent_id)
        killed_us = min(v.decision_time_us for v in refused if v.reason == "KILL_SWITCH_ENGAGED")
        assert max(v.decision_time_us for v in approved) <= killed_us
        issued_us = live_issued_us(page)
        took_us.append(max(v.decision_time_us for v in approved) - issued_us)
        assert given_us > issued_us
        page.click("dialog .primary")
        page.keyboard.press("Escape")
    assert min(took_us) < S_US, took_us


def live_issued_us(page: Page) -> int:
    """Return when the watched command was given, as its proof says."""
    text = page.inner_text("#watched dd >> nth=0")
    stamp = text.split(" UTC")[0].replace(" ", "T") + "Z"
    issued_ms: int = page.evaluate("stamp => Date.parse(stamp)", stamp)
    return issued_ms * 1000


def test_two_people_are_needed_to_release(live: Live) -> None:
    first = live.page("cfo@acme")
    hold_to_stop(first, "slicer-01")
    first.click("dialog .primary")
    first.keyboard.press("Escape")
    card = first.locator("#force-list .card", has_text="bot slicer-01")
    card.get_by_text("somebody else must release").wait_for()
    assert card.get_by_role("button", name="Release").count() == 0

    open_bot(first, "slicer-01")
    release(first, "slicer-01")
    first.get_by_text("Refused by the gate").first.wait_for()
    assert "somebody else than cfo@acme must release" in first.inner_text("#watched")

    second = live.page("ceo@acme")
    open_bot(second, "slicer-01")
    release(second, "slicer-01")
    second.wait_for_selector("#watched .verdict.good")
    second.wait_for_function("""() => document.querySelector('tr[data-id="slicer-01"]').dataset.state === "ACTIVE" """)


def release(page: Page, agent_id: str) -> None:
    page.locator("#drawer").get_by_role("button", name="Release", exact=True).click()
    page.fill("#order-reason", "looked at it")
    assert page.locator("dialog .primary").is_disabled()
    page.fill("#order-confirm", agent_id)
    page.click("dialog .primary")
    page.wait_for_selector("#watched")


def test_a_bot_is_reduced_and_released_again(live: Live) -> None:
    first, second = live.page("cfo@acme"), live.page("ceo@acme")
    open_bot(first, "slicer-01")
    first.get_by_role("button", name="Halt or reduce").click()
    first.get_by_label("reduce only").check()
    first.fill("#order-reason", "a drill")
    first.locator("dialog .hold").focus()
    first.keyboard.down("Enter")  # held, as with a finger
    first.wait_for_selector("#watched .verdict.good")
    first.keyboard.up("Enter")
    reduced = """() => document.querySelector('tr[data-id="slicer-01"]').dataset.state === "REDUCING" """
    first.wait_for_function(reduced)
    open_bot(second, "slicer-01")
    release(second, "slicer-01")
    second.wait_for_selector("#watched .verdict.good")


def test_an_incident_is_classified_and_its_audit_completed(live: Live) -> None:
    page = live.page("compliance_lead@acme")
    hold_to_stop(page, "slicer-01")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    card = page.locator("#force-list .card", has_text="bot slicer-01").filter(has=page.get_by_text("manual kill")).last
    name = card.locator("h3").inner_text().split("Incident ")[1].split(":")[0]
    for step, reason in (("Classify", "clients affected"), ("Complete and sign", "a loop in its quoter")):
        card.get_by_role("button", name=step).click()
        if step == "Classify":
            page.get_by_label("major", exact=True).check()
        else:
            page.fill("#order-changes", "a limit on messages")
        page.fill("#order-reason", reason)
        assert page.locator("dialog .primary").is_disabled()
        page.fill("#order-confirm", name)
        page.click("dialog .primary")
        page.wait_for_selector("#watched .verdict.good")
        page.click("dialog .primary")
        page.focus("#search")  # what is pointed at stays as it is
        if step == "Classify":
            card.get_by_text("Initial report").first.wait_for()
    card.get_by_text("✓ compliance_lead@acme").wait_for()
    assert card.get_by_role("button", name="Complete and sign").count() == 0


def test_a_viewer_cannot_kill(live: Live) -> None:
    page = live.page("viewer@acme")
    assert not page.is_visible("#stop")
    open_bot(page, "maker-01")
    assert page.locator("#drawer .actions button").count() == 0
    status = page.evaluate(
        """async () => {
            const {csrf} = await (await fetch("/api/me")).json();
            const body = {action: "KILL", scope: "BOT", target: "maker-01", confirm: "maker-01", reason: "no"};
            const headers = {"x-csrf-token": csrf, "content-type": "application/json"};
            return (await fetch("/api/commands", {method: "POST", headers, body: JSON.stringify(body)})).status;
        }"""
    )
    assert status == 403
    live.errors[:] = [text for text in live.errors if "403" not in text]  # the browser tells of our own try


def test_an_orders_life_is_told_with_a_proof_that_was_verified(live: Live) -> None:
    page = live.page("viewer@acme")
    open_bot(page, "maker-01")
    page.locator("#drawer-orders tr", has_text="Approved").locator("button").first.click()
    page.get_by_text("Proof verified").wait_for()
    assert "is in the tree of" in page.inner_text("dialog")


def test_a_worker_that_is_gone_is_told_and_its_return_too(live: Live) -> None:
    page = live.page("viewer@acme")
    where = "document.querySelector('#scroller').getBoundingClientRect().toJSON()"
    before = page.evaluate(where)
    live.running.worker.kill()
    try:
        page.get_by_text("No decision for").wait_for()
        assert page.evaluate("document.body.classList.contains('stale')")
        assert page.evaluate(where) == before  # nothing moves under the pointer of who is about to press it
    finally:
        live.running.worker.start()
    page.wait_for_selector("#banner", state="hidden", timeout=4 * WAIT_MS)


def test_axe_finds_nothing_serious(live: Live) -> None:
    page = live.page("cfo@acme")
    page.emulate_media(color_scheme="dark")
    open_bot(page, "maker-01")
    page.wait_for_selector("#drawer-usages dt")
    found = {"dark, with a bot": serious(page)}
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    found["the stop dialog"] = serious(page, "dialog")
    page.get_by_label("halt").check()
    found["the stop dialog, to halt"] = serious(page, "dialog")
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    for view in ("bots", "force", "alerts", "commands", "audit"):
        page.click(f'nav [data-show="{view}"]')
        if view in {"bots", "alerts"}:
            found[f"phone, {view}"] = serious(page, f"#{view}")
    page.click('nav [data-show="bots"]')
    page.set_viewport_size({"width": 1280, "height": 720})
    stranger = live.browser.new_page()
    stranger.goto(live.running.url + "/login")
    stranger.wait_for_selector("#name")
    found["sign-in"] = serious(stranger)
    stranger.close()
    assert {view: problems for view, problems in found.items() if problems} == {}


def test_the_table_is_used_by_keyboard_alone(live: Live) -> None:
    page = live.page("cfo@acme")
    page.keyboard.press("/")
    page.keyboard.press("Control+A")
    page.keyboard.type("maker")
    page.wait_for_function("() => document.querySelectorAll('#bot-table tbody tr[data-id]:not([hidden])').length === 1")
    page.focus("#scroller")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="maker-01").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.id") == "maker-01"


def test_no_page_had_an_error_to_tell(live: Live) -> None:
    time.sleep(0.5)
    assert live.errors == []
