"""What the topics say of the bots served here: registration, limits, and the last change of their trading state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from streams.core.orders import MONEY_SCALE, QTY_SCALE, decimal_text
from streams.core.texts import time_text
from streams.kafka.reading import partitions_of, reader, stored
from streams.names import Topic
from streams.wire.avro import DecodeError, Schema, decode
from streams.wire.registration import RegistrationRefusedError, check_registration
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Consumer

    from streams.core.policy import Policy
    from streams.kafka.reading import Stored
    from streams.settings import Settings
    from streams.wire.registration import Registration

_TOPICS: Final = (Topic.AGENTS_REGISTRY, Topic.RISK_CIRCUIT_BREAKERS)
_POLL_S: Final = 0.2
_PATIENT: Final = {"fetch.wait.max.ms": 500}
_RETRY_S: Final = 0.5


class AgentView:
    """Follows two compacted topics in a thread."""

    def __init__(self, settings: Settings, agents: Iterable[str]) -> None:
        self._settings = settings
        self._keys = {agent_id.encode(): agent_id for agent_id in agents}
        self._found: dict[str, dict[str, Any]] = {
            agent_id: {"registered": False, "trading_state": "ACTIVE"} for agent_id in self._keys.values()
        }
        self._waiting: set[tuple[str, int]] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agent-view", daemon=True)

    @property
    def caught_up(self) -> bool:
        """Tell whether both topics have been read to their ends once."""
        return self._waiting is not None and not self._waiting

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def of(self, agent_id: str) -> dict[str, Any]:
        """Return what is known of a bot that is served here."""
        return dict(self._found[agent_id])

    def _run(self) -> None:
        while not self._stopping.is_set():
            consumer = reader(self._settings.kafka_bootstrap_servers, self._settings.kafka_security, **_PATIENT)
            try:
                self._follow(consumer)
            except (KafkaException, KeyError):  # the broker is away, or topics are not there yet
                self._stopping.wait(_RETRY_S)
            finally:
                consumer.close()

    def _follow(self, consumer: Consumer) -> None:
        places = partitions_of(consumer, [self._settings.topic_prefix + topic for topic in _TOPICS])
        self._waiting = set(places)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in places])
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.key() in self._keys:
                    self._take(stored(message))
            elif error.name() == "_PARTITION_EOF":
                self._waiting.discard((message.topic() or "", message.partition() or 0))

    def _take(self, record: Stored) -> None:
        agent = self._found[self._keys[record.key]]
        try:
            if record.topic.endswith(Topic.AGENTS_REGISTRY):
                registration = check_registration(record.value, load_trust(self._settings.pki), record.timestamp_us)
                agent |= {"registered": True} | registration_document(registration)
            else:
                event = decode(Schema.BREAKER_EVENT, record.value)
                agent |= {
                    "trading_state": event["state"],
                    "state_reason": event["reason"],
                    "state_since": time_text(event["event_time"]),
                }
        except RegistrationRefusedError as error:
            agent |= {"registered": False, "refused": list(error.problems)}
        except DecodeError:
            return


def registration_document(registration: Registration) -> dict[str, Any]:
    """Return a registration as JSON, with the policy's limits."""
    policy = registration.policy
    return {
        "policy_id": policy.policy_id.hex(),
        "operator": registration.operator,
        "certificate_sha256": registration.thumbprint.hex(),
        "certificate_not_after": time_text(registration.not_after_us),
        "policy_valid_until": time_text(policy.valid_until_us),
        "limits": limits_document(policy),
    }


def limits_document(policy: Policy) -> dict[str, Any]:
    """Return what a policy allows, amounts as decimal text."""
    return {
        "max_order_value_eur": decimal_text(policy.max_order_value_e5, MONEY_SCALE),
        "max_daily_value_eur": decimal_text(policy.max_daily_value_e5, MONEY_SCALE),
        "max_order_qty": {name: decimal_text(qty, QTY_SCALE) for name, qty in sorted(policy.max_order_qty_e17.items())},
        "allowed_markets": sorted(policy.allowed_markets),
        "allowed_regions": sorted(policy.allowed_regions),
        "allowed_venues": sorted(policy.allowed_venues),
        "message_rate_max_per_s": policy.message_rate_max_per_s,
        "max_order_age_ms": policy.max_order_age_ms,
        "price_collar_bps": policy.price_collar_bps,
    }
