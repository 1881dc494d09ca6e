"""What the risk desk costs: 1,000 bots, 2,000 verdicts a second, one page in a real browser.

    .venv/bin/python -m tests.desk_load [--bots N] [--rate N] [--seconds N]

The records of the log are made here, byte for byte as the gate writes them, so that desk and page are measured and not
the gate. Prints one JSON object: the share of a core that the desk's process and the browser's main thread took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams import topics
from streams.clock import now_us
from streams.core.orders import MsgType, Order, OrdType, Side, TimeInForce
from streams.core.reasons import Reason
from streams.desk.accounts import Accounts
from streams.desk.people import DeskRole
from streams.kafka.producing import Sender
from streams.local import kafka_cluster
from streams.local.readiness import free_ports
from streams.names import Topic
from streams.rig.processes import Service
from streams.settings import Settings
from streams.wire import devpki
from streams.wire.avro import Schema, body_of, encode
from streams.wire.decisions import AuditEvent, ScoreDetail, Verdict, encode_audit_head, encode_verdict_body
from streams.wire.messages import encode_order
from tests.browser import chromium, signed_in
from tests.gate_world import DOCUMENT

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

LANES = 4
WARM_S = 8
CHOSEN = "correct horse battery staple"
PARTS = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Log:
    """Writes verdicts to `audit.events` at a rate until stopped."""

    def __init__(self, settings: Settings, bots: int, rate: int) -> None:
        self.sent = 0
        self._sender = Sender(settings.kafka_bootstrap_servers, {})
        self._bots = [f"bot-{number:04}" for number in range(bots)]
        self._rate = rate
        self._next = [0] * LANES
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def register(self) -> None:
        for agent_id in self._bots:
            document = json.dumps(DOCUMENT | {"agent_id": agent_id}).encode()
            empty = dict.fromkeys(
                ("approver_signature", "approver_certificate", "registration", "operator_signature"), b""
            )
            record = {"agent_id": agent_id, "policy": document, "operator_certificate": b"", "certificate_chain": []}
            self._sender.send(Topic.AGENTS_REGISTRY, agent_id.encode(), encode(Schema.AGENT_RECORD, record | empty))
        self._sender.flush()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._sender.flush()

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - began_s) * self._rate)
            while self.sent < due:
                self._verdict(self.sent)
                self.sent += 1
            time.sleep(0.01)

    def _verdict(self, number: int) -> None:
        place = number % len(self._bots)
        agent_id, lane = self._bots[place], place % LANES
        at_us, index, approved = now_us(), self._next[lane], number % 5 != 0
        self._next[lane] += 1
        order = Order(
            *(agent_id, f"order-{number}", None, MsgType.NEW_ORDER_SINGLE, "BTC_USDT", "XOFF", "eu-west-1"),
            *(Side.BUY, OrdType.LIMIT, TimeInForce.DAY, 10**15, 60_000 * 10**13, at_us - 30_000),
        )
        reason = Reason.NONE if approved else Reason.PRICE_COLLAR_EXCEEDED
        verdict = Verdict(
            *(agent_id, order.cl_ord_id, approved, reason, (), b"p" * 32, None, 60_00000, 1000_00000 + number, 0.1),
            *(lane, index, at_us - 30_000, at_us, index, body_of(encode_order(order)), b"s" * 71, b"c" * 32),
        )
        features = {"size": 0.02, "rate": 0.03, "price": 0.04, "side": 0.01, "rejects": 0.0}
        score = ScoreDetail("ewma-v1", (number * 7919 % 1000) / 1400, features)
        event = AuditEvent(
            event_type="ORDER_APPROVED" if approved else "ORDER_REJECTED",
            agent_id=agent_id,
            agent_seq=index,
            log_index=index,
            partition=lane,
            event_time_us=at_us,
            clock_divergence_us=30_000,
            clock_source="SYNCHRONISED within 2048 us",
            source_topic=Topic.ORDERS_REQUESTED,
            source_offset=index,
            source_time_us=at_us - 30_000,
            subject=None,
            signature=None,
            signer=None,
            score=score,
            state_before="ACTIVE",
            state_after="ACTIVE",
            policy_sha256=None,
            authorised_by=None,
            verified_by="portcullis-gate",
            approved_by=None,
            outcome=str(reason),
            details={},
        )
        body = encode_verdict_body(verdict)
        value = encode_audit_head(event, len(body)) + body
        self._sender.send(Topic.AUDIT_EVENTS, agent_id.encode(), value, partition=lane)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def main_thread_s(session: CDPSession) -> dict[str, float]:
    """Return the seconds that the page's main thread has worked, in all and on what."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: float(metric["value"]) for metric in metrics if metric["name"] in PARTS}


def measure(home: Path, servers: str, options: argparse.Namespace) -> dict[str, Any]:
    settings = Settings(home=home, kafka_bootstrap_servers=servers)
    topics.apply(topics.load_topology(), servers)
    devpki.make_dev_pki(settings.pki)
    accounts = Accounts(home / "desk" / "users.json")
    accounts.add("viewer@acme", DeskRole.VIEWER)
    accounts.choose("viewer@acme", CHOSEN)
    log = Log(settings, options.bots, options.rate)
    log.register()
    (port,) = free_ports(1)
    desk = Service("desk", ["desk"], replace(settings), home, more={"PORTCULLIS_DESK_PORT": str(port)})
    desk.start()
    log.start()
    errors: list[str] = []
    try:
        desk.wait_for_line("risk desk:")
        time.sleep(2)
        with chromium() as browser:
            url, screen = f"http://127.0.0.1:{port}", {"width": 1440, "height": 900}
            page = signed_in(browser, url, "viewer@acme", CHOSEN, errors, viewport=screen)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            time.sleep(WARM_S)
            before, sent = (time.monotonic(), cpu_s(desk.pid), main_thread_s(session)), log.sent
            page.wait_for_timeout(options.seconds * 1000)
            after = (time.monotonic(), cpu_s(desk.pid), main_thread_s(session))
            took_s, desk_s = after[0] - before[0], after[1] - before[1]
            parts = {name: round((after[2][name] - before[2][name]) / took_s, 4) for name in PARTS}
            shown = int(page.inner_text("#count-bots").replace(",", ""))
            rate = int(page.inner_text("#fig-rate").replace(",", ""))
            return {
                "bots": shown,
                "verdicts_per_second": round((log.sent - sent) / took_s),
                "shown_per_second": rate,
                "seconds": round(took_s, 1),
                "desk_cores": round(desk_s / took_s, 3),
                "browser_main_thread_cores": parts["TaskDuration"],
                "of_which": parts,
                "errors": errors,
            }
    finally:
        log.stop()
        desk.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=2000, help="verdicts per second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, kafka_cluster(Path(folder) / "kafka") as servers:
        result = measure(Path(folder), servers, options)
    holds = result["desk_cores"] < 0.5 and result["browser_main_thread_cores"] < 0.1
    complete = result["bots"] == options.bots and not result["errors"]
    sys.stdout.write(json.dumps(result | {"holds": holds and complete}) + "\n")
    return 0 if holds and complete else 1


if __name__ == "__main__":
    sys.exit(main())
