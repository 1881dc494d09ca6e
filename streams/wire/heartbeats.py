"""Heartbeats: a bot's signed sign of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.wire.avro import Schema, body_of, decode, encode
from streams.wire.headers import SIGNATURE, THUMBPRINT
from streams.wire.signatures import HEARTBEAT_TYPE, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from streams.wire.headers import Header

HEARTBEAT_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life; `transact_time_us` is when the bot made it, microseconds UTC."""

    agent_id: str
    transact_time_us: int


def sign_heartbeat(
    heartbeat: Heartbeat, key: EllipticCurvePrivateKey, thumbprint: bytes
) -> tuple[bytes, tuple[Header, Header]]:
    """Return a heartbeat as a framed value, and the headers that prove whose it is."""
    value = encode(
        Schema.HEARTBEAT,
        {"agent_id": heartbeat.agent_id, "transact_time": heartbeat.transact_time_us},
    )
    return value, ((SIGNATURE, sign(key, HEARTBEAT_TYPE, body_of(value))), (THUMBPRINT, thumbprint))


def decode_heartbeat(value: bytes) -> Heartbeat:
    """Read a framed heartbeat. Raises: DecodeError."""
    record = decode(Schema.HEARTBEAT, value, bytes_max=HEARTBEAT_BYTES_MAX)
    return Heartbeat(record["agent_id"], record["transact_time"])
