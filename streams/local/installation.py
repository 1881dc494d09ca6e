"""Java, the jars and what makes the broker start in a second: prepared once, kept in `.portcullis/kafka`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.local import storage
from streams.local.jars import PREPARED, Progress, ensure_jars, kafka_home, locked, scratch, silent
from streams.local.process import GuardedProcess
from streams.local.readiness import free_ports, wait_until_ready
from streams.local.runtime import BrokerUnavailableError, find_java

if TYPE_CHECKING:
    from pathlib import Path

_CHECKPOINT = "bootstrap.checkpoint"
_ARCHIVE = "classes.jsa"
_TIMEOUT_S = 60.0
_JVM_FLAGS = (
    # For a short-lived broker on a small machine the first compiler and the serial collector are the better ones:
    # 8 ms of CPU per transaction of 300 records after 200 of them, against 14 (all compilers) and 18 (G1).
    "-XX:TieredStopAtLevel=1",
    # Compiled after a fifth of the usual calls: the first 150 transactions cost 17 ms of CPU each, not 23.
    "-XX:CompileThresholdScaling=0.2",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xms64m",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Everything that running a local broker takes."""

    java: Path
    libs: Path
    checkpoint: Path
    archive: Path | None

    def command(self, properties: Path, *, heap_mb: int) -> list[str | Path]:
        """Return the command that runs the broker in the foreground."""
        shared = [f"-XX:SharedArchiveFile={self.archive}"] if self.archive else []
        return [*_java(self.java, self.libs, [*shared, f"-Xmx{heap_mb}m"]), "kafka.Kafka", properties]


def ensure_installed(*, progress: Progress = silent) -> Installation:
    """Return the installation, making it the first time (12 s); safe for processes at once.

    Args:
        progress: told, in one line each, what takes time.

    Raises:
        BrokerUnavailableError: Java or Maven is missing, or the jars could not be resolved.
    """
    java = find_java()
    libs = ensure_jars(progress=progress)
    home = kafka_home()
    prepared = home / f"{PREPARED}{_digest(java, libs)}"
    if not prepared.is_dir():
        with locked(home / "lock"):
            if not prepared.is_dir():
                _prepare(java, libs, prepared, progress)
    archive = prepared / _ARCHIVE
    return Installation(java, libs, prepared / _CHECKPOINT, archive if archive.is_file() else None)


def _digest(java: Path, libs: Path) -> str:
    """Return a name for this pair of JVM and jars: an archive of classes serves no other."""
    launcher = java.resolve()
    release = launcher.parent.parent / "release"
    facts = [str(launcher), release.read_text() if release.is_file() else "", str(launcher.stat().st_mtime_ns)]
    facts += [f"{jar}:{jar.stat().st_mtime_ns}" for jar in sorted(libs.glob("*.jar"))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _prepare(java: Path, libs: Path, target: Path, progress: Progress) -> None:
    """Format a scratch folder, run a broker on it once and keep the archive of the classes it loaded."""
    progress("preparing the broker's start (once)")
    with scratch(target.parent) as folder:
        fresh = folder / "fresh"
        fresh.mkdir()
        port, controller_port = free_ports(2)
        properties = storage.write_properties(folder, port=port, controller_port=controller_port, config={})
        _format(java, libs, properties)
        shutil.copyfile(folder / "data" / _CHECKPOINT, fresh / _CHECKPOINT)
        _archive_classes(java, libs, properties, port=port, target=fresh / _ARCHIVE)
        fresh.rename(target)
    progress(f"the broker is ready to start from {target.parent}")


def _archive_classes(java: Path, libs: Path, properties: Path, *, port: int, target: Path) -> None:
    """Run a broker until it answers, then end it; a JVM that cannot archive its classes leaves no file."""
    command = [*_java(java, libs, [f"-XX:ArchiveClassesAtExit={target}"]), "kafka.Kafka", properties]
    broker = GuardedProcess(command, properties.parent / "broker.log")
    wait_until_ready(broker, port, _TIMEOUT_S)
    if not broker.stop(timeout_s=_TIMEOUT_S):
        target.unlink(missing_ok=True)  # half an archive is worse than none


def _format(java: Path, libs: Path, properties: Path) -> None:
    arguments: list[str | Path] = [
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        storage.CLUSTER_ID,
        "--config",
        properties,
    ]
    done = subprocess.run(  # noqa: S603 - the arguments are our own
        [*_java(java, libs, []), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise BrokerUnavailableError(f"`kafka-storage format` failed with {java}:\n{done.stdout}{done.stderr}")


def _java(java: Path, libs: Path, flags: list[str]) -> list[str | Path]:
    # Every jar by name and in one order: a class archive is valid for exactly one class path.
    return [java, *_JVM_FLAGS, *flags, "-cp", ":".join(map(str, sorted(libs.glob("*.jar"))))]
