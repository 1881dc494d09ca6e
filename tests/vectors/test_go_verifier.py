"""Others' implementations read what we write: Go's note package, torchwood and transparency-dev/merkle."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import make_tlog
from tests.vectors.go_programs import go_program, needs_go

pytestmark = [pytest.mark.integration, needs_go]


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go_program("go_verifier", tmp_path_factory)


def _judge(verifier: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one result for each case, in the document's order."""
    run = subprocess.run([str(verifier)], input=json.dumps(document), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def _cases(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [case for group in ("checkpoints", "proofs", "inclusions", "consistency") for case in document[group]]


@pytest.mark.parametrize("batches", [make_tlog.BATCHES, (1,), (255, 2), (1, 2, 3, 500), (1023, 1, 1), (64, 64)])
def test_others_agree_on_every_case(verifier: Path, batches: tuple[int, ...]) -> None:
    document = make_tlog.document(batches)
    cases, results = _cases(document), _judge(verifier, document)
    assert [result["name"] for result in results] == [case["name"] for case in cases]
    assert [result["name"] for result in results if "error" in result] == [
        case["name"] for case in cases if case["want_error"]
    ]


def test_others_read_the_same_checkpoints_in_the_committed_file(verifier: Path) -> None:
    document = json.loads(make_tlog.FILE.read_text(encoding="utf-8"))
    for case, result in zip(document["checkpoints"], _judge(verifier, document), strict=False):
        if not case["want_error"]:
            assert result["origin"] == document["origin"]
            assert (result.get("size", 0), result["root"]) == (case["size"], case["root"])
            assert result.get("cosigned_at_s") == case.get("cosigned_at_s")
