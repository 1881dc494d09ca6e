"""Topics as data: read `topology/topics.toml`, compare it with a cluster, mend what is safe, draw the flow page."""

from streams.topics.admin import ClusterUnavailableError
from streams.topics.cluster import Outcome, apply, discard, make_changelog, plan
from streams.topics.drift import Drift, DriftKind
from streams.topics.flow import render_flow
from streams.topics.loader import load_topology
from streams.topics.model import TopicSpec, Topology, TopologyError

__all__ = [
    "ClusterUnavailableError",
    "Drift",
    "DriftKind",
    "Outcome",
    "TopicSpec",
    "Topology",
    "TopologyError",
    "apply",
    "discard",
    "load_topology",
    "make_changelog",
    "plan",
    "render_flow",
]
