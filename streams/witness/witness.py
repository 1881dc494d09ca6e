"""The witness's work: each checkpoint must extend the last one seen; the newest is cosigned and published.

Every checkpoint is checked; one per log and second is cosigned, as each covers all before it. The state is on disk
before the cosignature leaves, so a witness that was killed never cosigns two histories.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from streams.audit.segments import Position
from streams.core.alert_kinds import AlertKind
from streams.names import Topic
from streams.wire.note import NoteError, SignatureType, cosign_note
from streams.witness.state import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streams.audit.alerting import AlertSender
    from streams.audit.segments import Segment
    from streams.core.errors import PortcullisError
    from streams.wire.note import Signer
    from streams.witness.state import WitnessState

COSIGN_EVERY_S: Final = 1.0


class Publisher(Protocol):
    """What publishes a record durably before it returns."""

    def publish(self, topic: Topic, key: bytes, value: bytes, *, partition: int | None = None) -> None:
        """Write a record. Raises: PortcullisError where it is not acknowledged."""


class Witness:
    """Cosigns the logs of a cluster; a `Handler` of the follower."""

    def __init__(
        self,
        cosigner: Signer,
        state: WitnessState,
        origins: Mapping[int, str],
        publisher: Publisher,
        alerts: AlertSender,
        *,
        every_s: float = COSIGN_EVERY_S,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if cosigner.verifier.type is not SignatureType.COSIGNATURE_V1:
            raise NoteError(f"witness {cosigner.verifier.name}: a key for cosignatures required")
        self._cosigner = cosigner
        self._state = state
        self._origins = origins
        self._publisher = publisher
        self._alerts = alerts
        self._every_s = every_s
        self._clock_s = clock_s
        self._cosigned_s: dict[int, float] = {}
        self._ahead: dict[int, Segment] = {}

    def start(self, lane: int) -> Position:
        """Return where to go on; what was cosigned last is published again, as nobody knows whether it was."""
        self._ahead.pop(lane, None)
        seen = self._state.get(self._origins[lane])
        if seen is None:
            return Position()
        self._publish(lane, seen.note)
        return seen.position

    def handle(self, lane: int, segments: Sequence[Segment]) -> None:
        """Take checked segments; cosign the newest where a second has passed."""
        self._ahead[lane] = segments[-1]
        self.cosign_due()

    def cosign_due(self, *, at_once: bool = False) -> None:
        """Cosign what waits for its second to pass, or all of it at once."""
        now_s = self._clock_s()
        for lane, segment in list(self._ahead.items()):
            if at_once or now_s - self._cosigned_s.get(lane, 0.0) >= self._every_s:
                self._cosign(lane, segment, now_s)

    def tell(self, lane: int, error: PortcullisError) -> None:
        """Alert: this log is not cosigned any more."""
        origin = self._origins[lane]
        seen = self._state.get(origin)
        size = 0 if seen is None else seen.position.tree.size
        message = f"witness {self._cosigner.verifier.name} cosigns nothing of {origin} past {size} leaves: {error}"
        self._alerts.critical(AlertKind.WITNESS_REFUSED, origin, message)

    def _cosign(self, lane: int, segment: Segment, now_s: float) -> None:
        note = cosign_note(segment.note, self._cosigner, time_s=int(now_s))
        self._state.put(self._origins[lane], Seen(segment.after, note))
        self._publish(lane, note)
        self._cosigned_s[lane] = now_s
        del self._ahead[lane]

    def _publish(self, lane: int, note: bytes) -> None:
        self._publisher.publish(Topic.AUDIT_COSIGNATURES, self._origins[lane].encode(), note, partition=lane)
