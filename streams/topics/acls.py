"""Who may do what on the cluster: `topology/acls.toml` and the topics' parties, as a set of grants. Pure."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from streams.resources import resource
from streams.topics.model import TopologyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from streams.topics.model import Topology

OURS: Final = "portcullis"
"""How our consumer groups and transactional ids begin."""

_NAME: Final = re.compile(r"[a-z]+(-[a-z]+)*")
# What an agent_id is (`NAME` in streams/core/documents.py), and so what may follow "bot:".
_INSTANCE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIELDS: Final = frozenset({"parties", "each", "groups", "transactional_ids", "state", "plans"})


@unique
class Kind(StrEnum):
    """What a grant is about."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional_id"


@unique
class Operation(StrEnum):
    """Kafka's operations that anybody here is granted; never DELETE, ALTER or ALTER_CONFIGS."""

    READ = "READ"
    WRITE = "WRITE"
    CREATE = "CREATE"
    DESCRIBE = "DESCRIBE"
    DESCRIBE_CONFIGS = "DESCRIBE_CONFIGS"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Leave for a principal to do something, from any host; `prefixed`: the name is a beginning."""

    principal: str
    kind: Kind
    name: str
    prefixed: bool
    operation: Operation

    def __str__(self) -> str:
        return f"{self.principal} may {self.operation} {self.kind} {self.name}{'*' if self.prefixed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One row of `acls.toml`."""

    name: str
    parties: tuple[str, ...]
    each: bool = False
    groups: tuple[str, ...] = ()
    transactional_ids: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    plans: bool = False

    def of(self, agent_id: str) -> str:
        """Return the principal of one bot's instance."""
        return f"{self.name}:{agent_id}"


def load_principals(topology: Topology, path: Path | None = None) -> tuple[Principal, ...]:
    """Read and check the principals.

    Raises:
        TopologyError: naming everything that does not hold; each party of a topic must be exactly one principal.
    """
    path = path or resource("topology/acls.toml")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["principals"]
        principals = tuple(_principal(name, table) for name, table in tables.items())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TopologyError(f"{path}: {error}") from error
    problems = list(_problems(topology, principals))
    if problems:
        raise TopologyError(f"{path} does not hold: " + "; ".join(problems))
    return principals


def _principal(name: str, table: Mapping[str, Any]) -> Principal:
    if unknown := table.keys() - _FIELDS:
        raise TypeError(f"{name}: no such field: {', '.join(sorted(unknown))}")
    return Principal(
        name=name,
        parties=tuple(table["parties"]),
        each=table.get("each", False),
        groups=tuple(table.get("groups", ())),
        transactional_ids=tuple(table.get("transactional_ids", ())),
        state=tuple(table.get("state", ())),
        plans=table.get("plans", False),
    )


def _problems(topology: Topology, principals: tuple[Principal, ...]) -> Iterator[str]:
    yield from (f"{p.name}: a name is lower-case words" for p in principals if not _NAME.fullmatch(p.name))
    named = [party for principal in principals for party in principal.parties]
    known = {party for topic in topology.topics for party in (*topic.producers, *topic.consumers)}
    yield from (f"{party}: no principal" for party in sorted(known - set(named)))
    yield from (f"{party}: no topic knows this party" for party in sorted(set(named) - known))
    yield from (f"{party}: more than one principal" for party in sorted(set(named)) if named.count(party) > 1)


def grants(topology: Topology, principals: Iterable[Principal], bots: Iterable[str]) -> frozenset[Grant]:
    """Return everything that is to be allowed, with the prefix of an isolated run; `bots` are agent_ids.

    Raises: TopologyError where an agent_id could stand for somebody else.
    """
    agents = tuple(bots)
    if wrong := [agent_id for agent_id in agents if not _INSTANCE.fullmatch(agent_id)]:
        raise TopologyError(f"agent_id: {_INSTANCE.pattern} required, is {wrong[0][:80]!a}")
    return frozenset(
        grant
        for principal in principals
        for name in (map(principal.of, agents) if principal.each else (principal.name,))
        for grant in _of(name, principal, topology)
    )


def _of(name: str, principal: Principal, topology: Topology) -> Iterator[Grant]:
    for topic in topology.topics:
        for parties, operation in ((topic.producers, Operation.WRITE), (topic.consumers, Operation.READ)):
            if not set(parties).isdisjoint(principal.parties):
                yield Grant(name, Kind.TOPIC, topology.name_of(topic), prefixed=False, operation=operation)
    extras = (
        (Kind.GROUP, principal.groups, (Operation.READ,)),
        (Kind.TRANSACTIONAL_ID, principal.transactional_ids, (Operation.WRITE,)),
        (Kind.TOPIC, principal.state, (Operation.CREATE, Operation.READ, Operation.WRITE)),
    )
    for kind, patterns, operations in extras:
        for pattern in patterns:
            full, prefixed = topology.prefix + pattern.removesuffix("*"), pattern.endswith("*")
            yield from (Grant(name, kind, full, prefixed, operation) for operation in operations)
    if principal.plans:
        for family in topology.families:
            for operation in (Operation.CREATE, Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS):
                yield Grant(name, Kind.TOPIC, family, prefixed=True, operation=operation)
        yield Grant(name, Kind.GROUP, topology.prefix + OURS, prefixed=True, operation=Operation.DESCRIBE)
