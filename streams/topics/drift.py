"""Compare the topology with what a cluster has; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

from streams.topics.rules import CHANGE_RULES, Change, is_safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.topics.model import TopicSpec, Topology

_IN_SYNC = "min.insync.replicas"
# Set by Kafka's own reassignment tool while it runs.
_PASSING_SETTINGS = frozenset({"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTopic:
    """A topic as the cluster has it; `overrides` are the settings made on the topic itself."""

    partitions: int
    replicas: int
    has_leaders: bool
    settings: Mapping[str, str]
    overrides: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCluster:
    """The cluster's brokers (their number) and topics by name."""

    brokers: int
    topics: Mapping[str, LiveTopic]


@unique
class DriftKind(Enum):
    """In what a topic differs, and what a program may do about it."""

    MISSING = "is missing"
    UNKNOWN = "is not in the topology; remove it by hand if nobody needs it"
    TOO_FEW_PARTITIONS = "has too few partitions; more of them would move keys to other lanes"
    TOO_MANY_PARTITIONS = "has too many partitions; Kafka cannot take any away"
    TOO_FEW_REPLICAS = "has too few replicas; add them with kafka-reassign-partitions"
    SETTING = "has a setting that differs"
    STRAY_SETTING = "has a setting that the topology does not name; remove it by hand, or add it there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference; `safe` ones are mended by `apply`, the others need a person."""

    topic: str
    kind: DriftKind
    safe: bool
    setting: str = ""
    wanted: str = ""
    found: str = ""

    def __str__(self) -> str:
        """Return one line for a person: what differs, and why it is left where it is not safe."""
        text = f"{self.topic} {self.kind.value}"
        if self.kind is DriftKind.SETTING:
            text = f"{self.topic}: {self.setting} is {self.found}, wanted {self.wanted}"
            if not self.safe:
                text += f"; not changed: {CHANGE_RULES.get(self.setting, Change.NEVER).value}"
        elif self.kind is DriftKind.STRAY_SETTING:
            text = f"{self.topic}: {self.setting} is {self.found}; it {self.kind.value.partition('that ')[2]}"
        elif self.found:
            text += f" ({self.found}, wanted {self.wanted})"
        return text


def compare(topology: Topology, live: LiveCluster) -> tuple[Drift, ...]:
    """Return every difference between the topology and the cluster, in the topology's order."""
    drifts: list[Drift] = []
    for topic in topology.topics:
        name = topology.name_of(topic)
        found = live.topics.get(name)
        if found is None:
            drifts.append(Drift(topic=name, kind=DriftKind.MISSING, safe=True))
        else:
            drifts += _shape(name, topic, found, replicas_for(topology, live))
            drifts += _settings(name, settings_for(topology, topic, found.replicas), found)
    known = {topology.name_of(topic) for topic in topology.topics}
    unknown = sorted(name for name in live.topics if name.startswith(topology.families) and name not in known)
    return (*drifts, *(Drift(topic=name, kind=DriftKind.UNKNOWN, safe=False) for name in unknown))


def replicas_for(topology: Topology, live: LiveCluster) -> int:
    """Return how many copies a topic gets: the wanted number, or as many as there are brokers."""
    return min(topology.replicas, live.brokers)


def settings_for(topology: Topology, topic: TopicSpec, replicas: int) -> dict[str, str]:
    """Return the topic's settings; one copy fewer than there are must suffice for writing."""
    in_sync = max(1, min(topology.min_insync_replicas, replicas - 1))
    return {**topic.config, _IN_SYNC: str(in_sync)}


def _shape(name: str, topic: TopicSpec, found: LiveTopic, replicas: int) -> Iterator[Drift]:
    rows = (
        (DriftKind.TOO_FEW_PARTITIONS, topic.partitions, found.partitions, found.partitions < topic.partitions),
        (DriftKind.TOO_MANY_PARTITIONS, topic.partitions, found.partitions, found.partitions > topic.partitions),
        (DriftKind.TOO_FEW_REPLICAS, replicas, found.replicas, found.replicas < replicas),
    )
    for kind, wanted, has, differs in rows:
        if differs:
            yield Drift(topic=name, kind=kind, safe=False, wanted=str(wanted), found=str(has))


def _settings(name: str, wanted: Mapping[str, str], found: LiveTopic) -> Iterator[Drift]:
    for setting, value in wanted.items():
        has = found.settings.get(setting, "")
        if has != value:
            safe = is_safe(setting, wanted=value, found=has)
            yield Drift(topic=name, kind=DriftKind.SETTING, safe=safe, setting=setting, wanted=value, found=has)
    for setting in sorted(found.overrides - set(wanted) - _PASSING_SETTINGS):
        has = found.settings[setting]
        yield Drift(topic=name, kind=DriftKind.STRAY_SETTING, safe=False, setting=setting, found=has)
