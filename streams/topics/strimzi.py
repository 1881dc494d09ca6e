"""Topics and access rules as Strimzi's resources: `kafka-topics.yaml` and `kafka-users.yaml` of `infra/kubernetes`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from streams.topics.acls import Grant, Kind, grants, load_principals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streams.topics.model import Topology

_HEAD: Final = (
    "# Made from topology/topics.toml and topology/acls.toml by `python -m tests.make_strimzi`; a test compares them."
)
_CLUSTER: Final = "portcullis"
_TYPES: Final = {Kind.TOPIC: "topic", Kind.GROUP: "group", Kind.TRANSACTIONAL_ID: "transactionalId"}


def render_topics(topology: Topology) -> str:
    """Return a KafkaTopic for every topic."""
    return "\n".join([_HEAD, *(line for topic in topology.topics for line in _topic(topology, topic.name))]) + "\n"


def render_users(topology: Topology, bots: Iterable[str]) -> str:
    """Return a KafkaUser for every principal but the bots, whose way is their enforcer."""
    wanted = sorted(grants(topology, load_principals(topology), bots))
    users = [(name, list(rules)) for name, rules in groupby(wanted, key=lambda grant: grant.principal)]
    lines = [line for name, rules in users if not name.startswith("bot:") for line in _user(name, rules)]
    return "\n".join([_HEAD, *lines]) + "\n"


def _head(kind: str, name: str) -> list[str]:
    return [
        "---",
        "apiVersion: kafka.strimzi.io/v1",
        f"kind: {kind}",
        "metadata:",
        f"  name: {name}",
        f"  labels: {{strimzi.io/cluster: {_CLUSTER}}}",
        "spec:",
    ]


def _topic(topology: Topology, name: str) -> Iterator[str]:
    topic = next(topic for topic in topology.topics if topic.name == name)
    config = {**topic.config, "min.insync.replicas": str(topology.min_insync_replicas)}
    yield from _head("KafkaTopic", topology.name_of(topic))
    yield f"  partitions: {topic.partitions}"
    yield f"  replicas: {topology.replicas}"
    yield "  config:"
    yield from (f'    {setting}: "{value}"' for setting, value in sorted(config.items()))


def _user(name: str, rules: list[Grant]) -> Iterator[str]:
    # A name of Kubernetes has no colon; the principal is then CN=<name>.
    yield from _head("KafkaUser", name.replace(":", "-"))
    yield "  authentication: {type: tls}"
    yield "  authorization:"
    yield "    type: simple"
    yield "    acls:"
    for (kind, resource, prefixed), same in groupby(rules, key=lambda rule: (rule.kind, rule.name, rule.prefixed)):
        operations = ", ".join(_camel(rule.operation.value) for rule in same)
        pattern = "prefix" if prefixed else "literal"
        yield f"      - resource: {{type: {_TYPES[kind]}, name: {resource}, patternType: {pattern}}}"
        yield f"        operations: [{operations}]"
        yield '        host: "*"'


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))
