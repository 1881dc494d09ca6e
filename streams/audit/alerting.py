"""Records that processes beside the workers write: alerts, cosignatures. Each is acknowledged or an error."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import KafkaException, Producer

from streams.core.errors import PortcullisError
from streams.names import Topic
from streams.wire.avro import Schema, encode
from streams.wire.headers import cloud_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

    from streams.core.alert_kinds import AlertKind
    from streams.wire.headers import Header

_log = structlog.get_logger(__name__)

_FLUSH_S: Final = 20.0
_AGAIN_S: Final = 3600.0
_MESSAGE_CHARS_MAX: Final = 1_000
_REMEMBERED_MAX: Final = 1_000


class PublishError(PortcullisError):
    """Kafka has not acknowledged a record."""


class KafkaPublisher:
    """Writes single records and waits for each."""

    def __init__(self, cluster: Mapping[str, str], prefix: str) -> None:
        self._prefix = prefix
        self._producer = Producer(
            {**cluster, "enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 1}
        )

    def publish(
        self,
        topic: Topic,
        key: bytes,
        value: bytes,
        *,
        partition: int | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        """Write a record. Raises: PublishError where it is not acknowledged."""
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        where = -1 if partition is None else partition  # -1: by key
        try:
            self._producer.produce(
                self._prefix + topic, value, key, headers=list(headers), partition=where, on_delivery=delivered
            )
            left = self._producer.flush(_FLUSH_S)
        except (KafkaException, BufferError) as error:
            raise PublishError(f"{topic}: {error}") from error
        if left or failed:
            raise PublishError(f"{topic}: not acknowledged: {failed[0].str() if failed else 'no answer'}")


class AlertSender:
    """Writes alerts of one service to `risk.alerts`; the same one again after an hour."""

    def __init__(self, publisher: KafkaPublisher, service: str, *, clock_s: Callable[[], float] = time.time) -> None:
        self._publisher = publisher
        self._service = service
        self._clock_s = clock_s
        self._told_s: dict[str, float] = {}

    def critical(self, kind: AlertKind, subject: str, message: str) -> None:
        """Tell a person; where Kafka does not answer, the log alone has it."""
        now_s = self._clock_s()
        digest = sha256(f"{kind}\n{subject}\n{message}".encode(errors="replace")).hexdigest()[:16]
        if now_s - self._told_s.get(digest, -_AGAIN_S) < _AGAIN_S:
            return
        now_us = int(now_s * 1_000_000)
        alert_id = f"{self._service}-{digest}-{int(now_s)}"
        alert = {
            "alert_id": alert_id,
            "severity": "CRITICAL",
            "kind": kind,
            "agent_id": "",
            "symbol": "",
            "message": message[:_MESSAGE_CHARS_MAX],
            "cause_time": now_us,
            "raised_at": now_us,
        }
        headers = cloud_event("portcullis.alert", f"/{self._service}", alert_id)
        try:
            self._publisher.publish(Topic.RISK_ALERTS, b"", encode(Schema.ALERT, alert), headers=headers)
        except PublishError as error:
            _log.error("alert not sent", kind=kind, message=message, error=str(error))
            return
        if len(self._told_s) >= _REMEMBERED_MAX:
            self._told_s.clear()
        self._told_s[digest] = now_s
