"""Whom the lanes trust now: pinned certificates and revocation lists, read again where a file of them changed.

Reading happens beside the lanes, in a thread. A lane takes over at the begin of a micro-batch and writes down in its
log what is in force from there on; so the log says by which list each order was refused. A folder that does not hold
changes nothing: what was in force stays so, and people are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from streams.agents.alerts import CRITICAL, INFO
from streams.core.alert_kinds import AlertKind
from streams.wire.revocation import list_text
from streams.wire.trust import TrustError, load_trust, trust_digest, trust_stamp

if TYPE_CHECKING:
    from pathlib import Path

    from streams.agents.lane import Lane
    from streams.engine.tables import PartitionTable
    from streams.wire.trust import TrustStore

_ROW: Final = "TRUST"
TRUST_EVERY_S: Final = 2.0
"""How often the folder is looked at."""
_TEXT_CHARS_MAX: Final = 4_000


@dataclass(frozen=True, slots=True)
class Trusted:
    """A trust folder as it was read, and the SHA-256 of its files in hexadecimal."""

    store: TrustStore
    digest: str


class TrustSource:
    """What lanes take over with their next micro-batch."""

    def __init__(self, folder: Path, current: Trusted) -> None:
        self.current = current
        self._folder = folder
        self._stamp = trust_stamp(folder)
        self._refusal = ""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the trust folder of a PKI folder. Raises: TrustError."""
        return cls(folder, _read(folder))

    def look(self) -> None:
        """Read the folder again where a file of it changed; blocks, so it is called in a thread."""
        try:
            self._look()
        except OSError:
            return  # a file went away while it was looked at: the next look sees what is there then

    def _look(self) -> None:
        stamp = trust_stamp(self._folder)
        if stamp == self._stamp:
            return
        try:
            found, refusal = _read(self._folder), ""
        except TrustError as error:
            found, refusal = self.current, str(error)
        if trust_stamp(self._folder) == stamp:  # else it changed while it was read
            self.current, self._refusal, self._stamp = found, refusal, stamp

    def take_refusal(self) -> str:
        """Return, once, why the folder as it is now is not in force; empty where it is."""
        refusal, self._refusal = self._refusal, ""
        return refusal


def _read(folder: Path) -> Trusted:
    return Trusted(load_trust(folder), trust_digest(folder))


class TrustAgent:
    """One lane's part: what it decides by, and the event that says since when."""

    def __init__(self, lane: Lane, table: PartitionTable[list[str]]) -> None:
        self._lane = lane
        self._table = table
        self._current = lane.services.trust.current

    @property
    def store(self) -> TrustStore:
        """Return the certificates and lists by which this micro-batch decides."""
        return self._current.store

    def begin(self) -> None:
        """Take over what was read since the last micro-batch, and log it where the log says another."""
        source = self._lane.services.trust
        if source.current is not self._current:
            self._current = source.current
            self._lane.registry.look_again()
        row = self._table.get(_ROW)
        if row is None or row[0] != self._current.digest:
            self._table.put(_ROW, [self._current.digest])
            if row is not None:
                self._log(row[0])
        if refusal := source.take_refusal():
            message = f"the trust folder changed and does not hold, what was in force stays so: {refusal}"[:1000]
            self._lane.alerts.raise_alert(CRITICAL, AlertKind.TRUST_REFUSED, message, cause_us=self._lane.now_us)

    def _log(self, before: str) -> None:
        lane, digest = self._lane, self._current.digest
        lists = "; ".join(map(list_text, self.store.crls))
        lane.record_event(
            lane.clock(lane.now_us),
            "TRUST_CHANGED",
            "",
            None,
            details={"trust_sha256": digest, "before": before, "revocation_lists": lists[:_TEXT_CHARS_MAX]},
        )
        message = f"trust {digest[:16]} instead of {before[:16]}; {lists or 'no revocation list'}"[:1000]
        lane.alerts.raise_alert(INFO, AlertKind.TRUST_CHANGED, message, cause_us=lane.now_us)
