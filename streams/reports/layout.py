"""A batch's folder: its files, its manifest, and how a range of a log is proven.

For each log the batch holds the leaves from one checkpoint's size to a later one's, the frontier (the roots of the
complete subtrees) of everything before them, and the signed checkpoints in between. Frontier and leaves together give
the roots that the log has signed, so the leaves are these and no others, at these places; nothing before them need be
shown but the leaf before the first record, which must be outside the range, so that no record can be left out there.
At the other end the batch goes one leaf too far as well; where the log has none yet, it goes up to the newest
checkpoint, and what was appended within the range later shows in the next batch, which begins before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from streams.core.errors import PortcullisError
from streams.wire.decisions import AuditEvent, decode_audit_event
from streams.wire.regulatory import order_record, transaction_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT: Final = "portcullis-report-batch-1"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.note"
README: Final = "README.txt"
ORDERS: Final = "orders.jsonl"
TRANSACTIONS: Final = "transactions.jsonl"
OTHERS: Final = "events.jsonl"
RECORD_FILES: Final = (ORDERS, TRANSACTIONS, OTHERS)
KEY_NAME: Final = "portcullis.local/reports"

_LENGTH: Final = struct.Struct(">I")
_LEAF_BYTES_MAX: Final = 4 * 1024 * 1024
_ORDER_EVENTS: Final = ("ORDER_APPROVED", "ORDER_REJECTED")


class BatchError(PortcullisError):
    """A batch cannot be written or read; the text names the file."""


@dataclass(frozen=True, slots=True)
class LogRange:
    """What a batch holds of one log: leaves `[begin, end)` for the proof, of which `[first, last)` are in its range."""

    partition: int
    origin: str
    begin: int
    first: int
    last: int
    end: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {name: getattr(self, name) for name in self.__slots__}


def leaves_file(partition: int) -> str:
    """Return the name of a log's leaves."""
    return f"audit/{partition}.leaves"


def frontier_file(partition: int) -> str:
    """Return the name of a log's frontier before the leaves."""
    return f"audit/{partition}.frontier"


def checkpoints_file(partition: int) -> str:
    """Return the name of a log's checkpoints."""
    return f"audit/{partition}.checkpoints"


def write_item(file: BinaryIO, data: bytes) -> None:
    """Write bytes after their length in four bytes, big-endian."""
    file.write(_LENGTH.pack(len(data)) + data)


def read_items(path: Path) -> Iterator[bytes]:
    """Yield what `write_item` wrote.

    Raises: BatchError where the file ends early or an item is too large.
    """
    try:
        with path.open("rb") as file:
            while head := file.read(_LENGTH.size):
                size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
                data = file.read(size) if 0 <= size <= _LEAF_BYTES_MAX else b""
                if len(data) != size:
                    raise BatchError(f"{path.name}: ends within an item, or holds one over {_LEAF_BYTES_MAX} bytes")
                yield data
    except OSError as error:
        raise BatchError(f"{path.name}: cannot be read ({error.strerror})") from None


def record_of(leaf: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return the record that a leaf makes and its file; None where it makes none.

    Raises: DecodeError where the leaf cannot be read.
    """
    event, verdict = decode_audit_event(leaf)
    if event.event_type in _ORDER_EVENTS and verdict is not None:
        return ORDERS, order_record(event, verdict)
    if event.event_type == "TRADE_EXECUTED":
        record = transaction_record(event)
        return None if record is None else (TRANSACTIONS, record)
    return OTHERS, _other_record(event)


def _other_record(event: AuditEvent) -> dict[str, Any]:
    return {
        "event": event.event_type,
        "event_time_us": event.event_time_us,
        "agent_id": event.agent_id,
        "outcome": event.outcome,
        "signer": event.signer,
        "approved_by": event.approved_by,
        "state_before": event.state_before,
        "state_after": event.state_after,
        "details": dict(event.details),
        "partition": event.partition,
        "log_index": event.log_index,
    }


def record_line(record: dict[str, Any]) -> bytes:
    """Return a record as its line: the same bytes for the same record."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def file_digest(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 in hexadecimal, and its size."""
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def manifest_text(manifest: bytes) -> bytes:
    """Return the text of the note that signs a manifest."""
    return f"{KEY_NAME}\n{FORMAT}\n{sha256(manifest).hexdigest()}\n".encode()
