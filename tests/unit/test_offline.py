"""A regulator's machine: no Kafka, no ClickHouse, no Arrow; a batch, public keys, and the verifier."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from streams.reports.export import BatchRange, export_batch
from streams.reports.identity import load_lists
from streams.reports.layout import KEY_NAME, lines_file
from streams.reports.summary import summary_page
from streams.reports.verify import verify_batch
from streams.rig.made import ORIGIN, START_US, MadeLogs, log_signer
from streams.wire.note import Signer

if TYPE_CHECKING:
    from pathlib import Path

# What a plain environment lacks: importing one of these fails.
ABSENT = ("confluent_kafka", "clickhouse_connect", "chdb", "faust", "aiokafka", "pyarrow", "uvloop", "rich.nothing")
RUN = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Absent())
from streams.cli import main
sys.argv = ["portcullis", *sys.argv[1:]]
main()
"""
LANES, LEAVES = 2, 1_000
REPORTS = Signer.from_seed(KEY_NAME, bytes(32))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    logs = MadeLogs(folder, LANES, LEAVES)
    logs.write()
    out = folder / "batch"
    # Neither the first nor the last record of a log.
    export_batch(logs, BatchRange(START_US + 400_000, START_US + 1_600_000), out, REPORTS, ORIGIN)
    keys = [REPORTS, *map(log_signer, range(LANES))]
    (folder / "keys").write_text("".join(f"{key.verifier.vkey}\n" for key in keys))
    return out


def verify(batch: Path, *more: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-c", RUN, "report", "verify", str(batch), "--keys", str(batch.parent / "keys")]
    done = subprocess.run([*command, "--json", *more], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_a_batch_is_verified_without_our_services(batch: Path, tmp_path: Path) -> None:
    page = tmp_path / "summary.html"
    code, report = verify(batch, "--html", str(page))
    assert (code, report["problems"]) == (0, [])
    assert report["records"] == LANES * 720
    assert any("pyarrow" in gap for gap in report["gaps"])
    text = page.read_text()
    assert "Verified" in text
    assert REPORTS.verifier.vkey in text
    assert "<script" not in text


def test_and_what_was_changed_is_named(batch: Path, tmp_path: Path) -> None:
    path = batch / lines_file("orders")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"BuySellInd":"BUYI"', b'"BuySellInd":"SELL"', 1))
    try:
        code, report = verify(batch, "--html", str(tmp_path / "page.html"))
    finally:
        path.write_bytes(sound)
    assert code == 1
    assert any(problem.startswith("orders.jsonl: the record of log 0 leaf ") for problem in report["problems"])
    assert "Not verified" in (tmp_path / "page.html").read_text()


def test_a_file_of_keys_that_is_not_there_is_named(batch: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, "report", "verify", str(batch), "--keys", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: NoKey: ")
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_shows_text_as_text(batch: Path) -> None:
    keys = [REPORTS.verifier, *(log_signer(number).verifier for number in range(LANES))]
    report = verify_batch(batch, keys, load_lists())
    assert report.verified
    page = summary_page(report, "<b>&")
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page
