"""What a topic is: plain values, read from `topology/topics.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Mapping


class TopologyError(PortcullisError):
    """The topology file does not hold; names every topic, field, limit and value at once."""


@unique
class Cleanup(StrEnum):
    """What becomes of old records: deleted by age, or compacted to the last of each key."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic; `config` holds every broker setting that Portcullis relies on, in the broker's own names."""

    name: str
    purpose: str
    key: str
    value: str
    schemas: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int
    cleanup: Cleanup
    kept: str
    config: Mapping[str, str] = field(repr=False)

    @property
    def family(self) -> str:
        """Return the first word of the name with its dot, as "orders."."""
        return self.name.partition(".")[0] + "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """All topics; `prefix` isolates a run (a drill, a test) from every other on the same cluster."""

    topics: tuple[TopicSpec, ...]
    lanes: int
    replicas: int
    min_insync_replicas: int
    prefix: str = ""

    def isolated(self, prefix: str) -> Topology:
        """Return the same topology under names of its own, as "drill-1.orders.requested"."""
        return replace(self, prefix=prefix)

    def name_of(self, topic: TopicSpec) -> str:
        """Return the topic's name on the cluster."""
        return self.prefix + topic.name

    @property
    def families(self) -> tuple[str, ...]:
        """Return the beginnings of the names that belong to Portcullis on the cluster."""
        return tuple(sorted({self.prefix + topic.family for topic in self.topics}))
