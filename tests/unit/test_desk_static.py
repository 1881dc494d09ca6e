"""The page's files: nothing from elsewhere, nothing inline, and other people's code as they released it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from streams.desk.bots import HISTORY_STEP_US, HISTORY_STEPS
from streams.desk.web import STATIC

VENDOR = STATIC / "vendor"
OURS = sorted(p for p in STATIC.rglob("*") if p.suffix in {".js", ".html", ".css"} and VENDOR not in p.parents)


def test_vendored_files_are_unchanged_and_bring_their_licence() -> None:
    text = (VENDOR / "uplot" / "README.md").read_text()
    listed = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", text))
    there = {path.name for path in (VENDOR / "uplot").iterdir()} - {"README.md"}
    assert there == listed.keys() == {"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"}
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / "uplot" / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_nothing_comes_from_elsewhere_and_nothing_is_markup_from_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(src|href|url|import|from)\W{1,3}https?:", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"\son\w+=|style=|<style|javascript:", text)
        assert all(re.search(r"\ssrc=", tag) for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", [p for p in OURS if p.suffix == ".js"], ids=lambda p: p.name)
def test_modules_of_the_page_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 270


def test_the_page_keeps_scores_as_the_desk_does() -> None:
    store = (STATIC / "js" / "store.js").read_text()
    assert f"HISTORY_STEP_S = {HISTORY_STEP_US // 1_000_000};" in store
    assert f"HISTORY_STEPS = {HISTORY_STEPS};" in store
