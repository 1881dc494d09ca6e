"""A made past, for trying the try: the simulation's bots, decided by real lanes in memory. No broker, no signatures."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from streams.agents.gate import Prepared
from streams.agents.lane import Lane, Services
from streams.agents.references import References
from streams.agents.trust import TrustSource
from streams.app import TABLES, load_incident_rules
from streams.engine.application import Outputs
from streams.engine.changelog import LaneRows
from streams.names import Topic
from streams.replay.history import FileHistory, write_leaf
from streams.sim.bots import plan
from streams.sim.fleet import Habit, fleet, policies
from streams.sim.markets import markets_of
from streams.sim.mischief import Recipe
from streams.sim.tape import BUNDLED_TAPE, read_tape
from streams.wire import devpki
from streams.wire.log_keys import log_signers
from streams.wire.messages import encode_order, encode_reference_price

if TYPE_CHECKING:
    from pathlib import Path

    from streams.sim.bots import PlannedMessage
    from streams.sim.fleet import Bot
    from streams.sim.markets import Market

LANES: Final = 4
_BOTS: Final = 40
_HABITS: Final = tuple(habit for habit in Habit if habit is not Habit.CORRUPT)  # whose messages are no orders
_START_US: Final = 1_773_000_000_000_000
_GAP_US: Final = 10_000  # between the messages of a lane: 10 bots of 10 messages a second
_BATCH: Final = 64
_DAY_US: Final = 86_400_000_000
_US: Final = 1_000_000
# As long as real ones; nobody checks them here, the log says whether they held.
_SIGNATURE: Final = bytes(71)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A record as aiokafka shows it to a lane."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def prepare_past(folder: Path) -> None:
    """Begin an empty folder with the parties' keys."""
    shutil.rmtree(folder, ignore_errors=True)
    devpki.make_dev_pki(folder / "pki")


def make_lane(folder: Path, lane: int, orders: int, seed: int) -> None:
    """Let a lane's share of the fleet send this many messages, and write the log of what was decided."""
    bots = fleet(_BOTS, _HABITS)[lane::LANES]
    maker = _Maker(folder / "pki", lane, bots)
    with FileHistory(folder).path(lane).open("wb") as file:
        for number, message in enumerate(plan(maker.ticks, bots, orders, seed + lane, markets=maker.markets)):
            maker.send(message)
            if number % _BATCH == _BATCH - 1:
                file.write(maker.decide())
        file.write(maker.decide())


class _Maker:
    """One lane in memory, fed with registrations, prices and messages at made times."""

    def __init__(self, pki: Path, lane: int, bots: tuple[Bot, ...]) -> None:
        self.ticks = list(read_tape(BUNDLED_TAPE))
        self.markets: dict[str, Market] = markets_of(self.ticks)
        self._number, self._now_us = lane, _START_US
        self._references, self._outputs = References(), Outputs()
        self._references.attach(lambda: True)
        services = Services(
            trust=TrustSource.of(pki),
            references=self._references,
            signers=lambda number: log_signers(pki, f"made/{number}"),
            prefix="",
            incident_rules=load_incident_rules(),
        )
        self._tables = LaneRows(TABLES).tables
        self._lane = Lane(lane, self._tables, self._outputs, services)
        self._thumbprints: dict[str, bytes] = {}
        self._offset, self._seen = 0, -1
        self._lane.begin(self._now_us)
        documents = policies(bots, self.markets, datetime.fromtimestamp(_START_US / _US, tz=UTC))
        for agent_id, document in documents.items():
            issued = devpki.issue_agent(pki, document, not_before_us=_START_US - _DAY_US)
            self._thumbprints[agent_id] = issued.thumbprint
            value = devpki.make_registration(pki, document, issued, at_us=self._now_us)
            self._lane.process(self._record(Topic.AGENTS_REGISTRY, agent_id.encode(), value), None)
        for market in self.markets.values():
            self._price(market, market.first_price_e13)

    def send(self, message: PlannedMessage) -> None:
        """Let a bot's message arrive, after the market has moved on to it."""
        self._now_us += _GAP_US
        moved = {}
        while self._seen < message.tick_index:
            self._seen += 1
            moved[self.ticks[self._seen].symbol] = self.ticks[self._seen].price_e13
        for symbol, price_e13 in moved.items():
            self._price(self.markets[symbol], price_e13)
        if self._now_us % _US < _GAP_US:  # a market without trades has a price all the same
            for symbol in self.markets.keys() - moved.keys():
                known = self._references.get(symbol)
                self._price(
                    self.markets[symbol], self.markets[symbol].first_price_e13 if known is None else known.price_e13
                )
        key, order = (
            message.order.agent_id.encode(),
            replace(message.order, transact_time_us=self._now_us - message.age_us),
        )
        record = self._record(Topic.ORDERS_REQUESTED, key, encode_order(order))
        unsigned, forged = message.recipe is Recipe.UNSIGNED, message.recipe is Recipe.FORGED
        signature, thumbprint = (
            (b"", b"") if unsigned else (_SIGNATURE, self._thumbprints.get(order.agent_id, bytes(32)))
        )
        self._lane.process(record, Prepared(order, None, signature, thumbprint, verified=not (unsigned or forged)))

    def decide(self) -> bytes:
        """End the micro-batch; return its leaves as a file holds them."""
        self._lane.finish()
        for table in self._tables.values():
            deque(table.take_changes(), maxlen=0)
        leaves = self._outputs.take().get(Topic.AUDIT_EVENTS, [])
        self._lane.begin(self._now_us)
        return b"".join(write_leaf(leaf.value or b"") for leaf in leaves)

    def _price(self, market: Market, price_e13: int) -> None:
        value = encode_reference_price(market.reference(price_e13, self._now_us))
        self._references.on_price(self._record(Topic.MARKETS_REFERENCE, market.symbol.encode(), value))

    def _record(self, topic: Topic, key: bytes, value: bytes) -> Any:  # noqa: ANN401 - what aiokafka would hand over
        self._offset += 1
        return _Kept(topic, self._number, self._offset, self._now_us // 1000, key, value)
