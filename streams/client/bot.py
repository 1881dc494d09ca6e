"""A bot's client: an order in, its verdict out, for plain programs and for asyncio.

    with connect(load_settings(), "my_bot") as bot:
        answer = bot.submit(make_order("my_bot", symbol="BTC_USDT", side="BUY", quantity="0.01", ...))

Whatever is raised, the order does not count as approved.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from streams.client.hsm import load_signer
from streams.client.link import OrderLink, VerdictTimeoutError
from streams.core.errors import PortcullisError
from streams.wire.log_keys import log_keys
from streams.wire.signed_orders import sign_order

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from streams.client.link import Answer
    from streams.core.orders import Order
    from streams.settings import Settings
    from streams.wire.note import Verifier
    from streams.wire.signed_orders import OrderSigner, WireMessage

TIMEOUT_S: Final = 10.0


class NotOurOrderError(PortcullisError):
    """An order of another bot than the one whose key this client has."""


class BotClient:
    """Signs one bot's orders and returns their verdicts; any thread may call it."""

    def __init__(self, link: OrderLink, signer: OrderSigner) -> None:
        self._link, self._signer = link, signer

    def __enter__(self) -> Self:
        self._link.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._link.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._link.stop)

    def submit(self, order: Order, *, timeout_s: float = TIMEOUT_S, traceparent: str = "") -> Answer:
        """Sign an order, send it, and return its verdict; an approval has been proven to be logged.

        `traceparent` is the W3C header of the caller's span, where it traces.

        Raises: VerdictTimeoutError, NotSentError, DeadLetteredError, ApprovalRefusedError; none is an approval.
        """
        future = self._link.send(self._signed(order, traceparent))
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise _late(order, timeout_s) from None

    async def submit_async(self, order: Order, *, timeout_s: float = TIMEOUT_S, traceparent: str = "") -> Answer:
        """Do the same without blocking the event loop."""
        if self._signer.waits:
            message = await asyncio.to_thread(self._signed, order, traceparent)
        else:
            message = self._signed(order, traceparent)
        future = self._link.send(message)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError:
            raise _late(order, timeout_s) from None

    def _signed(self, order: Order, traceparent: str) -> WireMessage:
        if order.agent_id != self._signer.agent_id:
            raise NotOurOrderError(f"agent_id: {self._signer.agent_id} required, is {order.agent_id[:80]!a}")
        return sign_order(order, self._signer, traceparent=traceparent)


def connect(settings: Settings, agent_id: str) -> BotClient:
    """Return the client of a bot whose credentials are in `<home>/agents/<agent_id>`, not yet started.

    Raises: SettingsError where no cluster is set; KeyFileError where keys are missing.
    """
    return BotClient(open_link(settings), load_signer(settings.home / "agents", agent_id))


def open_link(settings: Settings, *, delivery_timeout_s: float = TIMEOUT_S) -> OrderLink:
    """Return a link to the cluster of the settings, not yet started.

    Raises: SettingsError where no cluster is set; KeyFileError where the log's public keys are missing.
    """

    def verifiers(partition: int) -> tuple[Verifier, ...]:
        return tuple(key.verifier for key in log_keys(settings.pki, f"{settings.log_origin}/{partition}"))

    verifiers(0)
    return OrderLink(
        settings.require_cluster(),
        verifiers,
        prefix=settings.topic_prefix,
        security=settings.kafka_security,
        delivery_timeout_s=delivery_timeout_s,
    )


def _late(order: Order, timeout_s: float) -> VerdictTimeoutError:
    return VerdictTimeoutError(f"verdict of {order.cl_ord_id}: none within {timeout_s:g} s; does a worker run?")
