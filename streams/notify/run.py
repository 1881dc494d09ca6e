"""The notifier process: alerts from Kafka to Apprise. An alert's offset is committed once no route waits for it."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Final

import apprise
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.names import Topic
from streams.notify.dispatch import Alert, Dispatcher
from streams.notify.routes import SEVERITIES
from streams.pulse import Pulse
from streams.wire.avro import DecodeError, Schema, decode

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from confluent_kafka import Message

    from streams.notify.dispatch import Item
    from streams.notify.routes import NotifySettings, Route
    from streams.settings import Settings

_LOG = logging.getLogger(__name__)
_POLL_S: Final = 0.1
_CONSUME_MAX: Final = 500
_SEND_TIMEOUT_S: Final = 15
GROUP: Final = "portcullis-notifier"
PARTS: Final = ("assigned",)

_TYPES: Final = {
    "INFO": apprise.NotifyType.INFO,
    "WARNING": apprise.NotifyType.WARNING,
    "CRITICAL": apprise.NotifyType.FAILURE,
}


class Channel:
    """One route's addresses."""

    def __init__(self, route: Route) -> None:
        """Take the addresses. Raises: ValueError where Apprise knows one of them not."""
        self._targets = apprise.Apprise()
        for place, url in enumerate(route.urls):
            if not self._targets.add(url):
                raise ValueError(f"route {route.name}: Apprise does not know address {place + 1} of {len(route.urls)}")
        for target in self._targets:
            target.request_rate_per_sec = 0.0  # its pause of 5.5 s is longer than an alert may take; `per_minute` holds

    def send(self, items: Sequence[Item]) -> bool:
        """Tell alerts in one message; say whether every address took it."""
        first, others = items[0].alert, len(items) - 1
        severity = max((item.alert.severity for item in items), key=SEVERITIES.index)
        about = first.agent_id or first.symbol
        words = (f"[{severity}]", first.kind, about, f"and {others} more" if others else "")
        title = " ".join(word for word in words if word)
        body = "\n\n".join(f"{item.alert.message}\n{item.alert.alert_id}" for item in items)
        if items[0].more:
            body += f"\n({items[0].more} more alerts were left out for this route's limit.)"
        return bool(self._targets.notify(title=title, body=body, notify_type=_TYPES[severity]))


class Notifier:
    """Reads alerts and tells them until it is stopped."""

    def __init__(self, settings: Settings, notify: NotifySettings, pulse: Pulse | None = None) -> None:
        """Raises: ValueError where an address is none that Apprise knows."""
        self._pulse = pulse or Pulse("notifier", *PARTS)
        self._topic = settings.topic_prefix + Topic.RISK_ALERTS
        self._dispatcher = Dispatcher(notify)
        self._channels = {route.name: Channel(route) for route in notify.routes}
        self._pool = ThreadPoolExecutor(max(1, len(notify.routes)), thread_name_prefix="route")
        self._running: dict[Future[bool], Route] = {}
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._consumer = Consumer(
            {
                **settings.cluster(),
                "group.id": settings.topic_prefix + GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._pulse.watch(self._consumer)

    def run(self, stop: threading.Event) -> None:
        """Tell alerts until `stop` is set; what is not delivered then comes again with the next start."""
        with closing(self._consumer), self._pool:
            self._consumer.subscribe(
                [self._topic],
                on_assign=lambda _consumer, partitions: _LOG.info("alerts are read, partitions: %d", len(partitions)),
                on_revoke=lambda _consumer, _partitions: self._commit(),
            )
            while not stop.is_set():
                messages = self._consumer.consume(_CONSUME_MAX, _POLL_S)
                for message in messages:
                    self._take(message)
                self._send()
                self._commit()
                self._pulse.set("assigned", holds=bool(self._consumer.assignment()))
                self._pulse.turn(len(messages))

    def _take(self, message: Message) -> None:
        if message.error() is not None:
            _LOG.warning("risk.alerts: %s", message.error())
            return
        place = message.partition() or 0, message.offset() or 0
        self._next[place[0]] = place[1] + 1
        try:
            record = decode(Schema.ALERT, message.value() or b"")
        except DecodeError as error:
            _LOG.warning("alert at %s refused: %s", place, error)
            return
        names = ("alert_id", "severity", "kind", "agent_id", "symbol", "message")
        self._dispatcher.take(Alert(**{name: record[name] for name in names}), place, time.monotonic())

    def _send(self) -> None:
        now_s = time.monotonic()
        for future in [future for future in self._running if future.done()]:
            route = self._running.pop(future)
            if future.exception() is None and future.result():
                self._dispatcher.done(route, now_s)
            else:
                self._pulse.fail()
                if given_up := self._dispatcher.failed(route, now_s):
                    _LOG.error("%d alerts were given up on route %s", given_up, route.name)
        for route, items in self._dispatcher.due(now_s):
            self._running[self._pool.submit(self._channels[route.name].send, items)] = route

    def _commit(self) -> None:
        """Commit what no route waits for any more."""
        moved = []
        for partition, next_offset in self._next.items():
            oldest = self._dispatcher.oldest(partition)
            offset = next_offset if oldest is None else oldest
            if offset != self._committed.get(partition):
                self._committed[partition] = offset
                moved.append(TopicPartition(self._topic, partition, offset))
        if moved:
            try:
                self._consumer.commit(offsets=moved, asynchronous=True)
            except KafkaException as error:
                _LOG.warning("offsets of risk.alerts: %s", error)
