"""Checks of what is elsewhere: the broker, its topics and its clock; the warehouse."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.doctor.finding import Check, Finding, failed, ok, warning
from streams.topics.admin import Admin
from streams.warehouse.connection import WarehouseUnavailableError, connect, embedded_folder

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from streams.settings import Settings

_TIMEOUT_S: Final = 5.0
_CLOCK_WARN_MS: Final = 100.0
_CLOCK_FAIL_MS: Final = 1_000.0
_UNSET: Final = "KAFKA_BOOTSTRAP_SERVERS is not set: the commands start a broker of their own"


def _broker(settings: Settings) -> Finding:
    if not settings.kafka_bootstrap_servers:
        return ok(_UNSET)
    try:
        cluster = AdminClient({**settings.cluster(), "log_level": 0}).list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        reason = error.args[0]
        return failed(
            f"{settings.kafka_bootstrap_servers}: {reason.str() if hasattr(reason, 'str') else reason}",
            "start it (portcullis broker run), or correct KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_*",
        )
    return ok(f"{len(cluster.brokers)} brokers, {len(cluster.topics)} topics")


def _topics(settings: Settings) -> Finding:
    if not settings.kafka_bootstrap_servers:
        return ok(_UNSET)
    drift = topics.plan(
        topics.load_topology(lanes=settings.lanes or None, prefix=settings.topic_prefix), settings.cluster()
    )
    if not drift:
        return ok("as topology/topics.toml has them")
    return failed(
        f"{len(drift)} differences, the first: {drift[0]}",
        f"portcullis topology {'apply' if all(one.safe for one in drift) else 'plan'}",
    )


def _clock(settings: Settings) -> Finding:
    """Compare this machine's clock with the broker's, which dates every record: by a record on a topic of its own."""
    if not settings.kafka_bootstrap_servers:
        return ok(_UNSET)
    name = f"{settings.topic_prefix}doctor-{secrets.token_hex(4)}"
    admin = Admin(settings.cluster())
    admin.create([(name, 1, {"message.timestamp.type": "LogAppendTime"})], replicas=1)
    try:
        sent_ms, stamped_ms, known_ms = _append(settings, name)
    finally:
        admin.delete(name)
    # The broker's moment was between ours; what lies outside is the clocks'.
    ahead_ms = max(0.0, stamped_ms - known_ms) - max(0.0, sent_ms - stamped_ms)
    text = f"the broker's is {abs(ahead_ms):.0f} ms {'ahead' if ahead_ms > 0 else 'behind'}"
    mend = "synchronise both clocks (chrony or systemd-timesyncd)"
    if abs(ahead_ms) > _CLOCK_FAIL_MS:
        return failed(text, mend)
    return (
        warning(text, mend)
        if abs(ahead_ms) > _CLOCK_WARN_MS
        else ok(f"within {known_ms - sent_ms:.0f} ms of the broker's")
    )


def _append(settings: Settings, name: str) -> tuple[float, float, float]:
    """Append a record; return when we sent it, when the broker dated it, when we knew (milliseconds)."""
    found: list[tuple[float, float]] = []
    failure: list[KafkaError] = []
    done = threading.Event()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failure.append(error)
        else:
            found.append((message.timestamp()[1], time.time() * 1000))
        done.set()

    producer = Producer({**settings.cluster(), "linger.ms": 0, "log_level": 0, "message.timeout.ms": 5000})
    for _ in range(2):  # the first one waits for metadata and connections
        done.clear()
        sent_ms = time.time() * 1000
        producer.produce(name, b"clock", on_delivery=delivered)
        producer.flush(_TIMEOUT_S)
    if failure or len(found) < 2:
        raise KafkaException(failure[0] if failure else "not acknowledged")
    return sent_ms, *found[-1]


def _warehouse(settings: Settings) -> Finding:
    dsn = settings.warehouse
    folder = embedded_folder(dsn)
    if folder is not None and not folder.exists():
        return ok("none yet: the first `portcullis warehouse` makes it")
    try:
        client = connect(dsn)
    except WarehouseUnavailableError as error:
        return failed(str(error)[:300], "start it, or correct PORTCULLIS_WAREHOUSE_DSN")
    try:
        return ok(f"ClickHouse {client.command('SELECT version()')}")
    finally:
        client.close()


CLUSTER_CHECKS: Final = (
    Check("broker", _broker),
    Check("topics", _topics),
    Check("clock", _clock),
    Check("warehouse", _warehouse),
)
