"""Compare a cluster with the topology, mend what is safe, refuse the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.topics.admin import Admin, ClusterUnavailableError
from streams.topics.drift import Drift, DriftKind, compare, replicas_for, settings_for
from streams.topics.model import TopologyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.topics.model import Topology

Cluster = str | Mapping[str, str]

_SETTLE_TIMEOUT_S = 15.0
_SETTLE_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What `apply` did, and what it leaves to a person."""

    mended: tuple[Drift, ...]
    refused: tuple[Drift, ...]


def plan(topology: Topology, cluster: Cluster) -> tuple[Drift, ...]:
    """Return every difference between the topology and the cluster; changes nothing.

    Args:
        topology: what should be.
        cluster: bootstrap servers, or the configuration of a confluent-kafka client.

    Raises:
        ClusterUnavailableError: the cluster did not answer.
    """
    return compare(topology, Admin(cluster).look(topology.families))


def apply(topology: Topology, cluster: Cluster) -> Outcome:
    """Create what is missing and change what loses nothing; returns when the cluster shows it.

    Left as it is and reported: another number of partitions, less retention, another clean-up policy or timestamp type,
    fewer replicas than wanted, topics and settings that the topology does not know.

    Raises:
        ClusterUnavailableError: the cluster did not answer, or refused a change.
    """
    admin = Admin(cluster)
    live = admin.look(topology.families)
    mended = tuple(drift for drift in compare(topology, live) if drift.safe)
    replicas = replicas_for(topology, live)
    missing = [topic for topic in topology.topics if topology.name_of(topic) not in live.topics]
    admin.create(
        ((topology.name_of(topic), topic.partitions, settings_for(topology, topic, replicas)) for topic in missing),
        replicas=replicas,
    )
    admin.alter((drift.topic, drift.setting, drift.wanted) for drift in mended if drift.kind is DriftKind.SETTING)
    return Outcome(mended=mended, refused=_settled(admin, topology))


def make_changelog(topology: Topology, cluster: Cluster, name: str) -> None:
    """Create the compacted topic for rows of workers, as they make it where it is missing; waits for its leaders.

    Raises:
        ClusterUnavailableError: the cluster did not answer, or refused.
    """
    admin = Admin(cluster)
    replicas = replicas_for(topology, admin.look((name,)))
    settings = {"cleanup.policy": "compact", "min.insync.replicas": str(max(1, replicas - 1))}
    admin.create([(name, topology.lanes, settings)], replicas=replicas)

    def waiting() -> list[str]:
        live = admin.look((name,)).topics
        return [] if name in live and live[name].has_leaders else [f"{name} has no leader"]

    _wait(waiting)


def discard(topology: Topology, cluster: Cluster) -> tuple[str, ...]:
    """Delete every topic of an isolated run, its changelogs included; returns their names.

    Raises:
        TopologyError: the topology has no prefix, so its topics are the real ones.
        ClusterUnavailableError: the cluster did not answer, or refused.
    """
    if not topology.prefix:
        raise TopologyError("only the topics of an isolated run are deleted: this topology has no prefix")
    admin = Admin(cluster)
    names = admin.delete(topology.prefix)
    _wait(lambda: [f"{name} is still there" for name in admin.look((topology.prefix,)).topics])
    return names


def _settled(admin: Admin, topology: Topology) -> tuple[Drift, ...]:
    """Wait until the brokers show what was asked of the controller; return what is left to a person."""

    def waiting() -> list[str]:
        live = admin.look(topology.families)
        leaderless = [f"{name} has no leader" for name, topic in live.topics.items() if not topic.has_leaders]
        return leaderless + [str(drift) for drift in compare(topology, live) if drift.safe]

    _wait(waiting)
    return compare(topology, admin.look(topology.families))


def _wait(problems: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while left := problems():
        if time.monotonic() > deadline:
            raise ClusterUnavailableError(f"not done after {_SETTLE_TIMEOUT_S:g} s: {'; '.join(left)}")
        time.sleep(_SETTLE_POLL_S)
