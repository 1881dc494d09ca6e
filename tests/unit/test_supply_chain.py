"""What a release is made of: the same bytes from the same sources, and licences that a firm can live with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from tests.licences import is_copyleft, rows

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "schemas", "topology", "infra", "streams")


def build(folder: Path, *, touched_s: int) -> Path:
    """Build the wheel from a copy of the sources that was made at another time, in another place."""
    copy = folder / "sources"
    for name in SOURCES:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    for path in copy.rglob("*"):
        os.utime(path, (touched_s, touched_s))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "out")]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel


def test_the_same_sources_make_the_same_wheel(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name, touched_s=at) for name, at in (("a", 1_700_000_000), ("b", 1_600_000_001)))
    assert first.name == second.name
    assert sha256(first.read_bytes()).digest() == sha256(second.read_bytes()).digest()
    names = zipfile.ZipFile(first).namelist()
    assert "streams/_resources/schemas/avro/order.v1.avsc" in names
    assert "streams/_resources/topology/acls.toml" in names
    assert not [name for name in names if name.startswith("tests") or name.endswith((".seed", ".key", ".pyc"))]


def test_every_licence_is_known_and_none_is_a_condition_on_our_users() -> None:
    found = list(rows())
    assert len(found) > 40
    assert [(name, version) for name, version, text in found if not text] == []
    assert [(name, text) for name, _, text in found if is_copyleft(text)] == []


@pytest.mark.parametrize(
    ("text", "copyleft"),
    [("GPL-3.0-only", True), ("GNU Affero General Public License v3", True), ("MPL-2.0", False), ("LGPL-2.1", False)],
)
def test_copyleft_is_told_from_the_rest(text: str, copyleft: bool) -> None:  # noqa: FBT001 - a column of the table
    assert is_copyleft(text) is copyleft
