"""The warehouse at the end of a run: everything committed is stored, and every row says what its leaf says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from streams.warehouse.columns import differences, expected_row, read_rows
from streams.warehouse.sink import SinkOptions, open_sink, read_ends

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.settings import Settings


def store_the_rest(settings: Settings) -> None:
    """Store what the warehouse process has not stored; the caller has stopped it, as one process owns a folder."""
    options = SinkOptions(
        settings.kafka_bootstrap_servers, settings.topic_prefix, security=settings.kafka_security, flush_ms=50
    )
    consumer = options.consumer()
    try:
        ends = read_ends(consumer, options)
    finally:
        consumer.close()
    with open_sink(settings.warehouse, options, threading.Event()) as sink:
        sink.drain(ends)


def stored_events(warehouse: Client, partitions: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return each stored audit event's place and leaf, and a sentence for each row that its leaf contradicts."""
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for number in range(partitions):
        for leaf, columns in read_rows(warehouse, number):
            rows.append({"kafka_partition": number, "log_index": columns["log_index"], "leaf": leaf})
            wrong = differences(expected_row(leaf), columns)
            if wrong:
                problems.append(f"row of log {number} leaf {columns['log_index']}: {', '.join(wrong)} differ")
    return rows, problems
