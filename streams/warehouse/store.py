"""The warehouse's store: tables made from `infra/clickhouse/`, and blocks appended exactly once.

ClickHouse has no transaction over tables, so what was stored is read from the rows themselves: each has its place in
Kafka, and a partition's rows are stored in the order of their offsets. A block goes in as one part, whole or not at
all, under a token that names the row it comes after. Two blocks with one token cannot both go in, whoever sends them
and however late: so a block is sent again when nobody knows what became of it, and two sinks cannot store a row twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.core.errors import PortcullisError
from streams.warehouse.connection import connect, run_scripts
from streams.warehouse.rows import encode_block
from streams.warehouse.tables import TABLES, UNREADABLE_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streams.warehouse.rows import Block
    from streams.warehouse.tables import Table

T = TypeVar("T")

_log = structlog.get_logger(__name__)

BLOCK_ROWS_MAX: Final = 100_000
# A block becomes one part only if the server does not cut it, so these pass every block that is sent.
_INSERT_SETTINGS: Final[Mapping[str, object]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": BLOCK_ROWS_MAX,
    "min_insert_block_size_rows": BLOCK_ROWS_MAX,
    "min_insert_block_size_bytes": 0,
}
# What the server says of bytes that are no rows, whoever sends them and however often. All else is its own trouble,
# which passes or is mended by people. Code 1001 is any C++ exception: its text must tell that the Avro reader threw it.
_UNREADABLE_CODES: Final = frozenset({117, 321, 395})
_CPP_EXCEPTION_CODE: Final = 1001
_RETRY_FIRST_S: Final = 0.1
_RETRY_MAX_S: Final = 10.0
# A crash between the token and the rows costs one token; so many crashes on one block are something else.
_TOKENS_PER_BLOCK: Final = 100


class Client(Protocol):
    """What the store asks of a ClickHouse client."""

    def raw_insert(
        self,
        table: str,
        column_names: Sequence[str] | None = ...,
        insert_block: bytes | None = ...,
        settings: dict[str, Any] | None = ...,
        fmt: str | None = ...,
    ) -> object:
        """Insert a file's rows."""

    def query(self, query: str, parameters: dict[str, Any] | None = ...) -> Any:  # noqa: ANN401 - the driver's result
        """Return a result with ``result_rows``."""

    def close(self) -> None:
        """Close the connection."""


class StoreError(PortcullisError):
    """The rows in the warehouse are not what was sent, or records came out of order: stop and look."""


class UnreadableBlockError(PortcullisError):
    """The warehouse cannot read a block's bytes as rows of its table."""


class DisplacedError(PortcullisError):
    """Somebody else has stored rows where a block belongs; go on from what is stored now."""


class Store:
    """Append blocks; remember where each partition's rows end.

    ``pause`` waits between tries (seconds) and may raise to give up.
    """

    def __init__(self, client: Client, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._pause = pause
        self._columns = {table.name: self._insertable(table) for table in TABLES}
        self._last: dict[tuple[str, int], int] = {}
        self._read_positions()

    @classmethod
    def open(cls, dsn: str, *, pause: Callable[[float], None] = time.sleep) -> Self:
        """Connect, and make the tables that are not there."""
        client = connect(dsn)
        run_scripts(client)
        return cls(client, pause=pause)

    def close(self) -> None:
        """Let go of the warehouse; an embedded one may then be opened by another process."""
        self._client.close()

    def last(self, topic: str, partition: int) -> int:
        """Return the offset of the last record stored, -1 if there is none."""
        return self._last.get((topic, partition), -1)

    def append(self, block: Block) -> None:
        """Store a block after the rows of its partition; retries for as long as the warehouse is down.

        Raises:
            UnreadableBlockError: nothing is stored, the bytes are no rows of this table.
            DisplacedError: nothing is stored, somebody else has stored what comes after the rows known to us.
            StoreError: the block does not follow what is stored.
        """
        record = block.records[0]
        after = self.last(record.topic, record.partition)
        _require_order(block, after)
        payload = encode_block(block)
        for attempt in range(_TOKENS_PER_BLOCK):
            self._insert(block.table, payload, f"{record.topic}/{record.partition}/{after}/{attempt}")
            rows, last = self._rows_after(block, after)
            if (rows, last) == (len(block.records), block.last):
                self._last[record.topic, record.partition] = last
                return
            if rows:
                self._read_positions()
                raise DisplacedError(
                    f"{record.topic}/{record.partition}: {rows} rows after {after} that we did not send"
                )
            _log.warning("token without rows, a crash took them", topic=record.topic, after=after, attempt=attempt)
        raise StoreError(f"{record.topic}/{record.partition}: {_TOKENS_PER_BLOCK} tries stored nothing after {after}")

    def _insert(self, table: Table, payload: bytes, token: str) -> None:
        settings = {**_INSERT_SETTINGS, "insert_deduplication_token": token}
        columns = self._columns[table.name]

        def insert() -> None:
            self._client.raw_insert(table.name, columns, payload, settings, "Avro")

        self._persist(insert)

    def _rows_after(self, block: Block, after: int) -> tuple[int, int]:
        """Return how many rows of the partition the block's table has after this offset, and the last one's offset."""
        record = block.records[0]
        where = "kafka_partition = {partition:Int32} AND kafka_offset > {after:Int64}"
        if block.table is UNREADABLE_RECORDS:
            where += " AND topic = {topic:String}"
        sql = f"SELECT count(), max(kafka_offset) FROM {block.table.name} WHERE {where}"  # noqa: S608 - our own names
        parameters = {"partition": record.partition, "after": after, "topic": record.topic}
        rows: list[tuple[int, int]] = self._persist(lambda: self._client.query(sql, parameters).result_rows)
        return rows[0]

    def _read_positions(self) -> None:
        rows = self._persist(lambda: self._client.query("SELECT topic, kafka_partition, last_offset FROM positions"))
        self._last = {(topic, partition): last for topic, partition, last in rows.result_rows}

    def _insertable(self, table: Table) -> list[str]:
        sql = (
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
            " AND default_kind IN ('', 'EPHEMERAL') ORDER BY position"
        )
        rows = self._persist(lambda: self._client.query(sql, {"table": table.name}).result_rows)
        return [name for (name,) in rows]

    def _persist(self, action: Callable[[], T]) -> T:
        """Do something until the warehouse answers; meanwhile the caller is held back."""
        wait_s = _RETRY_FIRST_S
        while True:
            try:
                return action()
            except ClickHouseError as error:
                if _is_unreadable(error):
                    raise UnreadableBlockError(_first_line(error)) from None
                _log.warning("the warehouse does not answer", error=_first_line(error), retry_in_s=wait_s)
            self._pause(wait_s)
            wait_s = min(2 * wait_s, _RETRY_MAX_S)


def _require_order(block: Block, after: int) -> None:
    """Check that offsets grow from record to record, from what is stored on."""
    for record in block.records:
        if record.offset <= after:
            raise StoreError(f"{record.topic}/{record.partition}: offset {record.offset} after {after}")
        after = record.offset
    if len(block.records) >= BLOCK_ROWS_MAX:
        raise StoreError(f"block of {len(block.records)} rows: fewer than {BLOCK_ROWS_MAX} required")


def _is_unreadable(error: ClickHouseError) -> bool:
    code = getattr(error, "code", None)
    return code in _UNREADABLE_CODES or (code == _CPP_EXCEPTION_CODE and "avro::Exception" in str(error))


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]
