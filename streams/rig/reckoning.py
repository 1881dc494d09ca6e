"""The reckoning of a run: every order decided again, every log rebuilt, every row of the warehouse compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.audit.verify import verify_log
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.sim.oracle import judge
from streams.sim.oracle_history import History
from streams.warehouse.columns import differences, expected_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clickhouse_connect.driver.client import Client

    from streams.kafka.reading import Stored
    from streams.rig.stage import Stage

_PROBLEMS_MAX: Final = 20
# Rules of the oracle that have a key of their own in the result; all others are its mismatches.
_LIMIT_RULES: Final = frozenset(("2 daily limit",))
_LOG_RULES: Final = frozenset(("log partition", "log index", "bot sequence", "3 logged verdict"))
_ROW_RULES: Final = frozenset(("6 warehouse",))
_JUDGED: Final = (
    Topic.ORDERS_REQUESTED,
    Topic.ORDERS_APPROVED,
    Topic.ORDERS_REJECTED,
    Topic.ORDERS_DEAD_LETTER,
    Topic.TRADES_EXECUTED,
    Topic.AGENTS_REGISTRY,
    Topic.AGENTS_COMMANDS,
    Topic.AUDIT_EVENTS,
)


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What one partition's whole history says."""

    orders: int
    limit_breaches: int
    log_forks: int
    row_mismatches: int
    oracle_mismatches: int
    problems: tuple[str, ...]


def reckon(stage: Stage, warehouse: Client, partition: int, kept: Iterable[Stored]) -> Reckoning:
    """Judge one partition, in which a bot's whole life is; `kept`: all records of the topics that are compacted."""
    settings, prefix = stage.settings, stage.settings.topic_prefix
    servers, security = settings.kafka_bootstrap_servers, settings.kafka_security
    records = read_all(servers, [stage.topic(topic) for topic in _JUDGED], security, partition=partition)
    rows, wrong_rows = _rows(warehouse, partition)
    history = History.of([*records, *kept], prefix=prefix, rows=rows)
    judged = judge(history, mismatches_max=_PROBLEMS_MAX)
    notes = read_all(servers, [stage.topic(Topic.AUDIT_CHECKPOINTS)], security, partition=partition)
    report = verify_log(
        (record.value or b"" for record in history.read(Topic.AUDIT_EVENTS)),
        (note.value for note in notes),
        stage.verifiers(),
        origin=f"{settings.log_origin}/{partition}",
    )
    forks = [f"log {partition}: {problem.kind.value}: {problem.detail}" for problem in report.problems]
    counts = Counter(judged.counts)
    limits, logs, row_counts = (sum(counts.pop(rule, 0) for rule in r) for r in (_LIMIT_RULES, _LOG_RULES, _ROW_RULES))
    return Reckoning(
        orders=judged.orders,
        limit_breaches=limits,
        log_forks=logs + len(report.problems) + report.omitted,
        row_mismatches=row_counts + len(wrong_rows),
        oracle_mismatches=counts.total(),
        problems=(*map(str, judged.mismatches), *forks[:_PROBLEMS_MAX], *wrong_rows[:_PROBLEMS_MAX]),
    )


def differing_rows(warehouse: Client, partition: int, leaves: Mapping[int, bytes]) -> int:
    """Return how many rows of a log are missing, too many or different, up to the last of these leaves.

    `leaves`: leaf hash by offset in `audit.events`.
    """
    found = warehouse.query(
        "SELECT kafka_offset, hex(SHA256(concat(char(0), leaf))) FROM audit_events"
        " WHERE kafka_partition = {partition:Int32} AND kafka_offset <= {last:Int64}",
        {"partition": partition, "last": max(leaves, default=-1)},
    )
    expected = dict(leaves)
    wrong = sum(expected.pop(offset, b"") != bytes.fromhex(digest) for offset, digest in found.result_rows)
    return wrong + len(expected)


def _rows(warehouse: Client, partition: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a log's rows as the oracle compares them, and those whose columns their leaf contradicts."""
    rows, wrong = [], []
    for leaf, columns in read_rows(warehouse, partition):
        rows.append({"kafka_partition": partition, "log_index": columns["log_index"], "leaf": leaf})
        names = differences(expected_row(leaf), columns)
        if names:
            wrong.append(f"row of log {partition} leaf {columns['log_index']}: {', '.join(names)} differ")
    return rows, wrong
