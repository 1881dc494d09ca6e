"""Which change of a topic's setting loses nothing, and so may be made by a program."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Change(Enum):
    """When a broker setting may be brought to the wanted value without asking a person."""

    ANY = "loses nothing in either direction"
    RAISE = "lowering it loses data, or turns away what is accepted today"
    NEVER = "it changes the meaning of what is already stored"


# Every setting that topics.toml may use. -1 counts as unlimited, so as the highest.
CHANGE_RULES = {
    "cleanup.policy": Change.NEVER,
    "message.timestamp.type": Change.NEVER,
    "retention.ms": Change.RAISE,
    "retention.bytes": Change.RAISE,
    "min.compaction.lag.ms": Change.RAISE,
    "delete.retention.ms": Change.RAISE,
    "max.message.bytes": Change.RAISE,
    "min.insync.replicas": Change.RAISE,
    "compression.type": Change.ANY,
    "segment.ms": Change.ANY,
    "min.cleanable.dirty.ratio": Change.ANY,
    "unclean.leader.election.enable": Change.ANY,
}


def is_safe(setting: str, *, wanted: str, found: str) -> bool:
    """Tell whether `setting` may go from `found` to `wanted`; an unknown setting or value may not."""
    rule = CHANGE_RULES.get(setting, Change.NEVER)
    if rule is not Change.RAISE:
        return rule is Change.ANY
    try:
        return _rank(wanted) > _rank(found)
    except ValueError:
        return False


def _rank(text: str) -> float:
    number = int(text)
    return float("inf") if number < 0 else number
