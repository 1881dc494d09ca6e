"""The job of the peers: decode, check the signature, hold against the day's limit, write verdict and signed record.

It is far less than the worker does per order, and each step of it is the worker's own code, so that a difference in
cost is not one of codecs or cryptography. The audit record is signed by itself, as there is no log that could be.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson

from streams.agents.kernel_clock import UNKNOWN
from streams.clock import now_us
from streams.core.orders import Failure
from streams.core.reasons import Reason
from streams.core.situation import value_e5
from streams.core.windows import day_start_us
from streams.kafka.reading import read_all
from streams.names import Topic
from streams.wire import devpki
from streams.wire.avro import body_of
from streams.wire.decisions import (
    AuditEvent,
    ReferenceUsed,
    Verdict,
    encode_audit_head,
    encode_verdict,
    encode_verdict_body,
)
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers
from streams.wire.messages import decode_order, decode_reference_price
from streams.wire.registration import check_registration
from streams.wire.signatures import ORDER_TYPE, is_valid, sign
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.core.orders import Order, ReferencePrice
    from streams.wire.headers import Header
    from streams.wire.registration import Registration

READY: Final = "peer ready"
AUDIT_TYPE: Final = b"application/vnd.portcullis.audit-event.v1+avro"
_VERIFIED_BY: Final = "bench"
_DECIMAL_MAX: Final = 10**38 - 1


@dataclass(frozen=True, slots=True)
class PeerJob:
    """Where a peer reads and writes."""

    bootstrap_servers: str
    prefix: str
    group: str
    pki: str
    partitions: int
    security: dict[str, str] = field(default_factory=dict)

    def topic(self, topic: Topic) -> str:
        """Return a topic's name on the cluster."""
        return self.prefix + topic

    def argument(self) -> str:
        """Return the job as the process's argument."""
        return orjson.dumps(asdict(self)).decode()


class Request(NamedTuple):
    """A record of `orders.requested`."""

    partition: int
    offset: int
    timestamp_ms: int
    value: bytes
    headers: Sequence[Header]


class Answer(NamedTuple):
    """What a peer writes for one order, and the bot's approved value of the day after it."""

    agent_id: str
    approved: bool
    verdict: bytes
    audit: bytes
    signature: bytes
    day_us: int
    spent_e5: int


class DayValues(Protocol):
    """Approved values by bot and day."""

    def get(self, key: tuple[str, int], default: int, /) -> int:
        """Return a bot's value of a day, or the default."""


class Peer:
    """What a peer knows of bots and markets, read once at its start, and its decision."""

    def __init__(self, job: PeerJob, pki: Path) -> None:
        self._registered: dict[str, Registration] = {}
        self._prices: dict[str, ReferencePrice] = {}
        self._topic = job.topic(Topic.ORDERS_REQUESTED)
        self._key = devpki.person_key(pki, next(iter(devpki.PEOPLE))).private_key
        trust = load_trust(pki)
        known = [job.topic(topic) for topic in (Topic.AGENTS_REGISTRY, Topic.MARKETS_REFERENCE)]
        for record in read_all(job.bootstrap_servers, known, job.security):
            if record.topic == known[0]:
                registration = check_registration(record.value, trust, record.timestamp_us)
                self._registered[registration.agent_id] = registration
            else:
                price = decode_reference_price(record.value, record.partition, record.offset)
                self._prices[price.symbol] = price

    def decide(self, request: Request, spent: DayValues) -> Answer:
        """Decide an order on the day's values so far. Raises: DecodeError, KeyError: the load holds no such order."""
        order = decode_order(request.value)
        registration = self._registered[order.agent_id]
        body = body_of(request.value)
        signature, thumbprint = find_headers(request.headers, SIGNATURE, THUMBPRINT)
        time_us = request.timestamp_ms * 1000
        day_us = day_start_us(time_us)
        spent_e5 = spent.get((order.agent_id, day_us), 0)
        price = self._prices[order.symbol]
        worth_e5 = value_e5(order, price) or 0
        failures: tuple[Failure, ...] = ()
        if not is_valid(registration.public_key, ORDER_TYPE, body, signature):
            failures = (Failure(Reason.SIGNATURE_INVALID, "valid", "invalid", "TEXT"),)
        elif spent_e5 + worth_e5 > registration.policy.max_daily_value_e5:
            limit, observed = str(registration.policy.max_daily_value_e5), str(spent_e5 + worth_e5)
            failures = (Failure(Reason.DAILY_VALUE_LIMIT_EXCEEDED, limit, observed, "EUR"),)
        else:
            spent_e5 += worth_e5
        decided_us = now_us()
        verdict = Verdict(
            order.agent_id,
            order.cl_ord_id,
            not failures,
            failures[0].reason if failures else Reason.NONE,
            failures,
            registration.policy.policy_id,
            ReferenceUsed.of(price),
            min(worth_e5, _DECIMAL_MAX),
            spent_e5,
            None,
            request.partition,
            request.offset,
            time_us,
            decided_us,
            request.offset,
            body,
            signature,
            thumbprint,
        )
        encoded = encode_verdict_body(verdict)
        audit = encode_audit_head(self._event(order, request, decided_us, verdict), len(encoded)) + encoded
        proof = sign(self._key, AUDIT_TYPE, audit)
        return Answer(order.agent_id, not failures, encode_verdict(encoded), audit, proof, day_us, spent_e5)

    def _event(self, order: Order, request: Request, decided_us: int, verdict: Verdict) -> AuditEvent:
        time_us = request.timestamp_ms * 1000
        return AuditEvent(
            "ORDER_APPROVED" if verdict.approved else "ORDER_REJECTED",
            order.agent_id,
            None,
            request.offset,
            request.partition,
            decided_us,
            decided_us - time_us,
            UNKNOWN,
            self._topic,
            request.offset,
            time_us,
            None,
            None,
            None,
            None,
            "ACTIVE",
            "ACTIVE",
            None,
            None,
            _VERIFIED_BY,
            None,
            verdict.reason,
            {},
        )
