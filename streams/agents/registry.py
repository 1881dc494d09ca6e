"""The registry agent: who may trade, by three parties' signatures, checked here again and not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streams.agents.alerts import INFO, WARNING
from streams.core.alert_kinds import AlertKind
from streams.core.orders import Failure
from streams.wire.registration import Registration, RegistrationRefusedError, check_registration

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from streams.agents.lane import Lane
    from streams.engine.tables import PartitionTable

_TIME_BYTES: Final = 8
_SUBJECT_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Registered:
    """A bot on the books: its registration, or why this worker's trust store refuses it now."""

    registration: Registration | None
    failure: Failure | None


class RegistryAgent:
    """Keeps each bot's registration as received, and what was read from it."""

    def __init__(self, lane: Lane, table: PartitionTable[bytes]) -> None:
        self._lane = lane
        self._table = table
        self._checked: dict[str, Registered] = {}
        self._keys: dict[bytes, EllipticCurvePublicKey] = {}

    def key_of(self, thumbprint: bytes) -> EllipticCurvePublicKey | None:
        """Return the key of a registered certificate that was used before; called in threads."""
        return self._keys.get(thumbprint)

    def get(self, agent_id: str) -> Registered | None:
        """Return the bot's registration, checked against the trust store once per worker's life."""
        found = self._checked.get(agent_id)
        if found is None:
            row = self._table.get(agent_id)
            if row is None:
                return None
            found = self._check(row[_TIME_BYTES:], int.from_bytes(row[:_TIME_BYTES], "big"))
            self._remember(agent_id, found)
            if found.registration is not None:
                self._lane.schedule.look(found.registration)
        return found

    def look_again(self) -> None:
        """Check every registration anew when it is next used: others are trusted now, or other certificates revoked."""
        self._checked.clear()
        self._keys.clear()

    def in_force(self) -> list[Registration]:
        """Return the registrations that this worker has looked at and trusts."""
        return [known.registration for known in self._checked.values() if known.registration is not None]

    def on_record(self, record: ConsumerRecord) -> None:
        """Take a registration, or refuse it and keep the one before."""
        lane, key = self._lane, record.key or b""
        agent_id = key.decode(errors="replace")[:64]
        value, appended_us = record.value or b"", record.timestamp * 1000
        try:
            registration = check_registration(value, lane.trust.store, appended_us)
            if registration.agent_id.encode() != key:
                raise RegistrationRefusedError((f"key: agent_id {registration.agent_id!r} required, is {key[:64]!r}",))
            self._require_newer(registration)
        except RegistrationRefusedError as error:
            self._refuse(record, agent_id, value, error)
            return
        bot = lane.bot(agent_id)
        before = bot.trading_state.value
        bot.registered_policy = registration.policy.policy_id.hex()
        self._table.put(agent_id, appended_us.to_bytes(_TIME_BYTES, "big") + value)
        self._remember(agent_id, Registered(registration, None))
        lane.record_event(
            record,
            "AGENT_REGISTERED",
            agent_id,
            bot,
            subject=value,
            state_before=before,
            policy_sha256=registration.policy.policy_id,
            signer=registration.operator,
            authorised_by=registration.operator,
            approved_by=registration.approver,
            details={"certificate_sha256": registration.thumbprint.hex()},
        )
        message = f"{agent_id} registered by {registration.operator}, policy approved by {registration.approver}"
        lane.alerts.raise_alert(INFO, AlertKind.AGENT_REGISTERED, message, agent_id=agent_id, cause_us=appended_us)
        lane.schedule.look(registration)

    def _require_newer(self, registration: Registration) -> None:
        """Refuse a registration that is older than the one in force: an old, looser policy must not come back."""
        known = self.get(registration.agent_id)
        if known is None or known.registration is None:
            return
        in_force_us = known.registration.registered_at_us
        if registration.registered_at_us < in_force_us:
            raise RegistrationRefusedError(
                (f"registered_at: at least {in_force_us} us required, is {registration.registered_at_us} us",)
            )

    def _refuse(self, record: ConsumerRecord, agent_id: str, value: bytes, error: RegistrationRefusedError) -> None:
        lane = self._lane
        bot = lane.bots.get(agent_id)
        lane.record_event(
            record,
            "AGENT_REFUSED",
            agent_id,
            bot,
            subject=value[:_SUBJECT_BYTES_MAX],
            state_before="ACTIVE" if bot is None else bot.trading_state.value,
            outcome=error.reason,
            details={"problems": "; ".join(error.problems)[:4000]},
        )
        message = f"registration of {agent_id!r} refused: {'; '.join(error.problems)}"[:1000]
        cause_us = record.timestamp * 1000
        lane.alerts.raise_alert(WARNING, AlertKind.AGENT_REFUSED, message, agent_id=agent_id, cause_us=cause_us)

    def _check(self, value: bytes, at_us: int) -> Registered:
        try:
            return Registered(check_registration(value, self._lane.trust.store, at_us), None)
        except RegistrationRefusedError as error:
            return Registered(None, Failure(error.reason, "trusted", "; ".join(error.problems)[:1000], "TEXT"))

    def _remember(self, agent_id: str, found: Registered) -> None:
        before = self._checked.get(agent_id)
        if before is not None and before.registration is not None:
            self._keys.pop(before.registration.thumbprint, None)
        self._checked[agent_id] = found
        if found.registration is not None:
            self._keys[found.registration.thumbprint] = found.registration.public_key
