"""Legal holds: what must not be deleted whatever its age, by bot, until somebody takes the hold off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import orjson

from streams.archive.objects import EVENTS
from streams.archive.store import HOLDS, WrongStoreError
from streams.core.documents import NAME

if TYPE_CHECKING:
    from streams.archive.store import ObjectStore

_LOOK_EVERY_S: Final = 30.0


class Holds:
    """Which bots are under hold, as their notes in the store say; looked up every half minute."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._looked_s = -_LOOK_EVERY_S
        self._agents: frozenset[str] = frozenset()

    def agents(self) -> frozenset[str]:
        """Return the bots whose events are written under hold."""
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self._agents = frozenset(name.removeprefix(HOLDS) for name in self._store.names(HOLDS))
            self._looked_s = time.monotonic()
        return self._agents


def set_hold(store: ObjectStore, agent_id: str, *, held: bool, by: str, reason: str, now_us: int) -> int:
    """Put every event of a bot, and those to come, under hold or take it off; return how many were there.

    The note comes first and goes last, so that nothing is written between without it. Raises: StoreError.
    """
    name = HOLDS + _bot(agent_id)
    note = orjson.dumps({"agent_id": agent_id, "by": by, "reason": reason, "since_us": now_us})
    if held:
        store.put_note(name, note)
    count = 0
    for event in store.names(f"{EVENTS}{agent_id}/"):
        store.set_hold(event, held=held)
        count += 1
    if not held:
        store.put_note(name, None)
    return count


def extend(store: ObjectStore, agent_id: str, years: int) -> int:
    """Keep every event of a bot for so many years from when it was written; return how many there are."""
    count = 0
    for event in store.names(f"{EVENTS}{_bot(agent_id)}/"):
        store.extend(event, years)
        count += 1
    return count


def _bot(agent_id: str) -> str:
    if not NAME.fullmatch(agent_id) or set(agent_id) == {"."}:
        raise WrongStoreError(f"agent_id: {NAME.pattern} required, is {agent_id[:80]!a}")
    return agent_id
