"""The life of an order, from one query of the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streams.audit.proof import verify_proof
from streams.core.checked import Outcome
from streams.core.gate import CHECKS
from streams.core.reasons import Reason
from streams.names import Topic
from streams.warehouse.connection import connect
from streams.warehouse.orders import prove, read_checks, read_latest, read_life
from streams.warehouse.rows import Record, cut_blocks
from streams.warehouse.store import Store
from streams.wire.avro import Schema, encode, to_decimal
from streams.wire.decisions import decode_audit_event, decode_verdict_body, encode_audit_head
from tests.made_log import START_US, make_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

    from streams.core.orders import Failure

pytestmark = pytest.mark.integration

LOG, OTHER = make_log(0, 40), make_log(1, 40)
EXECUTION: dict[str, Any] = {
    "agent_id": "bot-0-0",
    "exec_id": "E-1",
    "order_id": "V-1",
    "cl_ord_id": "C0-0",
    "exec_type": "FILL",
    "symbol": "BTC_USDT",
    "side": "BUY",
    "last_qty": to_decimal(10**17),
    "last_px": to_decimal(65_000 * 10**13),
    "cum_qty": to_decimal(10**17),
    "leaves_qty": to_decimal(0),
    "last_mkt": "XOFF",
    "counterparty": None,
    "transact_time": START_US + 900_000,
}


def leaves() -> list[bytes]:
    """Return the made log, one of whose events is the trade's."""
    event, _ = decode_audit_event(LOG.leaves[3])
    logged = event._replace(
        event_type="TRADE_EXECUTED", agent_id="bot-0-0", source_topic="trades.executed", source_offset=0
    )
    return [*LOG.leaves[:3], encode_audit_head(logged, None), *LOG.leaves[4:]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder: Path = tmp_path_factory.mktemp("life")
    dsn = f"chdb://{folder}/warehouse"
    store = Store.open(dsn)
    execution = encode(Schema.EXECUTION_REPORT, EXECUTION)
    for topic, partition, values in (
        (Topic.AUDIT_EVENTS, 0, leaves()),
        (Topic.AUDIT_CHECKPOINTS, 0, LOG.notes),
        (Topic.TRADES_EXECUTED, 0, [execution]),
        (Topic.AUDIT_EVENTS, 1, OTHER.leaves),
        (Topic.AUDIT_CHECKPOINTS, 1, OTHER.notes[:5]),
    ):
        records = [Record(topic, partition, n, 1_767_225_600_000 + n, b"k", value) for n, value in enumerate(values)]
        for block in cut_blocks([records]):
            store.append(block)
    store.close()
    client = connect(dsn)
    yield client
    client.close()


def test_an_order_from_request_to_trade(client: Client) -> None:
    steps = read_life(client, "C0-0", "bot-0-0")
    found = {step.what for step in steps}
    assert {"requested", "decided", "proven", "traded", "trade logged"} <= found
    times = [step.at for step in steps]
    assert times == sorted(times)
    assert read_life(client, "C0-0") == steps
    assert read_life(client, "C0-0", "bot-0-1") == []
    assert read_life(client, "' OR 1 = 1 --") == []


def test_every_failed_check_is_told(client: Client) -> None:
    verdicts = [decode_verdict_body(body) for leaf in LOG.leaves if (body := decode_audit_event(leaf)[1]) is not None]
    refused = next(verdict for verdict in verdicts if not verdict.approved)
    texts = [step.text for step in read_life(client, refused.cl_ord_id) if step.what == "check failed"]
    assert texts == [_text(failure) for failure in refused.failures]
    assert texts[0].startswith(f"{Reason.MAX_ORDER_VALUE_EXCEEDED}: limit 10000.00000")


def test_every_check_is_told_passed_or_failed(client: Client) -> None:
    for leaf in LOG.leaves:
        event, body = decode_audit_event(leaf)
        if body is None:
            continue
        verdict = decode_verdict_body(body)
        checks = read_checks(client, event.partition, event.log_index)
        assert [check.reason for check in checks] == [reason for reason, _, _ in CHECKS]
        assert [check.failure for check in checks if check.outcome is Outcome.FAILED] == list(verdict.failures)
        if verdict.approved:
            assert {check.outcome for check in checks} == {Outcome.PASSED}
    assert read_checks(client, 0, 10_000) == ()


def test_a_decision_is_proven_from_the_warehouse_alone(client: Client) -> None:
    for index in (0, 6, 7, 34):
        proof = prove(client, 1, index)
        assert proof is not None
        assert verify_proof(OTHER.leaves[index], proof, [OTHER.signer.verifier]).index == index
    assert prove(client, 1, 35) is None
    assert prove(client, 2, 0) is None


def test_the_last_orders_of_a_bot(client: Client) -> None:
    rows = read_latest(client, "bot-0-1", 3)
    assert len(rows) == 3
    assert rows[0][1] > rows[1][1] > rows[2][1]


def _text(failure: Failure) -> str:
    return f"{failure.reason}: limit {failure.limit}, observed {failure.observed} {failure.unit}"
