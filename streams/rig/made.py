"""A made log of any length, with real leaves, tree and signatures: what batches are measured with.

Orders, refusals and trades of twenty bots on two markets, as lanes would have written them, a checkpoint for every so
many leaves. The same numbers give the same logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.core.executions import ExecType, ExecutionReport
from streams.core.merkle import Frontier, hash_leaf
from streams.core.orders import Failure, MsgType, Order, OrdType, Side, TimeInForce
from streams.core.reasons import Reason
from streams.reports.layout import pack_items, read_items, write_item
from streams.wire.avro import body_of
from streams.wire.decisions import AuditEvent, ReferenceUsed, Verdict, encode_audit_head, encode_verdict_body
from streams.wire.executions import encode_execution_report
from streams.wire.messages import encode_order
from streams.wire.note import Signer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import BinaryIO

ORIGIN: Final = "made.example/log"
START_US: Final = 1_767_225_600_000_000  # 2026-01-01 UTC
_STEP_US: Final = 2_000
_CHECKPOINT_LEAVES: Final = 500
# Of five leaves three are approvals, one is a refusal, one a trade.
_KINDS: Final = 5
_MARKETS: Final = (("BTC_USDT", "4H95J0R2X", 61_234_560_000_000_000), ("ETH_USDT", "X9J9K872S", 2_650_120_000_000_000))
_BOTS: Final = tuple(f"bot-{number:02d}" for number in range(20))
_LEI: Final = "PORTCULLISDEMO000038"


@dataclass(frozen=True, slots=True)
class MadeLogs:
    """Made logs in a folder; a source of batches."""

    folder: Path
    lanes: int
    leaves_each: int

    def write(self) -> None:
        """Make the logs: leaves and signed checkpoints, one file each for a log."""
        for number in range(self.lanes):
            with self._file(number, "leaves").open("wb") as leaves, self._file(number, "notes").open("wb") as notes:
                self._write_log(number, leaves, notes)

    def _write_log(self, partition: int, leaves: BinaryIO, notes: BinaryIO) -> None:
        rng = Random(partition)  # noqa: S311 - test data
        tree, signer = Frontier(), log_signer(partition)
        for start in range(0, self.leaves_each, _CHECKPOINT_LEAVES):
            end = min(start + _CHECKPOINT_LEAVES, self.leaves_each)
            made = [_leaf(partition, index, rng) for index in range(start, end)]
            tree = tree.extend(map(hash_leaf, made))
            leaves.write(pack_items(made))
            write_item(notes, sign_checkpoint(Checkpoint(f"{ORIGIN}/{partition}", tree.size, tree.root()), signer))

    def _file(self, partition: int, kind: str) -> Path:
        return self.folder / f"{partition}.{kind}"

    def partitions(self) -> list[int]:
        """Return the numbers of the logs."""
        return list(range(self.lanes))

    def places(self, partition: int, from_us: int, to_us: int) -> tuple[int, int]:  # noqa: ARG002 - logs are alike
        """Return the first leaf of a log in a time range and the one after the last."""
        first, last = (-(-(moment - START_US) // _STEP_US) for moment in (from_us, to_us))
        return max(0, min(first, self.leaves_each)), max(0, min(last, self.leaves_each))

    def leaves(self, partition: int) -> Generator[bytes, None, None]:
        """Yield the leaves of a log."""
        yield from read_items(self._file(partition, "leaves"))

    def registrations(self, partition: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - there are none
        """Yield nothing: nobody registers here."""
        yield from ()

    def checkpoints(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield tree size and signed note of each checkpoint of a log."""
        for number, note in enumerate(read_items(self._file(partition, "notes")), 1):
            yield min(number * _CHECKPOINT_LEAVES, self.leaves_each), note


def log_signer(partition: int) -> Signer:
    """Return a made log's signer."""
    return Signer.from_seed(f"{ORIGIN}/{partition}", bytes([partition + 1]) * 32)


def _leaf(partition: int, index: int, rng: Random) -> bytes:
    kind = index % _KINDS
    event_us = START_US + index * _STEP_US
    bot = _BOTS[rng.randrange(len(_BOTS))]
    symbol, dti, price_e13 = _MARKETS[rng.randrange(len(_MARKETS))]
    price_e13 += rng.randrange(-10_000, 10_000) * 10**11
    own_id = f"{bot}-{partition}-{index}"
    if kind == _KINDS - 1:
        return _trade(partition, index, bot, own_id, (symbol, dti, price_e13), rng)
    order = Order(
        bot,
        own_id,
        None,
        MsgType.NEW_ORDER_SINGLE,
        symbol,
        "XOFF",
        "eu-west-1",
        rng.choice((Side.BUY, Side.SELL)),
        OrdType.LIMIT,
        TimeInForce.DAY,
        rng.randrange(1, 500) * 10**14,
        price_e13,
        event_us - rng.randrange(3_000, 9_000),
    )
    return _decided(partition, index, order, rng, approved=kind != 0)


def _decided(partition: int, index: int, order: Order, rng: Random, *, approved: bool) -> bytes:
    event_us = START_US + index * _STEP_US
    failure = Failure(
        Reason.MAX_ORDER_VALUE_EXCEEDED, "1000.00000", f"{rng.randrange(10**8, 10**9) / 10**5:.5f}", "EUR"
    )
    verdict = encode_verdict_body(
        Verdict(
            agent_id=order.agent_id,
            cl_ord_id=order.cl_ord_id,
            approved=approved,
            reason=Reason.NONE if approved else failure.reason,
            failures=() if approved else (failure,),
            policy_sha256=bytes([len(order.agent_id)]) * 32,
            reference=ReferenceUsed(order.price_e13 or 0, event_us, 0, index),
            order_value_e5=rng.randrange(10**5, 10**8),
            daily_value_e5=index * 10**5,
            score=0.125,
            request_partition=partition,
            request_offset=index,
            request_time_us=(event_us - 2_000) // 1000 * 1000,
            decision_time_us=event_us,
            log_index=index,
            order=body_of(encode_order(order)),
            signature=rng.randbytes(71),
            certificate_sha256=bytes([7]) * 32,
        )
    )
    event = _event("ORDER_APPROVED" if approved else "ORDER_REJECTED", partition, index, order.agent_id)
    return encode_audit_head(event, len(verdict)) + verdict


def _trade(partition: int, index: int, bot: str, own_id: str, market: tuple[str, str, int], rng: Random) -> bytes:
    symbol, dti, price_e13 = market
    quantity = rng.randrange(1, 500) * 10**14
    report = ExecutionReport(
        *(bot, f"E{partition}-{index}", f"V{partition}-{index}", own_id, ExecType.FILL, symbol, Side.BUY),
        *(quantity, price_e13, quantity, 0, "XOFF", None, START_US + index * _STEP_US),
    )
    details = {
        "operator": "acme_trading_ltd",
        "operator_regulator_id": _LEI,
        "dti": dti,
        "currency": "USDT",
        "eur_rate_e13": "9158000000000",
        "approval_log_index": str(index - 1),
        "policy_sha256": "06" * 32,
        "approved_at_us": str(START_US + (index - 1) * _STEP_US),
        "findings": "",
        "repeated": "false",
        "worse_bps": "",
    }
    event = _event("TRADE_EXECUTED", partition, index, bot, encode_execution_report(report), details)
    return encode_audit_head(event, None)


def _event(
    kind: str, partition: int, index: int, bot: str, subject: bytes | None = None, details: dict[str, str] | None = None
) -> AuditEvent:
    event_us = START_US + index * _STEP_US
    return AuditEvent(
        event_type=kind,
        agent_id=bot,
        agent_seq=index + 1,
        log_index=index,
        partition=partition,
        event_time_us=event_us,
        clock_divergence_us=1_500,
        clock_source="SYNCHRONISED within 2048 us",
        source_topic="orders.requested" if subject is None else "trades.executed",
        source_offset=index,
        source_time_us=event_us - 2_000,
        subject=subject,
        signature=None,
        signer=None,
        score=None,
        state_before="ACTIVE",
        state_after="ACTIVE",
        policy_sha256=None,
        authorised_by="9f" * 32,
        verified_by="gate/1",
        approved_by=None,
        outcome="NONE",
        details=details or {},
    )
