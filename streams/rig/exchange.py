"""The exchange of the rig: plays the tape as reference prices, and fills proven approvals on paper."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from streams.clock import now_us
from streams.core.market import RushCounter
from streams.core.orders import Side
from streams.kafka.producing import Sender
from streams.kafka.reading import partitions_of, read_all, reader, stored
from streams.names import Topic
from streams.rig.background import Background
from streams.sim.venue import PaperVenue
from streams.venue.approval import ApprovalRefusedError, ApprovalVerifier
from streams.venue.cancels import MassCancel, Place
from streams.wire.executions import decode_execution_report, encode_execution_report
from streams.wire.messages import encode_reference_price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streams.core.executions import ExecutionReport
    from streams.kafka.reading import Stored
    from streams.settings import Settings
    from streams.sim.markets import Market
    from streams.sim.tape import Tick
    from streams.wire.note import Verifier

_REFERENCE_EVERY_S: Final = 0.05
_REFERENCE_REFRESH_S: Final = 1.0
# A venue of the rig shares its machine: it takes approvals every so often, not each as it comes.
_FETCH: Final = {"fetch.min.bytes": 1_000_000, "fetch.wait.max.ms": 50}
_CONSUME_MAX: Final = 1_000
_CONSUME_S: Final = 0.02


class Exchange:
    """A paper venue in a thread: market data out, approvals in, executions out."""

    def __init__(
        self,
        settings: Settings,
        markets: Mapping[str, Market],
        verifiers: Iterable[Verifier],
        operators: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._markets = markets
        self._proofs = ApprovalVerifier(verifiers)
        self._venue = PaperVenue(operators=operators)
        self._lock = threading.Lock()
        self._sender = Sender(settings.kafka_bootstrap_servers, settings.kafka_security)
        self._prices: dict[str, int] = {}
        self._published: dict[str, tuple[int, float]] = {}
        self._rush: dict[str, RushCounter] = {}
        self._background = Background("exchange", self._trade)
        self._approvals = 0
        self.refused: list[str] = []

    @property
    def open_orders(self) -> int:
        """Return how many orders may still trade."""
        with self._lock:
            return self._venue.open_orders

    @property
    def open_ids(self) -> frozenset[tuple[str, str]]:
        """Return agent_id and ClOrdID of each order that may still trade."""
        with self._lock:
            return self._venue.open_ids

    def recall(self) -> None:
        """Take the venue's own earlier reports before `start`: approvals that come again are then acted on once."""
        servers, security = self._settings.kafka_bootstrap_servers, self._settings.kafka_security
        for record in read_all(servers, [self._topic(Topic.TRADES_EXECUTED)], security):
            self._venue.recall(decode_execution_report(record.value))

    def open_orders_of(self, bots: Iterable[str]) -> int:
        """Return how many orders of these bots may still trade."""
        with self._lock:
            return self._venue.open_orders_of(frozenset(bots))

    def start(self) -> None:
        """Publish each market's first price and begin to trade."""
        for market in self._markets.values():
            self._prices.setdefault(market.symbol, market.first_price_e13)
        self._publish()
        self._sender.flush()
        self._background.start()

    def on_tick(self, tick: Tick) -> None:
        """Take the next trade of the tape."""
        with self._lock:
            rush = self._rush.setdefault(tick.symbol, RushCounter())
            rush.add(tick.time_us // 1_000, tick.qty_e17, buy=tick.aggressor is Side.BUY)
            self._prices[tick.symbol] = tick.price_e13
            self._send(self._venue.on_tick(tick, now_us()))

    def stop_after(self, approvals: int, check: Callable[[], None]) -> None:
        """Stop once so many approvals were acted on or refused; `check` may raise meanwhile."""
        while self._approvals < approvals and self._background.running:
            check()
            time.sleep(_CONSUME_S)
        self.stop()

    def stop(self) -> None:
        """Stop trading; everything sent is acknowledged.

        Raises: whatever ended the thread before.
        """
        self._background.stop()
        self._sender.flush()

    def _trade(self) -> None:
        topics = [self._topic(Topic.ORDERS_APPROVED), self._topic(Topic.VENUE_COMMANDS)]
        consumer = reader(self._settings.kafka_bootstrap_servers, self._settings.kafka_security, **_FETCH)
        try:
            consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in partitions_of(consumer, topics)])
            while not self._background.stopping.is_set():
                for message in consumer.consume(_CONSUME_MAX, _CONSUME_S):
                    if message.error() is None:
                        self._take(stored(message))
                self._publish()
        finally:
            consumer.close()

    def _take(self, record: Stored) -> None:
        with self._lock:
            if record.topic == self._topic(Topic.VENUE_COMMANDS):
                cancel = MassCancel.of(record.value, record.headers, record.partition)
                self._send(self._venue.mass_cancel(cancel, now_us()))
                return
            self._approvals += 1
            try:
                approved = self._proofs.check(record.value, record.headers, now_us())
            except ApprovalRefusedError as error:
                self.refused.append(f"{record.topic}-{record.partition}@{record.offset}: {error}")
                return
            place = Place(record.partition, approved.inclusion.index)
            self._send(self._venue.on_approved(approved.order, place, now_us()))

    def _send(self, reports: Iterable[ExecutionReport]) -> None:
        for report in reports:
            self._sender.send(
                self._topic(Topic.TRADES_EXECUTED), report.agent_id.encode(), encode_execution_report(report)
            )

    def _publish(self) -> None:
        """Write the prices that changed, and each from time to time so that it stays fresh."""
        now_s = time.monotonic()
        with self._lock:
            for symbol, price_e13 in self._prices.items():
                told_e13, told_s = self._published.get(symbol, (0, 0.0))
                due = _REFERENCE_EVERY_S if told_e13 != price_e13 else _REFERENCE_REFRESH_S
                if now_s - told_s < due:
                    continue
                self._published[symbol] = price_e13, now_s
                rush = self._rush.get(symbol)
                activity = None if rush is None else rush.take()
                price = self._markets[symbol].reference(price_e13, now_us(), activity)
                self._sender.send(self._topic(Topic.MARKETS_REFERENCE), symbol.encode(), encode_reference_price(price))

    def _topic(self, topic: Topic) -> str:
        return self._settings.topic_prefix + topic
