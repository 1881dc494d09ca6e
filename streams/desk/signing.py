"""Commands in people's names: signed with the person's own key where the desk holds it, and sent to the lanes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from streams.core.errors import PortcullisError
from streams.desk.people import NotAllowedError
from streams.incidents import completed_audit, incident_of
from streams.kafka.commanding import send_command
from streams.kafka.producing import Sender
from streams.names import Topic
from streams.wire.commands import Action, Command, CommandRefusedError, check_command, sign_command
from streams.wire.devpki import held_key
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers
from streams.wire.trust import load_trust

if TYPE_CHECKING:
    from pathlib import Path

    from streams.desk.orders import Order
    from streams.desk.people import Identity
    from streams.settings import Settings
    from streams.wire.keys import SigningKey


class Hand:
    """Gives commands; one producer for the desk's life, so that a kill waits for no connection."""

    def __init__(self, settings: Settings, keys: Path, lanes: int) -> None:
        self._settings, self._keys, self._lanes = settings, keys, lanes
        self._sender = Sender(settings.require_cluster(), settings.kafka_security)
        self._topic = settings.topic_prefix + Topic.AGENTS_COMMANDS

    def holds_key_of(self, name: str) -> bool:
        """Say whether commands can be signed here in a person's name."""
        return self._key_of(name) is not None

    def give(self, identity: Identity, order: Order, *, now_us: int) -> Command:
        """Sign a command in a person's name and send it; what the gate would refuse is refused here already.

        Raises: NotAllowedError without a key of the person's; CommandRefusedError; KafkaException where the cluster
        does not take it.
        """
        key = self._key_of(identity.name)
        if key is None:
            raise NotAllowedError(
                f"the desk holds no key of {identity.name}: give the command with `portcullis agent`, by your own key"
            )
        command = Command(
            str(uuid.uuid4()),
            order.action,
            order.scope,
            order.target,
            order.reason,
            identity.name,
            now_us,
            incident_id=order.incident_id,
            stage=order.stage,
            document=self._audit(identity, order) if order.action is Action.COMPLETE else None,
        )
        value, headers = sign_command(command, key)
        try:
            check_command(value, *find_headers(headers, SIGNATURE, THUMBPRINT), load_trust(self._settings.pki))
        except CommandRefusedError:
            raise
        except PortcullisError as error:
            raise CommandRefusedError(str(error)) from None
        send_command(self._sender, self._topic, command, value, headers, self._lanes)
        return command

    def _audit(self, identity: Identity, order: Order) -> bytes:
        """Return the audit that the person signs: built from the log as it is now, with their findings."""
        incident = incident_of(self._settings, order.incident_id or "")
        return completed_audit(self._settings, incident, order.changes, findings=order.reason, by=identity.name)

    def _key_of(self, name: str) -> SigningKey | None:
        try:
            return held_key(self._keys, self._settings.pki, name)
        except PortcullisError:
            return None
