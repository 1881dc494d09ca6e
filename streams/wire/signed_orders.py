"""A bot's message as it is sent: encoded, signed by a key that may be anywhere, with the headers that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streams.wire.avro import body_of
from streams.wire.headers import SIGNATURE, THUMBPRINT, TRACEPARENT, Header
from streams.wire.messages import encode_order
from streams.wire.signatures import ORDER_TYPE, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from streams.core.orders import Order


class OrderSigner(Protocol):
    """A bot's key that can be used but not read: in a file, in a token, with a key service."""

    @property
    def agent_id(self) -> str:
        """Return the bot whose key it is."""

    @property
    def thumbprint(self) -> bytes:
        """Return the SHA-256 of the bot's certificate (DER)."""

    @property
    def waits(self) -> bool:
        """Tell whether signing waits for somebody else, so that an event loop must not do it itself."""

    def sign(self, payload_type: bytes, body: bytes) -> bytes:
        """Return the DER signature of a body of this type, ECDSA P-256 with SHA-256 over its DSSE encoding.

        Raises: PortcullisError where the key cannot be used now.
        """


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A key in this process's memory: for development, and for bots without a token or key service."""

    agent_id: str
    private_key: EllipticCurvePrivateKey
    thumbprint: bytes

    @property
    def waits(self) -> bool:
        """Tell that signing takes 60 us: less than handing it to a thread."""
        return False

    def __repr__(self) -> str:
        return f"KeySigner({self.agent_id})"

    def sign(self, payload_type: bytes, body: bytes) -> bytes:
        """Return the signature of a body of this type."""
        return sign(self.private_key, payload_type, body)


@dataclass(frozen=True, slots=True)
class WireMessage:
    """A record as a producer takes it."""

    key: bytes
    value: bytes
    headers: tuple[Header, ...]


def sign_order(
    order: Order, signer: OrderSigner, *, certificate_sha256: bytes | None = None, traceparent: str = ""
) -> WireMessage:
    """Return an order as a record signed by `signer`, under another certificate's name where one is given.

    `traceparent` (W3C Trace Context) goes with it as a header, so that the gate's span joins the sender's trace.
    """
    value = encode_order(order)
    headers: tuple[Header, ...] = (
        (SIGNATURE, signer.sign(ORDER_TYPE, body_of(value))),
        (THUMBPRINT, certificate_sha256 or signer.thumbprint),
    )
    if traceparent:
        headers += ((TRACEPARENT, traceparent.encode()),)
    return WireMessage(order.agent_id.encode(), value, headers)
