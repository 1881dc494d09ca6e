from __future__ import annotations

from pathlib import Path

import pytest

from streams.topics import Topology, TopologyError, load_topology
from streams.topics.acls import Grant, Kind, Operation, grants, load_principals


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_topology()


def given(topology: Topology, *bots: str) -> frozenset[Grant]:
    return grants(topology, load_principals(topology), bots)


def of(found: frozenset[Grant], principal: str) -> set[str]:
    return {str(grant).partition(" may ")[2] for grant in found if grant.principal == principal}


def test_a_bot_may_ask_and_nothing_else(topology: Topology) -> None:
    assert of(given(topology, "maker-01"), "bot:maker-01") == {
        "WRITE topic orders.requested",
        "WRITE topic agents.heartbeats",
    }


def test_the_worker_alone_decides_and_logs(topology: Topology) -> None:
    found = given(topology, "maker-01")
    for topic in ("orders.approved", "orders.rejected", "audit.events", "audit.checkpoints", "venue.commands"):
        writers = {g.principal for g in found if g.name == topic and g.operation is Operation.WRITE}
        assert writers == {"worker"}, topic
    fencing = {g.principal for g in found if g.kind is Kind.TRANSACTIONAL_ID}
    assert fencing == {"worker"}


def test_a_service_writes_only_where_the_topology_says(topology: Topology) -> None:
    found = given(topology)
    assert of(found, "witness") == {
        "READ topic audit.events",
        "READ topic audit.checkpoints",
        "WRITE topic audit.cosignatures",
        "WRITE topic risk.alerts",
        "READ group portcullis-witness*",
    }
    assert {grant.operation for grant in found} == set(Operation)  # so that none is left without a use


def test_an_isolated_run_has_rules_of_its_own(topology: Topology) -> None:
    found = given(topology.isolated("drill-1."), "maker-01")
    assert all(grant.name.startswith("drill-1.") for grant in found)


@pytest.mark.parametrize("agent_id", ["", "a b", "maker*", "x:y", "a" * 65, "*"])
def test_a_name_that_could_be_somebody_else_is_refused(topology: Topology, agent_id: str) -> None:
    with pytest.raises(TopologyError, match="agent_id"):
        given(topology, agent_id)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "principals"),
        ("[principals.x]\nparties = []\nowner = true", "no such field: owner"),
        ('[principals."X y"]\nparties = []', "a name is lower-case words"),
        ('[principals.x]\nparties = ["nobody"]', "nobody: no topic knows this party"),
        ('[principals.x]\nparties = ["gate"]\n[principals.y]\nparties = ["gate"]', "gate: more than one principal"),
        ('[principals.x]\nparties = ["gate"]', "desk: no principal"),
    ],
)
def test_a_mistake_in_the_file_is_named(topology: Topology, tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "acls.toml"
    path.write_text(text)
    with pytest.raises(TopologyError) as refused:
        load_principals(topology, path)
    assert part in str(refused.value)
