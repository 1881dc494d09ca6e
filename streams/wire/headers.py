"""Kafka record headers: signatures, proofs, CloudEvents attributes, and why something was dead-lettered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.wire.avro import DecodeError

SIGNATURE: Final = "signature"
THUMBPRINT: Final = "x5t#S256"
TLOG_PROOF: Final = "tlog-proof"
AUDIT_HEAD: Final = "audit-head"
TRACEPARENT: Final = "traceparent"
DEAD_LETTER_REASON: Final = "dead-letter-reason"
DEAD_LETTER_TEXT: Final = "dead-letter-text"
# CloudEvents' extension: how far the source's log was. Source: CloudEvents extensions, sequence.
SEQUENCE: Final = "ce_sequence"
SOURCE_TOPIC: Final = "source-topic"
SOURCE_OFFSET: Final = "source-offset"

Header = tuple[str, bytes]

_AVRO: Final = b"application/avro"
# Source: W3C Trace Context, version 00; all zeros name nothing.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# What a dead letter keeps of the headers as received: the record must fit into its topic.
_KEPT_HEADERS_MAX: Final = 32
_KEPT_BYTES_MAX: Final = 64 * 1024


def find_headers(headers: Sequence[Header], first: str, second: str) -> tuple[bytes, bytes]:
    """Return the values of two headers, empty where missing; the first of each name counts."""
    found_first = found_second = None
    for name, value in headers:
        if name == first and found_first is None:
            found_first = value or b""
        elif name == second and found_second is None:
            found_second = value or b""
    return found_first or b"", found_second or b""


def find_header(headers: Iterable[Header], name: str) -> bytes:
    """Return the first header of this name, or no bytes."""
    return next((value or b"" for found, value in headers if found == name), b"")


def traceparent_of(value: bytes) -> str:
    """Return a header's value where it is a W3C traceparent, else nothing: it is not signed, and anybody's text."""
    text = value.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else ""


def cloud_event(event_type: str, source: str, event_id: str) -> tuple[Header, ...]:
    """Return the CloudEvents attributes of a record in binary mode. Source: CloudEvents Kafka binding 1.0."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("content-type", _AVRO),
    )


def dead_letter_headers(headers: Sequence[Header], error: DecodeError, topic: str, offset: int) -> list[Header]:
    """Return the reason's headers, and those received as far as they fit."""
    kept: list[Header] = [
        (DEAD_LETTER_REASON, error.reason.encode()),
        (DEAD_LETTER_TEXT, error.text.encode(errors="replace")[:1000]),
        (SOURCE_TOPIC, topic.encode()),
        (SOURCE_OFFSET, str(offset).encode()),
    ]
    room = _KEPT_BYTES_MAX
    for name, value in headers[:_KEPT_HEADERS_MAX]:
        room -= len(name.encode(errors="replace")) + len(value or b"")
        if room < 0:
            break
        kept.append((name, value))
    return kept
