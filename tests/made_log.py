"""Audit logs made for tests: events of every kind, their leaves as in the topic, and signed checkpoints."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.core.merkle import Frontier, hash_leaf
from streams.core.orders import Failure, MsgType, Order, OrdType, Side, TimeInForce
from streams.core.reasons import Reason
from streams.wire.avro import body_of
from streams.wire.decisions import (
    EVENT_TYPES,
    AuditEvent,
    ReferenceUsed,
    ScoreDetail,
    Verdict,
    encode_audit_head,
    encode_verdict_body,
)
from streams.wire.messages import encode_order
from streams.wire.note import Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

START_US = 1_767_225_600_000_000  # 2026-01-01 UTC
STEP_US = 1_000_000


@dataclass(frozen=True)
class MadeLog:
    """A partition's log: one event a second from 2026-01-01 on, one checkpoint for every seven leaves."""

    partition: int
    leaves: tuple[bytes, ...]

    @property
    def origin(self) -> str:
        return f"log.example/test/{self.partition}"

    @cached_property
    def signer(self) -> Signer:
        return Signer.from_seed(self.origin, bytes([self.partition + 1]) * 32)

    @cached_property
    def notes(self) -> tuple[bytes, ...]:
        """The signed checkpoints."""
        notes, tree = [], Frontier()
        for start in range(0, len(self.leaves), 7):
            tree = tree.extend(map(hash_leaf, self.leaves[start : start + 7]))
            notes.append(sign_checkpoint(Checkpoint(self.origin, tree.size, tree.root()), self.signer))
        return tuple(notes)


def make_log(partition: int, count: int) -> MadeLog:
    """Return the same log for the same arguments."""
    draw = random.Random(partition)
    return MadeLog(partition, tuple(make_leaf(draw, partition, index) for index in range(count)))


def make_logs(partitions: int, count: int) -> Sequence[MadeLog]:
    return [make_log(partition, count) for partition in range(partitions)]


def make_leaf(draw: random.Random, partition: int, index: int) -> bytes:
    """Return a leaf: three of four are about orders, the others about everything else."""
    is_order = index % 4 != 3
    event_type = EVENT_TYPES[draw.randrange(2)] if is_order else EVENT_TYPES[2 + index // 4 % 8]
    verdict = encode_verdict_body(make_verdict(draw, partition, index, event_type)) if is_order else None
    event = AuditEvent(
        event_type=event_type,
        agent_id=f"bot-{partition}-{index % 5}",
        agent_seq=index // 5 + 1 if index % 6 else None,
        log_index=index,
        partition=partition,
        event_time_us=START_US + index * STEP_US,
        clock_divergence_us=draw.randrange(-900, 900),
        clock_source="SYNCHRONISED within 2048 us",
        source_topic="orders.requested" if is_order else "risk.circuit-breakers",
        source_offset=index * 2,
        source_time_us=START_US + index * STEP_US - 3_000,
        subject=None if is_order else draw.randbytes(20),
        signature=None if is_order else draw.randbytes(70),
        signer=None if is_order else "Ann Example",
        score=ScoreDetail("robust-z/1", 0.5, {"rate": 0.25, "size": 0.25}) if index % 9 == 0 else None,
        state_before="ACTIVE",
        state_after="HALTED" if index % 11 == 0 else "ACTIVE",
        policy_sha256=None if is_order else bytes(32),
        authorised_by="9f" * 32,
        verified_by="gate/1",
        approved_by=None if is_order else "Bob Example",
        outcome="NONE",
        details={"note": "naïve ✓"} if index % 2 else {},
    )
    return encode_audit_head(event, None if verdict is None else len(verdict)) + (verdict or b"")


def make_verdict(draw: random.Random, partition: int, index: int, event_type: str) -> Verdict:
    order = make_order(draw, partition, index)
    approved = event_type == "ORDER_APPROVED"
    failures = (
        Failure(Reason.MAX_ORDER_VALUE_EXCEEDED, "10000.00000", "10000.00001", "EUR"),
        Failure(Reason.PRICE_COLLAR_EXCEEDED, "500", "500.0001", "BPS"),
    )
    return Verdict(
        agent_id=order.agent_id,
        cl_ord_id=order.cl_ord_id,
        approved=approved,
        reason=Reason.NONE if approved else failures[0].reason,
        failures=() if approved else failures,
        policy_sha256=draw.randbytes(32),
        reference=ReferenceUsed(650_001_230_000_000_000, START_US, 1, index) if index % 7 else None,
        order_value_e5=draw.randrange(10**12) if index % 7 else None,
        daily_value_e5=draw.randrange(10**15) if approved else None,
        score=draw.random() if index % 3 else None,
        request_partition=partition,
        request_offset=index * 2,
        request_time_us=START_US + index * STEP_US - 3_000,
        decision_time_us=START_US + index * STEP_US,
        log_index=index,
        order=body_of(encode_order(order)),
        signature=draw.randbytes(71) if index % 13 else None,
        certificate_sha256=draw.randbytes(32) if index % 13 else None,
    )


def make_order(draw: random.Random, partition: int, index: int) -> Order:
    is_limit = index % 2 == 0
    replaces = index % 5 == 4
    return Order(
        agent_id=f"bot-{partition}-{index % 5}",
        cl_ord_id=f"C{partition}-{index}",
        orig_cl_ord_id=f"C{partition}-{index - 1}" if replaces else None,
        msg_type=draw.choice(list(MsgType)[1:]) if replaces else MsgType.NEW_ORDER_SINGLE,
        symbol=draw.choice(["BTC_USDT", "ETH_USDT"]),
        ex_destination="XOFF",
        region="eu-west-1",
        side=draw.choice(list(Side)),
        ord_type=OrdType.LIMIT if is_limit else OrdType.MARKET,
        time_in_force=draw.choice(list(TimeInForce)),
        # The largest that Avro's decimal(38, 17) holds, zero, the smallest, and what a bot would ask.
        order_qty_e17=draw.choice([10**38 - 1, -(10**38) + 1, 0, 1, -1, 150_000_000_000_000_000]),
        price_e13=draw.randrange(10**18) if is_limit else None,
        transact_time_us=START_US + index * STEP_US - 5_000,
    )
