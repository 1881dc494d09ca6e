"""The audit logs as the warehouse has them: leaves and checkpoints, in the logs' order, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.warehouse.tables import AUDIT_CHECKPOINTS, AUDIT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clickhouse_connect.driver.client import Client


class WarehouseLogs:
    """Reads the logs of one warehouse; `lanes` is how many there are, with events or without."""

    def __init__(self, client: Client, lanes: int) -> None:
        self._client = client
        self._lanes = lanes

    def partitions(self) -> list[int]:
        """Return the numbers of the logs."""
        return list(range(self._lanes))

    def leaves(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield event time (microseconds UTC) and leaf of each event of a log."""
        yield from self._rows("toUnixTimestamp64Micro(event_time), leaf", AUDIT_EVENTS.name, partition)

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield tree size and signed note of each checkpoint of a log."""
        yield from self._rows("tree_size, note", AUDIT_CHECKPOINTS.name, partition)

    def _rows(self, columns: str, table: str, partition: int) -> Iterator[tuple[int, bytes]]:
        sql = (
            f"SELECT {columns} FROM {table}"  # noqa: S608 - our own names
            " WHERE kafka_partition = {partition:Int32} ORDER BY kafka_partition, kafka_offset"
        )
        formats = {"String": "bytes"}
        with self._client.query_row_block_stream(sql, {"partition": partition}, query_formats=formats) as blocks:
            for block in blocks:
                yield from block
