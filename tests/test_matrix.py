"""The matrix of controls names what is there: modules, tests, commands; and claims nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from streams.topics.matrix import Control, parse_controls, render_matrix
from tests.test_docs import PAGES, commands

ROOT = Path(__file__).parent.parent
CONTROLS = parse_controls((ROOT / "topology" / "matrix.toml").read_text())


def test_the_page_is_up_to_date() -> None:
    page = ROOT / "topology" / "matrix.md"
    assert page.read_text() == render_matrix(CONTROLS), "write the page anew with streams.topics.matrix.render_matrix"


def test_controls_are_numbered_once_and_in_order() -> None:
    numbers = [control.number for control in CONTROLS]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(1, 69))


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: str(control.number))
def test_every_module_and_test_exists(control: Control) -> None:
    assert control.modules
    assert control.tests
    assert control.law
    for module in control.modules:
        assert (ROOT / module).is_file(), module
    for test in control.tests:
        file, _, function = test.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert any(name.startswith("test_") for name in names), test
        assert not function or function in names, test


@pytest.mark.parametrize("control", [c for c in CONTROLS if not c.is_query], ids=lambda control: str(control.number))
def test_every_command_exists(control: Control) -> None:
    words = control.evidence.removeprefix("portcullis ").split()
    assert control.evidence.startswith("portcullis ")
    assert " ".join(words[:2]) in commands() or words[0] in commands(), control.evidence


def test_nobody_claims_compliance() -> None:
    for page in [*PAGES, ROOT / "topology" / "matrix.toml"]:
        assert not re.search(r"(?<!\")MiCA[- ](Art\.[^|]{0,20})?compliant", page.read_text()), page
