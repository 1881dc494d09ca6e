"""The broker's jars: resolved once with Maven, kept in `.portcullis/kafka`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streams.local.runtime import DOCKER_WAY, BrokerUnavailableError, find_maven
from streams.resources import checkout_or_working_folder, resource

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str], None]

# Folders beside `libs` whose content was made from it.
PREPARED = "start-"

_STAMP = "complete.sha256"
_FETCH_TIMEOUT_S = 600
# Maven runs once and for seconds: the first compiler alone saves it a quarter of its CPU.
_MAVEN_OPTS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def silent(_line: str) -> None:
    """Tell nobody what takes time."""


def kafka_home() -> Path:
    """Return the jars' folder: `$PORTCULLIS_KAFKA_HOME`, else in `.portcullis` of the checkout or working folder."""
    named = os.environ.get("PORTCULLIS_KAFKA_HOME")
    if named:
        return Path(named).absolute()
    return checkout_or_working_folder() / ".portcullis" / "kafka"


def ensure_jars(home: Path | None = None, *, progress: Progress = silent) -> Path:
    """Return the folder with Kafka's jars, fetching them the first time; safe for processes at once.

    Args:
        home: where `libs` belongs; `kafka_home()` if not given.
        progress: told, in one line each, what takes time.

    Raises:
        BrokerUnavailableError: Maven is missing or could not resolve the jars.
    """
    home = home or kafka_home()
    libs = home / "libs"
    pom = resource("infra/kafka/pom.xml")
    if _complete(libs, pom):
        return libs
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock"):
        if not _complete(libs, pom):
            _fetch(pom, libs, progress)
    return libs


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes; the kernel releases it when its holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """Yield an empty folder beside its later place, and remove what a killed holder of the lock left behind."""
    for left in home.glob("scratch-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=home) as folder:
        yield Path(folder)


def _complete(libs: Path, pom: Path) -> bool:
    """Tell whether the jars are there and belong to this pom; the stamp is written last."""
    stamp = libs / _STAMP
    return stamp.is_file() and stamp.read_text() == _digest(pom)


def _digest(pom: Path) -> str:
    return hashlib.sha256(pom.read_bytes()).hexdigest()


def _fetch(pom: Path, libs: Path, progress: Progress) -> None:
    maven = find_maven()
    progress("fetching Apache Kafka's jars with Maven (43 MB, once)")
    with scratch(libs.parent) as folder:
        fresh = folder / "libs"
        _run_maven(maven, pom, fresh)
        (fresh / _STAMP).write_text(_digest(pom))
        # A folder appears whole or not at all: renamed only after the stamp is in it.
        for stale in (libs, *libs.parent.glob(f"{PREPARED}*")):
            shutil.rmtree(stale, ignore_errors=True)
        fresh.rename(libs)
    progress(f"jars are in {libs}")


def _run_maven(maven: Path, pom: Path, target: Path) -> None:
    command: list[str | Path] = [maven, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are our own
            [*command, f"-DoutputDirectory={target}"],
            env={"MAVEN_OPTS": _MAVEN_OPTS, **os.environ},
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerUnavailableError(
            f"Maven did not finish in {_FETCH_TIMEOUT_S} s: try again, {DOCKER_WAY}"
        ) from error
    if done.returncode != 0 or not any(target.glob("kafka_2.13-*.jar")):
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise BrokerUnavailableError(f"Maven could not resolve Kafka's jars: check the network, {DOCKER_WAY}\n{tail}")
