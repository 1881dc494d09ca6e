"""What every worker reads whole, because it crosses partitions: reference prices and market-wide breakers."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from streams.core.breaker import strictest
from streams.core.orders import TradingState
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.messages import decode_reference_price

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.structs import ConsumerRecord

    from streams.core.orders import ReferencePrice

_LOG = logging.getLogger(__name__)
_LANE = re.compile(r"lane-\d{1,4}-")
_WRITERS_MAX = 10_000


class References:
    """The latest reference price and breaker of each market; what cannot be read stops the market (fail closed)."""

    def __init__(self) -> None:
        self._prices: dict[str, ReferencePrice] = {}
        self._stopped: dict[str, dict[str, TradingState]] = {}  # by market and writer
        self._live: Callable[[], bool] = lambda: False

    def attach(self, live: Callable[[], bool]) -> None:
        """Name the check that says whether the readers which feed this have everything that was written."""
        self._live = live

    @property
    def live(self) -> bool:
        """Say whether everything written is known here."""
        return self._live()

    def get(self, symbol: str) -> ReferencePrice | None:
        """Return the market's latest reference price, or None."""
        return self._prices.get(symbol)

    def market_state(self, symbol: str, but_of: int) -> TradingState:
        """Return the strictest state of the market's breakers, but for those of one lane, which knows its own."""
        if not self._stopped or symbol not in self._stopped:
            return TradingState.ACTIVE
        own, state = _writer(f"lane-{but_of}-"), TradingState.ACTIVE
        for writer, said in self._stopped[symbol].items():
            if writer != own:
                state = strictest(state, said)
        return state

    def on_price(self, record: ConsumerRecord) -> None:
        """Take a record of `markets.reference`."""
        symbol = (record.key or b"").decode(errors="replace")
        self._prices.pop(symbol, None)
        if record.value is None:
            return
        try:
            price = decode_reference_price(record.value, record.partition, record.offset)
        except DecodeError as error:
            _LOG.warning("reference price of %r at offset %d refused: %s", symbol, record.offset, error)
            return
        if price.symbol == symbol:
            self._prices[symbol] = price
        else:
            _LOG.warning("reference price at offset %d: key %r, symbol %r", record.offset, symbol, price.symbol)

    def on_breaker(self, record: ConsumerRecord) -> None:
        """Take a record of `risk.circuit-breakers`; those of single bots are the lanes' own."""
        if record.value is None:
            return
        try:
            event = decode(Schema.BREAKER_EVENT, record.value)
        except DecodeError as error:
            _LOG.warning("breaker event at offset %d refused: %s", record.offset, error)
            return
        if event["scope"] != "MARKET" or (record.key or b"") != event["target"].encode():
            return
        writers = self._stopped.setdefault(event["target"], {})
        writer = _writer(event["event_id"])
        if event["state"] == TradingState.ACTIVE:
            writers.pop(writer, None)
        elif writer in writers or len(writers) < _WRITERS_MAX:
            writers[writer] = TradingState(event["state"])
        if not writers:
            del self._stopped[event["target"]]


def _writer(event_id: str) -> str:
    """Return who wrote an event: a lane by its number, anybody else by no name."""
    found = _LANE.match(event_id)
    return "" if found is None else found[0]
