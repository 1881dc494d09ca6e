"""Blocks as Avro files: what an ordinary Avro reader finds in them."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from streams.names import Topic
from streams.warehouse.rows import Block, Record, cut_blocks, encode_block
from streams.warehouse.tables import AUDIT_CHECKPOINTS, AUDIT_EVENTS, STORED_TOPICS, TABLES, UNREADABLE_RECORDS
from streams.wire.avro import Schema, decode, decode_body, encode, encode_body, prefix
from tests.made_log import make_log

LOG = make_log(2, 30)


ALERT = prefix(Schema.ALERT) + b"an alert"


def records(topic: str, values: list[bytes | None], partition: int = 2) -> list[Record]:
    return [Record(topic, partition, 10 + 2 * i, 1_000 + i, b"key", value) for i, value in enumerate(values)]


def read(block: Block) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(encode_block(block))))


def test_a_leaf_is_its_own_row() -> None:
    (block,) = cut_blocks([records(Topic.AUDIT_EVENTS, list(LOG.leaves))])
    assert block.table is AUDIT_EVENTS
    rows = read(block)
    assert [row["leaf"] for row in rows] == list(LOG.leaves)
    assert {row["kafka_partition"] for row in rows} == {2}
    assert [row["row_begin"] for row in rows] == [row["row_end"] for row in rows] == [10 + 2 * i for i in range(30)]


def test_verdict_and_order_are_opened() -> None:
    (block,) = cut_blocks([records(Topic.AUDIT_EVENTS, list(LOG.leaves))])
    for row, leaf in zip(read(block), LOG.leaves, strict=True):
        event = decode(Schema.AUDIT_EVENT, leaf)
        body = event["verdict"]
        if body is None:
            assert row["verdict"] is None
            continue
        verdict = decode_body(Schema.VERDICT, body)
        assert row["verdict"]["length_bytes"] == len(body)
        assert row["verdict"]["order"]["length_bytes"] == len(verdict["order"])
        assert row["verdict"]["cl_ord_id"] == verdict["cl_ord_id"]
        assert row["verdict"]["order"]["symbol"] == decode_body(Schema.ORDER, verdict["order"])["symbol"]


def test_checkpoints_say_what_they_say() -> None:
    (block,) = cut_blocks([records(Topic.AUDIT_CHECKPOINTS, list(LOG.notes))])
    assert block.table is AUDIT_CHECKPOINTS
    rows = read(block)
    assert [row["note"] for row in rows] == list(LOG.notes)
    assert [row["tree_size"] for row in rows] == [7, 14, 21, 28, 30]
    assert {row["origin"] for row in rows} == {LOG.origin}


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (Topic.AUDIT_EVENTS, None),
        (Topic.AUDIT_EVENTS, b""),
        (Topic.AUDIT_EVENTS, prefix(Schema.ORDER) + b"x"),
        (Topic.AUDIT_CHECKPOINTS, b"no note"),
        (Topic.RISK_ALERTS, b"\x00\x00"),
    ],
)
def test_what_no_table_takes_is_kept_as_it_is(topic: Topic, value: bytes | None) -> None:
    (block,) = cut_blocks([records(topic, [value])])
    assert block.table is UNREADABLE_RECORDS
    (row,) = read(block)
    assert (row["topic"], row["key"], row["value"]) == (topic, b"key", value)
    assert row["error"]


def test_blocks_follow_the_offsets_whatever_their_tables() -> None:
    manifest = encode(
        Schema.BATCH_MANIFEST,
        {"batch_id": "b", "range_from": 0, "range_to": 1, "records": 0, "manifest": b"{}", "signature": b"s"},
    )
    values = [manifest, manifest, None, b"junk", b"junk", manifest]
    blocks = list(cut_blocks([records(Topic.REPORTS_REGULATOR, values)]))
    assert [(block.table.name, len(block.records)) for block in blocks] == [
        ("batch_manifests", 2),
        ("unreadable_records", 1),
        ("unreadable_records", 2),
        ("batch_manifests", 1),
    ]
    assert [record for block in blocks for record in block.records] == records(Topic.REPORTS_REGULATOR, values)


def test_partitions_share_blocks_and_keep_their_order() -> None:
    one = records(Topic.RISK_ALERTS, [ALERT, None, ALERT], partition=1)
    two = records(Topic.RISK_ALERTS, [None, ALERT], partition=2)
    blocks = [(block.table.name, list(block.records)) for block in cut_blocks([one, two])]
    assert blocks == [
        ("alerts", [one[0]]),
        ("unreadable_records", [one[1], two[0]]),
        ("alerts", [one[2], two[1]]),
    ]
    assert Block(AUDIT_EVENTS, [*one, *two]).ends() == {("risk.alerts", 1): (3, 14), ("risk.alerts", 2): (2, 12)}


def test_rewriting_keeps_what_the_values_say() -> None:
    taken = records(Topic.AUDIT_EVENTS, list(LOG.leaves))
    assert read(Block(AUDIT_EVENTS, taken, rewritten=True)) == read(Block(AUDIT_EVENTS, taken))


def test_an_event_whose_verdict_cannot_be_read_keeps_its_row() -> None:
    event = decode(Schema.AUDIT_EVENT, LOG.leaves[0])
    leaf = prefix(Schema.AUDIT_EVENT) + encode_body(Schema.AUDIT_EVENT, {**event, "verdict": b"\xff\xff"})
    (row,) = read(Block(AUDIT_EVENTS, records(Topic.AUDIT_EVENTS, [leaf]), rewritten=True))
    assert (row["leaf"], row["verdict"], row["log_index"]) == (leaf, None, 0)


def test_every_stored_topic_has_its_tables() -> None:
    assert {table.topic for table in TABLES if table.topic} == set(STORED_TOPICS)
    assert len({table.name for table in TABLES}) == len(TABLES)
