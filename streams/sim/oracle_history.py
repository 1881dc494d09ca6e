"""What the oracle is given: records as a read-committed reader sees them, and how it reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from streams.names import Topic
from streams.sim.oracle_case import Asked, Past, Quote
from streams.sim.oracle_policy import read_rules
from streams.wire.avro import DecodeError, Schema, decode, decode_body
from streams.wire.signatures import thumbprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Fields = dict[str, Any]
Place = tuple[int, int]


class Stored(Protocol):
    """A record of a topic, as any reader of Kafka has it."""

    @property
    def topic(self) -> str:
        """Return the topic's name, with an installation's prefix where it has one."""
        ...

    @property
    def partition(self) -> int:
        """Return the partition."""
        ...

    @property
    def offset(self) -> int:
        """Return the offset."""
        ...

    @property
    def timestamp_us(self) -> int:
        """Return the broker's append time in microseconds UTC."""
        ...

    @property
    def key(self) -> bytes | None:
        """Return the key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Return the value."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Return the headers in their order."""
        ...


@dataclass(frozen=True, slots=True)
class History:
    """All records of a run, by topic, each topic's in offset order per partition.

    `rows` are the warehouse's: `kafka_partition`, `log_index`, `leaf` and any other columns; None: not compared.
    `distrusted` are bots whose registration the workers' trust store refuses by now.
    """

    topics: Mapping[Topic, Sequence[Stored]]
    rows: Iterable[Mapping[str, Any]] | None = None
    distrusted: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        records: Iterable[Stored],
        *,
        prefix: str = "",
        rows: Iterable[Mapping[str, Any]] | None = None,
        distrusted: frozenset[str] = frozenset(),
    ) -> History:
        """Return the history of all these records, whatever their order among topics and partitions."""
        topics: dict[Topic, list[Stored]] = {topic: [] for topic in Topic}
        for record in records:
            topics[Topic(record.topic.removeprefix(prefix))].append(record)
        for stored in topics.values():
            stored.sort(key=lambda record: (record.partition, record.offset))
        return cls(topics, rows, distrusted)

    def read(self, topic: Topic) -> Sequence[Stored]:
        """Return a topic's records."""
        return self.topics.get(topic, ())


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where the history is not what it must be: which rule, which record, what was expected and found."""

    rule: str
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.place}: expected {self.expected}, found {self.found}"


@dataclass(slots=True)
class Findings:
    """Collects mismatches; beyond `most` they are only counted, so that a broken run stays readable."""

    most: int
    mismatches: list[Mismatch] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, rule: str, place: str, expected: object, found: object) -> None:
        """Note a mismatch."""
        self.counts[rule] += 1
        if len(self.mismatches) < self.most:
            self.mismatches.append(Mismatch(rule, place, str(expected), str(found)))

    def check(self, rule: str, place: str, expected: object, found: object) -> None:
        """Note a mismatch where the two differ."""
        if expected != found:
            self.note(rule, place, expected, found)


def decimal(data: bytes | None, scale: int) -> Decimal | None:
    """Return an Avro decimal."""
    return None if data is None else Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-scale)


def number(data: bytes, scale: int) -> Decimal:
    """Return an Avro decimal that is always there."""
    return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-scale)


def read_asked(order: Fields, verdict: Fields, request: Stored) -> Asked:
    """Return an order with the moment of its decision."""
    return Asked(
        agent_id=order["agent_id"],
        cl_ord_id=order["cl_ord_id"],
        orig_cl_ord_id=order["orig_cl_ord_id"],
        entering=order["msg_type"] != "ORDER_CANCEL_REQUEST",
        replacing=order["msg_type"] == "ORDER_CANCEL_REPLACE_REQUEST",
        symbol=order["symbol"],
        buy=order["side"] == "BUY",
        venue=order["ex_destination"],
        region=order["region"],
        limit=order["ord_type"] == "LIMIT",
        qty=number(order["order_qty"], 17),
        price=decimal(order["price"], 13),
        transact_us=order["transact_time"],
        expire_us=order["expire_time"],
        appended_us=request.timestamp_us,
        now_us=verdict["decision_time"],
        score=verdict["score"],
    )


def read_quote(value: bytes) -> tuple[str, Quote]:
    """Return a reference price and its market."""
    fields = decode(Schema.REFERENCE_PRICE, value)
    return fields["symbol"], Quote(
        price=number(fields["price"], 13),
        eur_rate=number(fields["eur_rate"], 13),
        tick=number(fields["tick_size"], 13),
        lot=number(fields["lot_size"], 17),
        time_us=fields["price_time"],
    )


def read_registration(value: bytes, before: Past | None) -> Past:
    """Return a bot's past under its new registration."""
    fields = decode(Schema.AGENT_RECORD, value)
    chain = [x509.load_der_x509_certificate(der) for der in fields["certificate_chain"]]
    key = chain[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError(f"certificate of {fields['agent_id']}: no elliptic curve key")
    valid_us = (
        max(int(one.not_valid_before_utc.timestamp()) for one in chain) * 1_000_000,
        min(int(one.not_valid_after_utc.timestamp()) for one in chain) * 1_000_000,
    )
    rules, digest = read_rules(fields["policy"]), thumbprint(fields["certificate_chain"][0])
    if before is None:
        return Past(rules, digest, key, valid_us)
    before.rules, before.certificate_sha256, before.public_key, before.valid_us = rules, digest, key, valid_us
    return before


@dataclass(frozen=True, slots=True)
class Leaf:
    """An audit event as stored and as read, with its verdict and that verdict's order where it has them."""

    record: Stored
    event: Fields
    verdict: Fields | None

    order: Fields | None

    @classmethod
    def of(cls, record: Stored) -> Leaf:
        """Read an audit event. Raises: DecodeError."""
        event = decode(Schema.AUDIT_EVENT, record.value or b"")
        body = event["verdict"]
        if body is None:
            return cls(record, event, None, None)
        verdict = decode_body(Schema.VERDICT, body)
        return cls(record, event, verdict, decode_body(Schema.ORDER, verdict["order"]))


def read_leaves(records: Iterable[Stored], findings: Findings) -> list[Leaf]:
    """Read audit events; one that cannot be read, or whose verdict or order cannot, is a mismatch."""
    leaves = []
    for record in records:
        try:
            leaves.append(Leaf.of(record))
        except DecodeError as error:
            findings.note("unreadable", f"{record.topic} {record.partition}/{record.offset}", "an audit event", error)
    return leaves
