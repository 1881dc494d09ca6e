"""The warehouse's tables and store, on ClickHouse's engine in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streams.core.orders import decimal_text
from streams.names import Topic
from streams.reports.export import BatchRange, export_batch
from streams.reports.layout import KEY_NAME
from streams.reports.verify import verify_batch
from streams.resources import resource
from streams.rig.made import ORIGIN, MadeLogs, log_signer
from streams.rig.made import START_US as MADE_START_US
from streams.topics.matrix import parse_controls
from streams.warehouse.columns import differences, expected_row, read_rows
from streams.warehouse.connection import WarehouseUnavailableError, connect
from streams.warehouse.logs import WarehouseLogs
from streams.warehouse.rows import Block, Record, cut_blocks
from streams.warehouse.store import BLOCK_ROWS_MAX, DisplacedError, Store, StoreError, UnreadableBlockError
from streams.warehouse.tables import AUDIT_EVENTS, TABLES
from streams.wire.avro import Schema, encode, prefix, to_decimal
from streams.wire.note import Signer
from tests.made_log import START_US, make_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.integration

LEAVES = make_log(0, 60).leaves


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"chdb://{tmp_path}/warehouse"


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    store = Store.open(dsn)
    yield store
    store.close()


@pytest.fixture
def client(dsn: str) -> Iterator[Client]:
    client = connect(dsn)
    yield client
    client.close()


def records(topic: Topic, values: Sequence[bytes | None], *, partition: int = 0, first: int = 0) -> list[Record]:
    return [Record(topic, partition, first + i, 1_767_225_600_000 + i, b"k", v) for i, v in enumerate(values)]


def append(store: Store, taken: list[Record]) -> None:
    for block in cut_blocks([taken]):
        store.append(block)


def rows(client: Client, sql: str) -> list[Sequence[Any]]:
    return list(client.query(sql).result_rows)


def test_columns_say_what_the_leaves_say(store: Store, client: Client) -> None:
    log = make_log(3, 500)
    append(store, records(Topic.AUDIT_EVENTS, log.leaves, partition=3))
    found = list(read_rows(client, 3))
    assert [leaf for leaf, _ in found] == list(log.leaves)
    assert [differences(expected_row(leaf), row) for leaf, row in found] == [[]] * 500


def test_a_batch_of_the_warehouse_proves_itself(store: Store, client: Client, tmp_path: Path) -> None:
    made = MadeLogs(tmp_path, 2, 900)
    made.write()
    for number in made.partitions():
        append(store, records(Topic.AUDIT_EVENTS, list(made.leaves(number)), partition=number))
        notes = [note for _, note in made.checkpoints(number)]
        append(store, records(Topic.AUDIT_CHECKPOINTS, notes, partition=number))
    logs = WarehouseLogs(client, 2)
    span = MADE_START_US + 200_000, MADE_START_US + 1_200_000
    assert [logs.places(number, *span) for number in (0, 1, 2)] == [(100, 600), (100, 600), (0, 0)]
    assert logs.places(0, 1, 2) == (0, 0)
    assert logs.places(0, 2 * MADE_START_US, 3 * MADE_START_US) == (900, 900)
    signer = Signer.from_seed(KEY_NAME, bytes(32))
    batch = export_batch(logs, BatchRange(*span), tmp_path / "batch", signer, ORIGIN)
    report = verify_batch(batch.folder, [signer.verifier, *(log_signer(n).verifier for n in (0, 1))])
    assert report.problems == ()
    assert report.records == batch.records == 2 * 600
    again = export_batch(made, BatchRange(*span), tmp_path / "again", signer, ORIGIN)
    assert again.batch_id == batch.batch_id


@pytest.mark.usefixtures("store")
def test_every_query_of_the_matrix_is_one(client: Client) -> None:
    controls = parse_controls(resource("topology/matrix.toml").read_text())
    queries = [control.evidence for control in controls if control.is_query]
    assert len(queries) > 20
    for query in queries:
        client.query(query)


def test_a_changed_column_shows(store: Store, client: Client) -> None:
    append(store, records(Topic.AUDIT_EVENTS, make_log(0, 20).leaves))
    client.command(
        "ALTER TABLE audit_events UPDATE order_qty = order_qty + toDecimal128('0.00000000000000001', 17)"
        " WHERE kafka_offset = 8 SETTINGS mutations_sync = 1"
    )
    wrong = [differences(expected_row(leaf), row) for leaf, row in read_rows(client, 0)]
    assert [(i, names) for i, names in enumerate(wrong) if names] == [(8, ["order_qty"])]


def test_a_block_is_one_part_however_large(store: Store, client: Client) -> None:
    # 80 MB of values: more than a server puts into one part by itself.
    large = encode(Schema.ALERT, {**ALERT, "message": "x" * 80_000})
    append(store, records(Topic.RISK_ALERTS, [large] * 1000))
    assert rows(client, "SELECT count(), max(rows) FROM system.parts WHERE table = 'alerts'") == [(1, 1000)]


def test_many_rows_are_one_part(store: Store, client: Client) -> None:
    append(store, records(Topic.RISK_ALERTS, [encode(Schema.ALERT, ALERT)] * (BLOCK_ROWS_MAX - 1)))
    assert rows(client, "SELECT count() FROM system.parts WHERE table = 'alerts'") == [(1,)]


def test_a_store_opened_again_goes_on_where_the_rows_end(store: Store, dsn: str) -> None:
    append(store, records(Topic.AUDIT_EVENTS, LEAVES[:10], partition=1, first=5))
    append(store, records(Topic.AUDIT_EVENTS, [None], partition=1, first=15))
    append(store, records(Topic.RISK_ALERTS, [encode(Schema.ALERT, ALERT)], partition=2))
    again = Store.open(dsn)
    assert again.last(Topic.AUDIT_EVENTS, 1) == 15
    assert again.last(Topic.RISK_ALERTS, 2) == 0
    assert again.last(Topic.RISK_ALERTS, 1) == -1
    again.close()


def test_a_store_that_is_behind_is_displaced(store: Store, dsn: str, client: Client) -> None:
    late = Store.open(dsn)
    append(store, records(Topic.AUDIT_EVENTS, LEAVES[:10]))
    with pytest.raises(DisplacedError, match="audit_events: rows"):
        append(late, records(Topic.AUDIT_EVENTS, LEAVES[:20]))
    assert late.last(Topic.AUDIT_EVENTS, 0) == 9
    append(late, records(Topic.AUDIT_EVENTS, LEAVES[10:20], first=10))
    late.close()
    assert rows(client, "SELECT count(), uniqExact(kafka_offset) FROM audit_events") == [(20, 20)]


def test_offsets_must_grow(store: Store) -> None:
    append(store, records(Topic.AUDIT_EVENTS, LEAVES[:2]))
    with pytest.raises(StoreError, match="offset 1 after 1"):
        append(store, records(Topic.AUDIT_EVENTS, LEAVES[1:3], first=1))
    doubled = records(Topic.AUDIT_EVENTS, LEAVES[2:4], first=2)
    with pytest.raises(StoreError, match="offset 3 after 3"):
        store.append(Block(AUDIT_EVENTS, [doubled[0], doubled[1], doubled[1]]))


def test_bytes_that_are_no_rows_are_refused_and_leave_nothing(store: Store, client: Client) -> None:
    whole = LEAVES[0]
    for broken in (whole[:-1], whole + b"\x00", prefix(Schema.AUDIT_EVENT), whole[:5] + b"\xff" * 40):
        with pytest.raises(UnreadableBlockError):
            append(store, records(Topic.AUDIT_EVENTS, [LEAVES[1], broken, LEAVES[2]]))
    assert rows(client, "SELECT count() FROM audit_events") == [(0,)]


def test_transactions_keep_every_digit(store: Store, client: Client) -> None:
    numbers = {"quantity": 10**38 - 1, "price": -1, "value": 12_345, "remaining": 0}
    record = {**TRANSACTION, **{name: to_decimal(number) for name, number in numbers.items()}}
    append(store, records(Topic.REPORTS_REGULATOR, [encode(Schema.REGULATORY_RECORD, record)]))
    ((*found, findings),) = rows(
        client,
        "SELECT toString(quantity), toString(price), toString(value), executed_at, findings FROM regulatory_records",
    )
    assert found[:3] == [decimal_text(10**38 - 1, 17), "-0.0000000000001", "0.12345"]
    assert findings == ["late"]


def test_views_show_what_was_decided(store: Store, client: Client) -> None:
    append(store, records(Topic.AUDIT_EVENTS, LEAVES))
    (decided,) = rows(
        client, "SELECT count(), countIf(decided_after_us = 3000), any(length(policy_sha256)) FROM verdicts"
    )
    assert decided == (45, 45, 64)
    (failed,) = rows(client, "SELECT countIf(place = 1), countIf(place = 2), uniqExact(reason) FROM failed_checks")
    (rejected,) = rows(client, "SELECT countIf(decision = 'REJECTED') FROM verdicts")
    assert failed == (rejected[0], rejected[0], 2)


def test_every_statement_for_a_server_is_one(store: Store, client: Client) -> None:
    assert store
    for path in resource("infra/clickhouse").rglob("*.sql"):
        for statement in path.read_text().split(";\n"):
            if statement.strip():
                assert client.query("SELECT formatQuery({sql:String})", {"sql": statement}).result_rows


def test_the_writer_may_insert_into_every_table() -> None:
    roles = resource("infra/clickhouse/roles.sql").read_text()
    for table in TABLES:
        assert f"GRANT INSERT ON portcullis.{table.name} TO portcullis_writer" in roles
        assert f"kafka_offset) ON portcullis.{table.name} TO portcullis_writer" in roles


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WarehouseUnavailableError, match="file"):
        connect(f"chdb://{tmp_path}/file/warehouse")


def test_a_server_that_is_not_there_is_said_so_without_its_password() -> None:
    with pytest.raises(WarehouseUnavailableError) as caught:
        connect("clickhouse://writer:hunter2@127.0.0.1:1/portcullis")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


ALERT = {
    "alert_id": "a",
    "severity": "INFO",
    "kind": "NONE",
    "agent_id": "bot",
    "symbol": "",
    "message": "m",
    "cause_time": START_US,
    "raised_at": START_US,
}
TRANSACTION = {
    **dict.fromkeys(("record_id", "agent_id", "operator", "operator_regulator_id", "cl_ord_id", "order_id"), "x"),
    **dict.fromkeys(("exec_id", "event", "symbol", "dti", "mic", "side", "currency", "trading_capacity"), "x"),
    "approval_partition": 0,
    "approval_log_index": 1,
    "policy_sha256": bytes(32),
    "approved_at": START_US,
    "executed_at": START_US,
    "findings": ["late"],
}
