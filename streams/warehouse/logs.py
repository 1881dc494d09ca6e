"""The audit logs as the warehouse has them: leaves and checkpoints, in the logs' order, streamed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from streams.warehouse.tables import AUDIT_CHECKPOINTS, AUDIT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from clickhouse_connect.driver.client import Client


class WarehouseLogs:
    """Reads the logs of one warehouse; `lanes` is how many there are, with events or without."""

    def __init__(self, client: Client, lanes: int) -> None:
        self._client = client
        self._lanes = lanes

    def partitions(self) -> list[int]:
        """Return the numbers of the logs."""
        return list(range(self._lanes))

    def places(self, partition: int, from_us: int, to_us: int) -> tuple[int, int]:
        """Return the first leaf of a log in a time range and the one after the last.

        Where none is in it, twice the place after the last leaf that is before it.
        """
        sql = (
            "SELECT countIf(time >= {from_us:Int64} AND time < {to_us:Int64}),"  # noqa: S608 - our own names
            " minIf(log_index, time >= {from_us:Int64} AND time < {to_us:Int64}),"
            " maxIf(log_index, time >= {from_us:Int64} AND time < {to_us:Int64}) + 1,"
            " if(countIf(time < {from_us:Int64}) = 0, 0, maxIf(log_index, time < {from_us:Int64}) + 1)"
            " FROM (SELECT log_index, toUnixTimestamp64Micro(event_time) AS time"
            f" FROM {AUDIT_EVENTS.name} WHERE kafka_partition = {{partition:Int32}})"
        )
        wanted = {"partition": partition, "from_us": from_us, "to_us": to_us}
        ((count, first, end, after),) = self._client.query(sql, wanted).result_rows
        return (first, end) if count else (after, after)

    def leaves(self, partition: int) -> Generator[bytes, None, None]:
        """Yield the leaves of a log."""
        with closing(self._rows("leaf", AUDIT_EVENTS.name, partition)) as rows:
            for (leaf,) in rows:
                yield leaf

    def registrations(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield index and leaf of each registration that a log has."""
        condition = " AND event_type = 'AGENT_REGISTERED'"
        yield from self._rows("log_index, leaf", AUDIT_EVENTS.name, partition, condition)

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield tree size and signed note of each checkpoint of a log."""
        yield from self._rows("tree_size, note", AUDIT_CHECKPOINTS.name, partition)

    def _rows(
        self, columns: str, table: str, partition: int, condition: str = ""
    ) -> Generator[tuple[Any, ...], None, None]:
        sql = (
            f"SELECT {columns} FROM {table}"  # noqa: S608 - our own names
            f" WHERE kafka_partition = {{partition:Int32}}{condition} ORDER BY kafka_partition, kafka_offset"
        )
        formats = {"String": "bytes"}
        with self._client.query_row_block_stream(sql, {"partition": partition}, query_formats=formats) as blocks:
            for block in blocks:
                yield from block
