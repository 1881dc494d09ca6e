"""Compare the cluster's access rules with `topology/acls.toml`, and grant what is missing. Nothing is taken away."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package has no __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from streams.topics.acls import OURS, Grant, grants, load_principals
from streams.topics.admin import Admin, ClusterUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.topics.acls import Principal
    from streams.topics.cluster import Cluster
    from streams.topics.model import Topology

_USER: Final = "User:"
_ANYWHERE: Final = "*"
_SETTLE_S: Final = 15.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDrift:
    """`missing`: what is to be granted; `stray`: rules on our names that the topology does not know, for a person."""

    missing: tuple[Grant, ...]
    stray: tuple[str, ...]


def plan_access(topology: Topology, cluster: Cluster, bots: Iterable[str] = ()) -> AccessDrift:
    """Return every difference; changes nothing. Bots that have been granted something before need not be named.

    Raises:
        TopologyError: an agent_id is none.
        ClusterUnavailableError: the cluster did not answer, or has no authorizer.
    """
    return _compare(topology, Admin(cluster), bots)


def apply_access(topology: Topology, cluster: Cluster, bots: Iterable[str] = ()) -> tuple[AccessDrift, AccessDrift]:
    """Grant what is missing; return the differences before and after, when the brokers show them.

    Raises:
        TopologyError: an agent_id is none.
        ClusterUnavailableError: the cluster did not answer, has no authorizer, or refused.
    """
    admin, agents = Admin(cluster), tuple(bots)
    before = _compare(topology, admin, agents)
    admin.allow(map(_binding, before.missing))
    deadline = time.monotonic() + _SETTLE_S
    while (after := _compare(topology, admin, agents)).missing:
        if time.monotonic() > deadline:
            raise ClusterUnavailableError(f"after {_SETTLE_S:g} s not granted: {after.missing[0]}")
        time.sleep(_POLL_S)
    return before, after


def _compare(topology: Topology, admin: Admin, bots: Iterable[str]) -> AccessDrift:
    principals = load_principals(topology)
    found = [binding for binding in admin.acls() if _is_ours(binding, topology)]
    wanted = grants(topology, principals, {*bots, *_known_bots(found, principals)})
    granted = {_binding(grant): grant for grant in wanted}
    return AccessDrift(
        missing=tuple(sorted(grant for binding, grant in granted.items() if binding not in found)),
        stray=tuple(sorted(_sentence(binding) for binding in found if binding not in granted)),
    )


def _known_bots(found: Iterable[AclBinding], principals: Iterable[Principal]) -> set[str]:
    names = {principal.name for principal in principals if principal.each}
    users = (binding.principal.removeprefix(_USER).partition(":") for binding in found)
    return {agent_id for name, _, agent_id in users if name in names and agent_id}


def _is_ours(binding: AclBinding, topology: Topology) -> bool:
    if binding.name == _ANYWHERE:
        return not topology.prefix
    beginnings = topology.families if binding.restype is ResourceType.TOPIC else ()
    return str(binding.name).startswith((*beginnings, topology.prefix + OURS))


def _binding(grant: Grant) -> AclBinding:
    return AclBinding(
        ResourceType[grant.kind.name],
        grant.name,
        ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
        _USER + grant.principal,
        _ANYWHERE,
        AclOperation[grant.operation.name],
        AclPermissionType.ALLOW,
    )


def _sentence(binding: AclBinding) -> str:
    """Return a rule as a person reads it."""
    star = "*" if binding.resource_pattern_type is ResourcePatternType.PREFIXED else ""
    host = "" if binding.host == _ANYWHERE else f" from {binding.host}"
    verb = "may" if binding.permission_type is AclPermissionType.ALLOW else "may not"
    operation, kind = AclOperation(binding.operation).name, ResourceType(binding.restype).name.lower()
    return f"{binding.principal.removeprefix(_USER)} {verb} {operation} {kind} {binding.name}{star}{host}"
