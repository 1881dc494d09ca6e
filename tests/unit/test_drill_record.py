"""Signed records: only what a known person signed, unchanged, is one."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.application import app
from streams.drills.catalogue import PLANS
from streams.drills.plan import PURPOSES, DrillName
from streams.drills.record import RECORD_BYTES_MAX, RecordRefusedError, read_record, write_record
from streams.wire.devpki import make_dev_pki, person_key
from streams.wire.trust import load_trust

BODY: dict[str, Any] = {"record": "drill", "drill": "runaway", "passed": True, "ended_at_us": 1_780_000_000_000_000}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_dev_pki(folder)
    return folder


@pytest.fixture
def record(pki: Path, tmp_path: Path) -> Path:
    path = tmp_path / "runaway.dsse.json"
    write_record(path, BODY, person_key(pki, "cfo@acme"))
    return path


def changed(path: Path, **fields: Any) -> None:
    envelope = json.loads(path.read_bytes())
    path.write_text(json.dumps(envelope | fields))


def test_a_record_says_who_signed_it(pki: Path, record: Path) -> None:
    signed = read_record(record, load_trust(pki))
    assert signed.signed_by == "cfo@acme"
    assert dict(signed.body) == BODY | {"signed_by": "cfo@acme"}


def test_a_record_of_a_stranger_is_refused(record: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    make_dev_pki(others)
    with pytest.raises(RecordRefusedError, match="keyid of a known person"):
        read_record(record, load_trust(others))


def test_a_record_that_was_changed_is_refused(pki: Path, record: Path) -> None:
    payload = json.loads(b64decode(json.loads(record.read_bytes())["payload"]))
    changed(record, payload=b64encode(json.dumps(payload | {"passed": False}).encode()).decode())
    with pytest.raises(RecordRefusedError, match="signature of cfo@acme"):
        read_record(record, load_trust(pki))


def test_a_signature_on_something_else_is_no_record(pki: Path, record: Path) -> None:
    changed(record, payloadType="application/vnd.portcullis.command.v1+avro")
    with pytest.raises(RecordRefusedError, match="signature of cfo@acme"):
        read_record(record, load_trust(pki))


def test_nobody_signs_in_anothers_name_or_outside_their_time(pki: Path, tmp_path: Path) -> None:
    path = tmp_path / "late.dsse.json"
    write_record(path, BODY | {"ended_at_us": 4_000_000_000_000_000}, person_key(pki, "cfo@acme"))
    with pytest.raises(RecordRefusedError, match="within their certificate's validity"):
        read_record(path, load_trust(pki))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payloadType": "x", "payload": "!", "signatures": [{"keyid": "00", "sig": ""}]}',
        b'{"payloadType": "x", "payload": "", "signatures": []}',
        b'{"payloadType": 1, "payload": "", "signatures": [{"keyid": "00", "sig": ""}]}',
        b" " * (RECORD_BYTES_MAX + 1),
    ],
)
def test_what_is_no_envelope_is_refused(pki: Path, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(RecordRefusedError):
        read_record(path, load_trust(pki))


def test_a_missing_file_is_a_sentence(pki: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordRefusedError, match="No such file"):
        read_record(tmp_path / "none", load_trust(pki))


def test_every_drill_has_its_purpose() -> None:
    assert set(PURPOSES) == set(DrillName)


@pytest.mark.parametrize(("person_known", "code"), [(True, 0), (False, 1)])
def test_the_command_says_whether_a_record_holds(
    pki: Path, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, person_known: bool, code: int
) -> None:
    if not person_known:
        make_dev_pki(tmp_path / "others")
    monkeypatch.setenv("PORTCULLIS_PKI_DIR", str(pki if person_known else tmp_path / "others"))
    done = CliRunner().invoke(app, ["drill", "verify", str(record), "--json"])
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, result["verified"]) == (code, person_known)
    assert bool(result["problems"]) is not person_known


def test_drills_share_neither_bots_nor_markets() -> None:
    bots = [name for plan in PLANS.values() for name in plan.agents]
    markets = [instrument.symbol for plan in PLANS.values() for instrument in plan.instruments]
    assert len(set(bots)) == len(bots)
    assert len(set(markets)) == len(markets)
    assert set(PLANS) == set(DrillName)
