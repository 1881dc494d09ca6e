"""The warehouse's store: tables made from `infra/clickhouse/`, and blocks appended exactly once.

ClickHouse has no transaction over tables, so what was stored is read from the rows themselves: each has its place in
Kafka, and a partition's rows are stored in the order of their offsets. A block goes in as one part, whole or not at
all, under a token made of what the table held before it. Two blocks with one token cannot both go in, whoever sends
them and however late: so a block is sent again when nobody knows what became of it, and of two sinks that know the
same rows only one can add to them.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.core.errors import PortcullisError
from streams.warehouse.connection import connect, make_tables
from streams.warehouse.rows import encode_block
from streams.warehouse.tables import TABLES, UNREADABLE_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streams.warehouse.rows import Block
    from streams.warehouse.tables import Table

T = TypeVar("T")
# Partition (topic, number) → the offset of its last row.
Ends = dict[tuple[str, int], int]

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

    def query(self, query: str) -> Any:  # noqa: ANN401 - the driver's result
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
        self._ends = self._read_ends()

    @classmethod
    def open(cls, dsn: str, *, pause: Callable[[float], None] = time.sleep) -> Self:
        """Connect, and make the tables that are not there."""
        client = connect(dsn)
        make_tables(client)
        return cls(client, pause=pause)

    def close(self) -> None:
        """Let go of the warehouse; an embedded one may then be opened by another process."""
        self._client.close()

    def last(self, topic: str, partition: int) -> int:
        """Return the offset of the last record stored in any table, -1 if there is none."""
        return max(ends.get((topic, partition), -1) for ends in self._ends.values())

    def append(self, block: Block) -> None:
        """Store a block after the rows of its partitions; retries for as long as the warehouse is down.

        Raises:
            UnreadableBlockError: nothing is stored, the bytes are no rows of this table.
            DisplacedError: nothing is stored, the table has rows that we did not know of.
            StoreError: the block does not follow what is stored.
        """
        self._require_order(block)
        payload, sent, known = encode_block(block), block.ends(), self._ends[block.table.name]
        for attempt in range(_TOKENS_PER_BLOCK):
            self._insert(block.table, payload, f"{_digest(known)}/{attempt}")
            if self._rows_after(block.table, known) == sent:
                known.update({place: last for place, (_, last) in sent.items()})
                return
            ends = self._read_ends()
            if ends[block.table.name] != known:
                self._ends = ends
                raise DisplacedError(f"{block.table.name}: rows that we did not send")
            _log.warning("token without rows, a crash took them", table=block.table.name, attempt=attempt)
        raise StoreError(f"{block.table.name}: {_TOKENS_PER_BLOCK} tries stored nothing")

    def _require_order(self, block: Block) -> None:
        """Check that each partition's offsets grow from record to record, from what is stored on."""
        after: dict[tuple[str, int], int] = {}
        for record in block.records:
            place = record.topic, record.partition
            last = after[place] if place in after else self.last(*place)
            if record.offset <= last:
                raise StoreError(f"{record.topic}/{record.partition}: offset {record.offset} after {last}")
            after[place] = record.offset
        if len(block.records) >= BLOCK_ROWS_MAX:
            raise StoreError(f"block of {len(block.records)} rows: fewer than {BLOCK_ROWS_MAX} required")

    def _insert(self, table: Table, payload: bytes, token: str) -> None:
        settings = {**_INSERT_SETTINGS, "insert_deduplication_token": token}
        columns = self._columns[table.name]

        def insert() -> None:
            self._client.raw_insert(table.name, columns, payload, settings, "Avro")

        self._persist(insert)

    def _rows_after(self, table: Table, ends: Ends) -> dict[tuple[str, int], tuple[int, int]]:
        """Return of each partition how many rows come after these ends, and the last one's offset.

        All partitions, not only those of a block: what the table holds must be known to the last row.
        """
        topic = "topic" if table is UNREADABLE_RECORDS else f"'{table.topic}'"
        known = [f"{topic} = '{name}' AND kafka_partition = {number}" for name, number in ends]
        later = [f"({k} AND kafka_offset > {end})" for k, end in zip(known, ends.values(), strict=True)]
        later.append(f"NOT ({' OR '.join(known)})" if known else "true")
        sql = (
            f"SELECT {topic} AS name, kafka_partition, count(), max(kafka_offset) FROM {table.name}"  # noqa: S608 - ours
            f" WHERE {' OR '.join(later)} GROUP BY name, kafka_partition"
        )
        return {(name, number): (rows, last) for name, number, rows, last in self._query(sql)}

    def _read_ends(self) -> dict[str, Ends]:
        ends: dict[str, Ends] = {table.name: {} for table in TABLES}
        for table, topic, partition, last in self._query(
            "SELECT table_name, topic, kafka_partition, last_offset FROM positions"
        ):
            ends[table][topic, partition] = last
        return ends

    def _query(self, sql: str) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = self._persist(lambda: self._client.query(sql).result_rows)
        return rows

    def _insertable(self, table: Table) -> list[str]:
        sql = (
            "SELECT name FROM system.columns WHERE database = currentDatabase()"  # noqa: S608 - our own names
            f" AND table = '{table.name}' AND default_kind IN ('', 'EPHEMERAL') ORDER BY position"
        )
        return [name for (name,) in self._query(sql)]

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


def _digest(ends: Ends) -> str:
    """Return a name for what a table holds."""
    return sha256(repr(sorted(ends.items())).encode()).hexdigest()


def _is_unreadable(error: ClickHouseError) -> bool:
    code = getattr(error, "code", None)
    return code in _UNREADABLE_CODES or (code == _CPP_EXCEPTION_CODE and "avro::Exception" in str(error))


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]
