"""The tally of a run: the cheap part of the invariants, kept while records arrive.

What it keeps per order is a few bytes, so a run of any length can be checked after each of its rounds. The oracle
decides everything again, once, at the end.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, verify_checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import Frontier, hash_leaf
from streams.core.orders import MONEY_SCALE, parse_decimal
from streams.core.windows import DAY_US
from streams.names import Topic
from streams.wire.avro import Schema, decode
from streams.wire.decisions import decode_verdict
from streams.wire.headers import SOURCE_OFFSET, find_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streams.kafka.reading import Stored
    from streams.wire.decisions import Verdict
    from streams.wire.note import Verifier

_VERDICT_EVENTS: Final = frozenset(("ORDER_APPROVED", "ORDER_REJECTED"))
_ORDER_EVENTS: Final = _VERDICT_EVENTS | {"ORDER_DEAD_LETTERED"}
_PROBLEMS_MAX: Final = 100


@dataclass(slots=True)
class Counts:
    """What was found wrong, and the first few of it in words."""

    duplicated: int = 0
    limit_breaches: int = 0
    log_forks: int = 0
    problems: list[str] = field(default_factory=list)

    def tell(self, problem: str) -> None:
        """Note a problem."""
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(problem)


class Marks:
    """Which offsets were seen, once each."""

    def __init__(self) -> None:
        self._seen = bytearray()

    def set(self, offset: int) -> bool:
        """Mark an offset; False where it was marked before."""
        if offset >= len(self._seen):
            self._seen.extend(bytes(offset + 1024 - len(self._seen)))
        before, self._seen[offset] = self._seen[offset], 1
        return not before

    def __contains__(self, offset: int) -> bool:
        """Say whether an offset was marked."""
        return 0 <= offset < len(self._seen) and self._seen[offset] == 1

    def missing(self, end: int) -> int:
        """Return how many offsets below `end` are not marked."""
        return end - self._seen.count(1, 0, end)

    def first_missing(self, end: int) -> int | None:
        """Return the lowest offset below `end` that is not marked."""
        found = self._seen.find(0, 0, end)
        if found < 0:
            return len(self._seen) if len(self._seen) < end else None
        return found


class LogTally:
    """One partition's log: leaves and checkpoints, whichever arrive first."""

    def __init__(self, verifiers: Sequence[Verifier], counts: Counts) -> None:
        self.rows: dict[int, bytes] = {}
        """Offset in `audit.events` → leaf hash."""
        self.orders = 0
        """How many of the leaves are verdicts."""
        self._verifiers = verifiers
        self._counts = counts
        self._frontier = Frontier()
        self._leaves: deque[bytes] = deque()
        self._heads: deque[tuple[str, Checkpoint]] = deque()

    @property
    def size(self) -> int:
        """Return how many leaves there are."""
        return len(self.rows)

    @property
    def unproven(self) -> int:
        """Return how many leaves no checkpoint covers yet, or the other way round."""
        return len(self._leaves) + len(self._heads)

    def leaf(self, record: Stored, log_index: int) -> None:
        """Take a leaf."""
        if log_index != self.size:
            self._fork(record, f"leaf index {log_index}, {self.size} expected")
        digest = hash_leaf(record.value)
        self.rows[record.offset] = digest
        self._leaves.append(digest)
        self._prove()

    def checkpoint(self, record: Stored) -> None:
        """Take a checkpoint."""
        place = f"{record.topic}-{record.partition}@{record.offset}"
        try:
            head = verify_checkpoint(record.value, self._verifiers)
        except PortcullisError as error:
            self._fork(record, str(error))
            return
        self._heads.append((place, head))
        self._prove()

    def _prove(self) -> None:
        """Compare every checkpoint whose leaves are all there with the tree built from them."""
        while self._heads and self._heads[0][1].size <= self._frontier.size + len(self._leaves):
            place, head = self._heads.popleft()
            more = head.size - self._frontier.size
            self._frontier = self._frontier.extend(self._leaves.popleft() for _ in range(max(more, 0)))
            if more < 0 or head.root != self._frontier.root():
                self._counts.log_forks += 1
                self._counts.tell(f"{place}: checkpoint of size {head.size} is not that of the leaves")

    def _fork(self, record: Stored, text: str) -> None:
        self._counts.log_forks += 1
        self._counts.tell(f"{record.topic}-{record.partition}@{record.offset}: {text}")


class Tally:
    """All partitions: what was asked, answered and logged."""

    def __init__(self, verifiers: Sequence[Verifier], *, prefix: str = "") -> None:
        self.counts = Counts()
        self.requested: Counter[int] = Counter()
        self.approved = 0
        self.answered: defaultdict[int, Marks] = defaultdict(Marks)
        self.logged: defaultdict[int, Marks] = defaultdict(Marks)
        self.logs: defaultdict[int, LogTally] = defaultdict(lambda: LogTally(verifiers, self.counts))
        self._prefix = prefix
        self._limits_e5: dict[str, int] = {}
        self._spent_e5: Counter[tuple[str, int]] = Counter()
        self._take: dict[Topic, Callable[[Stored], int | None]] = {
            Topic.ORDERS_REQUESTED: self._request,
            Topic.ORDERS_APPROVED: self._verdict,
            Topic.ORDERS_REJECTED: self._verdict,
            Topic.ORDERS_DEAD_LETTER: self._dead_letter,
            Topic.AUDIT_EVENTS: self._event,
            Topic.AUDIT_CHECKPOINTS: lambda record: self.logs[record.partition].checkpoint(record),
        }

    def take(self, record: Stored) -> int | None:
        """Take the next record of a partition; return its decision time where it is a verdict (microseconds UTC)."""
        return self._take[Topic(record.topic.removeprefix(self._prefix))](record)

    def unanswered(self, ends: Mapping[int, int]) -> int:
        """Return how many orders before these ends (partition → offset) have no verdict, or no audit event."""
        return sum(
            max(self.answered[partition].missing(end), self.logged[partition].missing(end))
            for partition, end in ends.items()
        )

    def first_unanswered(self, ends: Mapping[int, int]) -> str:
        """Return the place of an order that has no verdict, or no audit event."""
        for what, marks in (("verdict", self.answered), ("audit event", self.logged)):
            for partition, end in ends.items():
                offset = marks[partition].first_missing(end)
                if offset is not None:
                    return f"request {partition}/{offset} has no {what}"
        return "every order has its verdict"

    def _request(self, record: Stored) -> None:
        if record.offset != self.requested[record.partition]:
            self.counts.tell(f"{record.topic}-{record.partition}: offset {record.offset} after a gap")
        self.requested[record.partition] = record.offset + 1

    def _verdict(self, record: Stored) -> int:
        verdict = decode_verdict(record.value)
        self._answer(record, verdict.request_partition, verdict.request_offset)
        if verdict.approved:
            self.approved += 1
            self._spend(record, verdict)
        return verdict.decision_time_us

    def _dead_letter(self, record: Stored) -> None:
        self._answer(record, record.partition, int(find_header(record.headers, SOURCE_OFFSET)))

    def _answer(self, record: Stored, partition: int, offset: int) -> None:
        if partition != record.partition or not self.answered[partition].set(offset):
            self.counts.duplicated += 1
            self.counts.tell(
                f"{record.topic}-{record.partition}@{record.offset}: request {partition}/{offset} was answered before"
            )

    def _event(self, record: Stored) -> None:
        event = decode(Schema.AUDIT_EVENT, record.value)
        kind = event["event_type"]
        self.logs[record.partition].orders += kind in _VERDICT_EVENTS
        if kind in _ORDER_EVENTS and not self.logged[record.partition].set(event["source_offset"]):
            self.counts.duplicated += 1
            place = f"{record.topic}-{record.partition}@{record.offset}"
            self.counts.tell(f"{place}: request {event['source_offset']} has an event already")
        elif kind == "AGENT_REGISTERED":
            policy = json.loads(decode(Schema.AGENT_RECORD, event["subject"])["policy"])
            limit = parse_decimal(policy["scope"]["max_daily_value_eur"], MONEY_SCALE)
            self._limits_e5[event["agent_id"]] = limit
        self.logs[record.partition].leaf(record, event["log_index"])

    def _spend(self, record: Stored, verdict: Verdict) -> None:
        """Add an approved value to its bot's day, and hold the sum against the policy."""
        if verdict.order_value_e5 is None:
            return
        agent_id, day = verdict.agent_id, verdict.request_time_us // DAY_US
        self._spent_e5[agent_id, day] += verdict.order_value_e5
        spent_e5, limit_e5 = self._spent_e5[agent_id, day], self._limits_e5.get(agent_id)
        if limit_e5 is not None and spent_e5 > limit_e5:
            self.counts.limit_breaches += 1
            place = f"{record.topic}-{record.partition}@{record.offset}"
            self.counts.tell(f"{place}: {agent_id} was approved {spent_e5} e-5 EUR of {limit_e5} in a day")
