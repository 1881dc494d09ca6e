"""One order from request to report, by one query of the warehouse, with the proof that its decision was logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.audit.checkpoint import Checkpoint
from streams.audit.proof import TlogProof
from streams.core.checked import checked
from streams.core.merkle import Frontier, inclusion_proof
from streams.warehouse.tables import AUDIT_CHECKPOINTS, AUDIT_EVENTS
from streams.wire.decisions import decode_audit_event, decode_verdict_body
from streams.wire.messages import decode_order_body

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clickhouse_connect.driver.client import Client

    from streams.core.checked import Checked

_LIFE: Final = (
    "SELECT agent_id, at, what, log, place, text FROM order_life(agent_id = {agent_id:String},"
    " cl_ord_id = {cl_ord_id:String}) ORDER BY at, step, place"
)
_AGENT: Final = (
    f"SELECT cl_ord_id, decision_time, decision, reason FROM {AUDIT_EVENTS.name}"  # noqa: S608 - our own names
    " WHERE agent_id = {agent_id:String} AND decision IS NOT NULL ORDER BY decision_time DESC LIMIT {rows:UInt32}"
)
_NOTE: Final = (
    f"SELECT note FROM {AUDIT_CHECKPOINTS.name} WHERE kafka_partition = {{log:Int32}}"  # noqa: S608 - our own names
    " AND tree_size > {index:Int64} ORDER BY tree_size LIMIT 1"
)
# ClickHouse hashes the leaves: 32 bytes each cross the wire, whatever their length.
_HASHES: Final = (
    f"SELECT SHA256(concat(char(0), leaf)) FROM {AUDIT_EVENTS.name}"  # noqa: S608 - our own names
    " WHERE kafka_partition = {log:Int32} AND log_index < {size:Int64} ORDER BY kafka_partition, kafka_offset"
)


_LEAF: Final = (
    f"SELECT leaf FROM {AUDIT_EVENTS.name} WHERE kafka_partition = {{log:Int32}}"  # noqa: S608 - our own names
    " AND log_index = {index:Int64} LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `place` is a leaf index where the step is in the audit log, else an offset."""

    agent_id: str
    at: datetime
    what: str
    log: int
    place: int
    text: str


def read_life(client: Client, cl_ord_id: str, agent_id: str = "") -> list[Step]:
    """Return all steps of an order, in order of time; of every bot's where none is named."""
    rows = client.query(_LIFE, {"cl_ord_id": cl_ord_id, "agent_id": agent_id}).result_rows
    return [Step(*row) for row in rows]


def read_latest(client: Client, agent_id: str, count: int) -> Sequence[Sequence[Any]]:
    """Return identifier, time, decision and reason of a bot's last orders."""
    found: Sequence[Sequence[Any]] = client.query(_AGENT, {"agent_id": agent_id, "rows": count}).result_rows
    return found


def read_checks(client: Client, log: int, index: int) -> tuple[Checked, ...]:
    """Return what each of the gate's checks made of the message that a leaf decides; nothing where it decides none."""
    rows = client.query(_LEAF, {"log": log, "index": index}, query_formats={"String": "bytes"}).result_rows
    body = decode_audit_event(rows[0][0])[1] if rows else None
    if body is None:
        return ()
    verdict = decode_verdict_body(body)
    return checked(decode_order_body(verdict.order).msg_type, verdict.failures)


def prove(client: Client, log: int, index: int) -> bytes | None:
    """Return the C2SP proof of a leaf under the first checkpoint that covers it, None where none does yet."""
    formats = {"String": "bytes", "FixedString": "bytes"}
    notes = client.query(_NOTE, {"log": log, "index": index}, query_formats=formats).result_rows
    if not notes:
        return None
    note: bytes = notes[0][0]
    size = Checkpoint.parse(note.rpartition(b"\n\n")[0] + b"\n").size
    rows = client.query(_HASHES, {"log": log, "size": size}, query_formats=formats).result_rows
    hashes = [row[0] for row in rows]

    def read(level: int, place: int) -> bytes:
        return Frontier().extend(hashes[place << level : (place + 1) << level]).root()

    return TlogProof(index, tuple(inclusion_proof(index, size, read)), note).encode()
