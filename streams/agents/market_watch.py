"""The market watch: scores each market from its own partition of `markets.reference`.

A market belongs to the lane whose number its key has in `markets.reference`, so that one writer sees all its prices in
their order; what its score opens (`streams/agents/markets.py`), every worker reads.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from streams.agents.markets import MARKET_BREAKER_THRESHOLD
from streams.core.market import MODEL, MarketProfile, score_market
from streams.core.orders import PRICE_SCALE
from streams.wire.avro import DecodeError
from streams.wire.decisions import ScoreDetail
from streams.wire.messages import decode_reference_price

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from streams.agents.lane import Lane
    from streams.engine.tables import PartitionTable

_LOG = logging.getLogger(__name__)

_UNIT: Final = 10**PRICE_SCALE


class MarketWatch:
    """Keeps a profile per market of this partition."""

    def __init__(self, lane: Lane, table: PartitionTable[MarketProfile]) -> None:
        self._lane = lane
        self._table = table

    def on_price(self, record: ConsumerRecord) -> None:
        """Take a market's next reference price; one that cannot be read stops the market elsewhere."""
        if record.value is None:
            return
        try:
            price = decode_reference_price(record.value, record.partition, record.offset)
        except DecodeError as error:
            _LOG.warning("reference price at offset %d not scored: %s", record.offset, error)
            return
        if record.key != price.symbol.encode() or price.price_e13 <= 0:
            return
        market = self._table.get(price.symbol)
        if market is None:
            market = MarketProfile()
            self._table.put(price.symbol, market)
        else:
            self._table.touch(price.symbol)
        # The broker's time, as with orders: a source cannot date itself out of a chunk.
        market.take(record.timestamp * 1000, price.price_e13 / _UNIT, price.activity)
        score = score_market(market)
        if score.value <= MARKET_BREAKER_THRESHOLD:
            # A calm price is a calm probe: the lane that owns a market may have no bot that trades there.
            self._lane.markets.on_approval(record, price.symbol)
        elif market.alarmed_chunk != market.chunk:
            market.alarmed_chunk = market.chunk
            self._lane.markets.on_score(record, price.symbol, ScoreDetail(MODEL, score.value, score.contributions))
