"""The oracle: decides every message of a run again, from what anybody can read, and says where the product was wrong.

It shares no code with the gate. Per partition it walks the audit log in its order, keeps each bot's whole past in plain
lists, and compares every verdict with its own; then it checks what must hold between the topics. The numbers of the
invariants are those of the design page. Source: TigerBeetle's auditor.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, localcontext
from typing import TYPE_CHECKING, Final

from streams.names import Topic
from streams.sim.oracle_history import Findings, read_leaves, read_quote
from streams.sim.oracle_lane import Known, Lane, World
from streams.sim.oracle_topics import Sums, check_topics
from streams.wire.avro import DecodeError, Schema, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.sim.oracle_case import Quote
    from streams.sim.oracle_history import History, Leaf, Mismatch, Place
    from streams.sim.oracle_lane import Markets

_DIGITS: Final = 400  # products of three 38-digit decimals stay exact
_MISMATCHES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class OracleReport:
    """What the oracle found: `orders` decided again, and how many mismatches of each rule there are."""

    orders: int
    approved: int
    mismatches: tuple[Mismatch, ...]
    counts: dict[str, int]

    @property
    def mismatches_total(self) -> int:
        """Return the number of mismatches, also of those that are not listed."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        head = f"{self.orders} orders, {self.approved} approved, {self.mismatches_total} mismatches"
        return "\n".join((head, *map(str, self.mismatches)))


def judge(history: History, *later: History, mismatches_max: int = _MISMATCHES_MAX) -> OracleReport:
    """Decide every message of a history again and check what must hold between its topics.

    `later` are the histories of the lanes that followed when their number changed, the oldest first: what the lanes
    before knew of a bot, those after must know.

    Lists at most `mismatches_max` mismatches and counts the rest. A decision that is wrong is one mismatch and no more:
    what follows is held against what should have been decided.
    """
    findings, sums, known = Findings(mismatches_max), Sums(), Known()
    walked: list[Lane] = []
    with localcontext(Context(prec=_DIGITS)):
        for one in (history, *later):
            leaves = read_leaves(one.read(Topic.AUDIT_EVENTS), findings)
            lanes = _walk(one, leaves, findings, known)
            check_topics(one, leaves, findings, sums)
            known = Known.of(lanes)
            walked += lanes
    return OracleReport(
        orders=sum(lane.orders for lane in walked),
        approved=sum(lane.approved for lane in walked),
        mismatches=tuple(findings.mismatches),
        counts=dict(findings.counts),
    )


def _walk(history: History, leaves: Sequence[Leaf], findings: Findings, known: Known) -> list[Lane]:
    """Walk every log of a history; return its lanes as they are at the end."""
    requests = {(r.partition, r.offset): r for r in history.read(Topic.ORDERS_REQUESTED)}
    world = World(history, findings, _quotes(history), requests, _market_breakers(history))
    lanes: dict[int, Lane] = {}
    for leaf in leaves:
        partition = leaf.record.partition
        lane = lanes.get(partition)
        if lane is None:
            lane = lanes[partition] = Lane(partition, world, known)
        lane.take(leaf)
    return list(lanes.values())


def _quotes(history: History) -> dict[Place, tuple[str, Quote]]:
    """Return every reference price that can be read, by its place."""
    quotes = {}
    for record in history.read(Topic.MARKETS_REFERENCE):
        try:
            quotes[record.partition, record.offset] = read_quote(record.value or b"")
        except DecodeError:
            continue  # a price that was withdrawn or garbled: no verdict may name it
    return quotes


def _market_breakers(history: History) -> Markets:
    """Return each market's breaker events: when, by which writer, and the state after it."""
    markets: Markets = {}
    for record in history.read(Topic.RISK_CIRCUIT_BREAKERS):
        try:
            event = decode(Schema.BREAKER_EVENT, record.value or b"")
        except DecodeError:
            continue  # what others garbled
        if event["scope"] == "MARKET":
            lane, number, _ = (*event["event_id"].split("-", 2), "", "", "")[:3]
            writer = number if lane == "lane" else ""
            markets.setdefault(event["target"], []).append((record.timestamp_us, writer, event["state"]))
    for events in markets.values():
        events.sort(key=lambda event: event[0])  # each writer's own stay in their order
    return markets
