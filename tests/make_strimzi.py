"""Make Strimzi's resources anew after a change of topics.toml or acls.toml: `python -m tests.make_strimzi`."""

from __future__ import annotations

from pathlib import Path

from streams.topics import load_topology
from streams.topics.strimzi import render_topics, render_users

FOLDER = Path(__file__).parents[1] / "infra" / "kubernetes" / "operators"
BOTS = ("maker-01",)


def made() -> dict[Path, str]:
    """Return what the files must hold."""
    topology = load_topology()
    return {
        FOLDER / "kafka-topics.yaml": render_topics(topology),
        FOLDER / "kafka-users.yaml": render_users(topology, BOTS),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
