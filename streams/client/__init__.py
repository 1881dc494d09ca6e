"""The bot library: make an order, sign it, send it, await its verdict, check its proof."""

from streams.client.bot import BotClient, connect
from streams.client.hsm import KmsSigner, Pkcs11Signer, load_signer
from streams.client.link import (
    Answer,
    DeadLetteredError,
    NotSentError,
    OrderLink,
    OrderLinkError,
    VerdictTimeoutError,
)
from streams.client.making import cancel, make_order

__all__ = [
    "Answer",
    "BotClient",
    "DeadLetteredError",
    "KmsSigner",
    "NotSentError",
    "OrderLink",
    "OrderLinkError",
    "Pkcs11Signer",
    "VerdictTimeoutError",
    "cancel",
    "connect",
    "load_signer",
    "make_order",
]
