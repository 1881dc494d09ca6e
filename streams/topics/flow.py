"""Draw the topology: the Mermaid diagram and the table of `topology/flow.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.topics.model import Topology

BEGIN = "<!-- generated from topics.toml: begin -->"
END = "<!-- generated from topics.toml: end -->"


def render_flow(topology: Topology) -> str:
    """Return the generated part of the flow page: who writes what, who reads it, how long it is kept."""
    return "\n".join([BEGIN, "", *_diagram(topology), "", *_table(topology), "", END])


def with_flow(page: str, topology: Topology) -> str:
    """Return the page with its generated part made anew.

    Raises:
        ValueError: the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have the lines {BEGIN} and {END}")
    return before + render_flow(topology) + after


def _diagram(topology: Topology) -> list[str]:
    parties = dict.fromkeys(party for topic in topology.topics for party in (*topic.producers, *topic.consumers))
    lines = ["```mermaid", "flowchart LR"]
    lines += [f"  {_node(party)}({party})" for party in parties]
    for topic in topology.topics:
        name = topology.name_of(topic)
        lines.append(f"  {_node(name)}[/{name}/]")
        lines += [f"  {_node(party)} --> {_node(name)}" for party in topic.producers]
        lines += [f"  {_node(name)} --> {_node(party)}" for party in topic.consumers]
    return [*lines, "```"]


def _table(topology: Topology) -> list[str]:
    lines = ["| topic | purpose | key | value | written by | read by | kept | dated |", f"{'|---' * 8}|"]
    for topic in topology.topics:
        value = ", ".join(f"`{schema}`" for schema in topic.schemas) or topic.value
        cells = (
            f"`{topology.name_of(topic)}`",
            topic.purpose,
            topic.key,
            value,
            ", ".join(topic.producers),
            ", ".join(topic.consumers),
            topic.kept,
            topic.config["message.timestamp.type"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"Each topic has {topology.lanes} partitions, one for each lane."]


def _node(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
