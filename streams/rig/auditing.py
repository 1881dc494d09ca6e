"""`audit verify`: the logs rebuilt from the topic and from the warehouse, held against what the logs have signed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from streams.audit.verify import verify_log
from streams.core.merkle import Frontier, hash_leaf
from streams.names import Topic
from streams.rig.reading import partitions_of, read_all, reader
from streams.warehouse.columns import differences, expected_row, read_rows
from streams.warehouse.logs import WarehouseLogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clickhouse_connect.driver.client import Client

    from streams.settings import Settings
    from streams.wire.note import Verifier

_PROBLEMS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was rebuilt, and everything that does not hold."""

    verified: bool
    logs: int
    leaves: int
    checkpoints: int
    warehouse_rows: int
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {name: getattr(self, name) for name in self.__slots__}


def verify_audit(settings: Settings, keys: Callable[[str], Verifier], warehouse: Client | None) -> AuditReport:
    """Rebuild every log of the cluster, and hold the warehouse's rows against it where there is one.

    `keys` gives the public key of a log's origin. Raises: KafkaException where the cluster does not answer.
    """
    servers, security = settings.require_cluster(), settings.kafka_security
    events, checkpoints = (settings.topic_prefix + topic for topic in (Topic.AUDIT_EVENTS, Topic.AUDIT_CHECKPOINTS))
    consumer = reader(servers, security)
    numbers = [number for _, number in partitions_of(consumer, [events])]
    consumer.close()
    problems: list[str] = []
    leaves = signed = rows = 0
    for number in numbers:
        origin = f"{settings.log_origin}/{number}"

        def stored(topic: str, number: int = number) -> Iterator[bytes]:
            return (record.value for record in read_all(servers, [topic], security, partition=number))

        report = verify_log(stored(events), stored(checkpoints), [keys(origin)], origin=origin)
        leaves, signed = leaves + report.leaves, signed + report.checkpoints
        problems += [f"log {number}: {problem.kind}: {problem.detail}" for problem in report.problems]
        if warehouse is not None:
            rows += _compare(number, stored(events), warehouse, problems)
            problems += _compare_checkpoints(number, stored(checkpoints), warehouse, len(numbers))
    return AuditReport(
        verified=not problems,
        logs=len(numbers),
        leaves=leaves,
        checkpoints=signed,
        warehouse_rows=rows,
        problems=tuple(problems[:_PROBLEMS_MAX]),
    )


def _compare(number: int, leaves: Iterator[bytes], warehouse: Client, problems: list[str]) -> int:
    """Hold a log's rows against its leaves, column by column; return how many rows there are."""
    count = 0
    ours, theirs = Frontier(), Frontier()
    for index, (leaf, row) in enumerate(zip_longest(leaves, read_rows(warehouse, number))):
        if row is None or leaf is None:
            where = "the warehouse" if row is None else "the topic"
            problems.append(f"log {number} leaf {index}: missing in {where}")
            count += row is not None
            continue
        count += 1
        ours, theirs = ours.append(hash_leaf(leaf)), theirs.append(hash_leaf(row[0]))
        if leaf != row[0]:
            problems.append(f"log {number} leaf {index}: the warehouse has another leaf")
            continue
        wrong = differences(expected_row(leaf), row[1])
        if wrong:
            problems.append(f"log {number} leaf {index}: the row's {', '.join(wrong)} are not the leaf's")
    if ours.root() != theirs.root():
        problems.append(f"log {number}: topic and warehouse have different trees")
    return count


def _compare_checkpoints(number: int, notes: Iterator[bytes], warehouse: Client, lanes: int) -> list[str]:
    stored = (note for _, note in WarehouseLogs(warehouse, lanes).checkpoints(number))
    pairs = enumerate(zip_longest(notes, stored))
    return [
        f"log {number} checkpoint {place}: not the same in topic and warehouse" for place, (a, b) in pairs if a != b
    ]
