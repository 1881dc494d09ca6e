"""Programs in Go that read what we write and write what we read, built once for a run of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from streams.local.jars import locked

GO = shutil.which("go")
needs_go = pytest.mark.skipif(GO is None, reason="no go command: other implementations are not asked")

# They run for seconds: what the compiler would improve, and its collector and the C compiler, cost more than they save.
_QUICK = {"CGO_ENABLED": "0", "GOGC": "off"}
_BUILD = ("build", "-mod=readonly", "-buildvcs=false", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w")


def go_program(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program of the folder `name`, building it where no other test process has; skip without its modules.

    One is built at a time: what two have in common is then compiled once.
    """
    made = _of_this_run(tmp_path_factory) / name
    with locked(made.with_name("go.lock")):
        if not made.exists():
            sources = Path(__file__).with_name(name)
            modules = _go(sources, "mod", "download")
            if modules.returncode:
                pytest.skip(f"the Go modules cannot be had: {modules.stderr.strip()[-200:]}")
            built = _go(sources, *_BUILD, "-o", str(made), ".")
            assert built.returncode == 0, built.stderr
    return made


def _of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _go(sources: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(GO), *arguments]
    return subprocess.run(command, cwd=sources, env=os.environ | _QUICK, capture_output=True, text=True, check=False)
