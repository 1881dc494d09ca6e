"""Fixtures that all tests share: one broker for the session, and topics that are a test's own."""

from __future__ import annotations

import gc
import uuid
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from streams.local import kafka_cluster
from streams.topics import apply, discard, load_topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.topics import Topology

_SERVERS = "kafka"
_FOLDER = "kafka_folder"
# No test ends this broker, so nothing waits for its session to pass; on a busy machine it must not lose it.
_PATIENT = {"broker.session.timeout.ms": "60000"}
_RUNNING = pytest.StashKey[ExitStack]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every test process the address of one broker: it belongs to the process that hands out the tests."""
    config = node.config
    if _RUNNING not in config.stash:
        running = config.stash[_RUNNING] = ExitStack()
        folder = running.enter_context(TemporaryDirectory(prefix="kafka-", ignore_cleanup_errors=True))
        config.option.kafka_servers = running.enter_context(kafka_cluster(Path(folder), config=_PATIENT))
        config.option.kafka_folder = folder
    node.workerinput[_SERVERS] = config.option.kafka_servers
    node.workerinput[_FOLDER] = config.option.kafka_folder


def pytest_collection_finish() -> None:
    """Let the collector pass over what is there for good: a twelfth of the unit tests' CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the test processes shared."""
    config.stash.get(_RUNNING, ExitStack()).close()


@pytest.fixture(scope="session")
def kafka_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the session's broker, where that is a local one."""
    shared = getattr(request.config, "workerinput", {}).get(_FOLDER)
    return Path(shared) if shared else tmp_path_factory.mktemp("kafka")


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, kafka_folder: Path) -> Iterator[str]:
    """Yield bootstrap servers: those of KAFKA_BOOTSTRAP_SERVERS, else of one local broker for the whole session."""
    shared = getattr(request.config, "workerinput", {}).get(_SERVERS)
    if shared:
        yield shared
        return
    with kafka_cluster(kafka_folder, config=_PATIENT) as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def kafka_data(kafka: str, kafka_folder: Path) -> Path:
    """Return the broker's log folder, where the session has a broker of its own; the test is skipped elsewhere."""
    del kafka
    data = kafka_folder / "data"
    if not data.is_dir():
        pytest.skip("the cluster's log folders are not on this machine")
    return data


@pytest.fixture
def topic_prefix() -> str:
    """Return a prefix that no other test and no other session uses."""
    return unique_prefix()


@pytest.fixture
def isolated_topology(kafka: str) -> Iterator[Topology]:
    """Yield a topology of two lanes under names of its own, its topics created; they are deleted afterwards."""
    topology = load_topology(lanes=2, prefix=unique_prefix())
    apply(topology, kafka)
    yield topology
    discard(topology, kafka)


def unique_prefix() -> str:
    """Return a prefix for topics, groups and transactional ids of one run."""
    return f"test-{uuid.uuid4().hex[:12]}."
