"""The enforcer as a bot meets it: mTLS, real broker and worker; whatever goes wrong, it is never an approval."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509

from streams.clock import now_us
from streams.enforcer.documents import BODY_BYTES_MAX
from streams.kafka.reading import read_all
from streams.local.broker import LocalKafka
from streams.names import Topic
from streams.venue.approval import ApprovalRefusedError, ApprovalVerifier
from streams.wire import devpki
from streams.wire.decisions import decode_verdict
from streams.wire.log_keys import log_keys
from streams.wire.messages import decode_order_body
from tests.enforcer_world import BOT, ORDER, OTHER, TIMEOUT_MS, Door, open_door, post
from tests.floor import open_floor, prices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings

pytestmark = pytest.mark.integration

HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def floor(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with open_floor(tmp_path_factory.mktemp("floor"), kafka) as settings:
        yield settings


@pytest.fixture(scope="module")
def door(floor: Settings) -> Iterator[Door]:
    with open_door(floor) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[httpx.Client]:
    with door.own() as made:
        yield made


def test_an_approval_is_answered_with_its_proof(client: httpx.Client, floor: Settings) -> None:
    answer = post(client)
    body = answer.json()
    assert (answer.status_code, body["decision"], body["agent_id"]) == (200, "APPROVED", BOT)
    assert body["proof"]["index"] == body["log_index"]
    assert body["proof"]["origin"].startswith(floor.log_origin)
    assert answer.headers["content-type"] == "application/json"
    assert client.get(f"/v1/orders/{body['cl_ord_id']}").json()["verdict"] == body


def test_a_rejection_is_a_problem_that_says_why(client: httpx.Client) -> None:
    answer = post(client, {**ORDER, "ex_destination": "XXXX"})
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["decision"], body["reason"]) == (403, "REJECTED", "VENUE_NOT_ALLOWED")
    assert body["type"] == "urn:portcullis:problem:order-rejected"
    assert body["verdict"]["failures"][0]["observed"] == "XXXX"


def test_the_same_key_makes_one_order(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, key="once"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["log_index"] for answer in answers}) == 1
    other = post(client, {**ORDER, "order_qty": "0.002"}, key="once")
    assert (other.status_code, other.json()["type"]) == (409, "urn:portcullis:problem:idempotency-key-reused")
    twice = post(client, {**ORDER, "cl_ord_id": answers[0].json()["cl_ord_id"]})
    assert (twice.status_code, twice.json()["reason"]) == (409, "DUPLICATE_ORDER")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"symbol":"A","symbol":"B"}', "no key twice"),
        (b"[]", "an object"),
        (b"\xff", "UTF-8"),
        (json.dumps({**ORDER, "order_qty": 1}).encode(), "order_qty"),
        (json.dumps({**ORDER, "order_qty": "0"}).encode(), "order_qty"),
        (json.dumps({**ORDER, "price": "1e5"}).encode(), "price"),
        (json.dumps({**ORDER, "agent_id": OTHER}).encode(), "no such field"),
        (json.dumps({**ORDER, "side": "HOLD"}).encode(), "side"),
    ],
)
def test_a_body_that_does_not_hold_is_refused_whole(client: httpx.Client, body: bytes, says: str) -> None:
    headers = {"content-type": "application/json", "idempotency-key": f"bad-{now_us()}"}
    answer = client.post("/v1/orders", content=body, headers=headers)
    assert (answer.status_code, answer.json()["decision"]) == (422, "REJECTED")
    assert says in answer.text


def test_bounds(client: httpx.Client) -> None:
    big = {**ORDER, "region": "x" * BODY_BYTES_MAX}
    assert post(client, big).status_code == 413
    assert client.post("/v1/orders", json=ORDER).status_code == 400
    assert post(client, content_type="text/plain").status_code == 415
    assert post(client, key="k" * 129).status_code == 400
    for path, status in (("/v1/orders", 405), ("/nowhere", 404)):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_bot_sees_its_own_state_and_no_other(client: httpx.Client) -> None:
    post(client)
    state = client.get(f"/v1/agents/{BOT}").json()
    assert (state["registered"], state["trading_state"]) == (True, "ACTIVE")
    assert state["limits"] == client.get(f"/v1/agents/{BOT}/limits").json()
    assert float(state["usage"]["daily_value_eur"]) > 0
    assert state["through_this_enforcer"]["approved"] > 0
    for path in (f"/v1/agents/{OTHER}", "/v1/agents/nobody", f"/v1/agents/{OTHER}/limits"):
        assert client.get(path).status_code == 403
    assert client.get("/v1/orders/nothing").status_code == 404


def test_certificates_that_do_not_hold(door: Door, tmp_path: Path) -> None:
    def answered(credentials: Path | None) -> tuple[int, str]:
        with door.client(credentials) as client:
            answer = post(client)
        return answer.status_code, answer.json().get("reason", "")

    now = now_us()
    door.certified(tmp_path / "old", BOT, not_before_us=now - 2 * HOUR_US, not_after_us=now - HOUR_US)
    door.certified(tmp_path / "early", BOT, not_before_us=now + HOUR_US, not_after_us=now + 2 * HOUR_US)
    revoked = door.certified(tmp_path / "revoked", BOT)
    assert answered(None) == (401, "")
    assert answered(tmp_path / "old" / BOT) == (401, "CERTIFICATE_EXPIRED")
    assert answered(tmp_path / "early" / BOT) == (401, "CERTIFICATE_EXPIRED")
    assert answered(door.settings.home / "agents" / OTHER) == (403, "")
    assert answered(tmp_path / "revoked" / BOT) == (200, "NONE")
    devpki.revoke(door.settings.pki, x509.load_der_x509_certificate(revoked.chain[0]).serial_number)
    deadline = time.monotonic() + 20
    while answered(tmp_path / "revoked" / BOT) != (401, "CERTIFICATE_REVOKED"):
        assert time.monotonic() < deadline, "a revoked certificate is still served"
        time.sleep(0.2)


def test_a_certificate_of_another_ca_ends_in_the_handshake(door: Door, tmp_path: Path) -> None:
    elsewhere = replace(door, settings=replace(door.settings, pki_dir=tmp_path / "pki"))
    devpki.make_dev_pki(tmp_path / "pki")
    elsewhere.certified(tmp_path / "stranger", BOT)
    with door.client(tmp_path / "stranger" / BOT) as client, pytest.raises(httpx.TransportError):
        post(client)


def test_a_bot_that_asks_too_often_is_held_back(floor: Settings) -> None:
    with open_door(floor, enforcer_rate_max_per_s=1) as small, small.own() as client:
        answers = [post(client) for _ in range(6)]
    assert answers[0].status_code == 200
    assert 429 in {answer.status_code for answer in answers}


def test_its_openapi_holds_against_generated_requests(door: Door, tmp_path: Path) -> None:
    credentials = door.settings.home / "agents" / BOT
    document = tmp_path / "openapi.json"
    with door.client() as client:
        document.write_bytes(client.get("/openapi.json").content)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(document)),
        *("--url", f"https://127.0.0.1:{door.settings.enforcer_port}"),
        *("--request-cert", str(credentials / "chain.pem"), "--request-cert-key", str(credentials / "key.pem")),
        *("--tls-verify", str(door.settings.pki / "tls" / "ca.pem")),
        *(
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "5",
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
        ),
        *("--report-dir", str(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_killing_the_broker_is_a_refusal_in_time_and_never_an_approval(tmp_path: Path) -> None:
    with (
        LocalKafka(tmp_path / "kafka") as broker,
        open_floor(tmp_path / "floor", broker.bootstrap_servers) as floor,
        open_door(floor) as door,
        door.own() as client,
    ):
        assert post(client).status_code == 200
        broker.kill()
        answers = [post(client) for _ in range(3)]
        for answer in answers:
            assert answer.status_code in {503, 504}
            assert answer.json()["decision"] == "UNKNOWN"
            assert answer.json()["reason"] in {"VERDICT_TIMEOUT", "CLUSTER_UNAVAILABLE"}
            assert answer.elapsed.total_seconds() < TIMEOUT_MS / 1000 + 5
        assert client.get("/livez").status_code == 200
        broker.start()
        prices(floor)
        deadline = time.monotonic() + 60
        while post(client).status_code != 200:
            assert time.monotonic() < deadline, "no approval after the broker came back"
        late = {answer.json()["cl_ord_id"] for answer in answers}
        assert_no_venue_takes(floor, late)


def assert_no_venue_takes(floor: Settings, cl_ord_ids: set[str]) -> None:
    """Whatever was decided of orders that timed out: no venue adapter would carry one out now."""
    origins = (f"{floor.log_origin}/{number}" for number in range(4))
    verifiers = [key.verifier for origin in origins for key in log_keys(floor.pki, origin)]
    for record in read_all(floor.kafka_bootstrap_servers, [floor.topic_prefix + Topic.ORDERS_APPROVED], {}):
        order = decode_order_body(decode_verdict(record.value).order)
        if order.cl_ord_id in cl_ord_ids:
            with pytest.raises(ApprovalRefusedError, match="expire_time"):
                ApprovalVerifier(verifiers).check(record.value, record.headers, now_us())
