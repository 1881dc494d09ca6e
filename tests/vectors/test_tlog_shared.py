"""Outside vectors from the shared data folder: RFC 6962 proofs, a real log's checkpoints, Ed25519 signatures."""

from __future__ import annotations

import gzip
import json
import tarfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from streams.audit.checkpoint import verify_checkpoint
from streams.audit.verify import ProblemKind, verify_log
from streams.core.merkle import MerkleError, verify_consistency, verify_inclusion
from streams.wire.note import BadSignatureError, NoteError, Verifier, verify_note

DATA = Path(__file__).parents[3] / "shared" / "data"


def _require(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no shared data: {name}")
    return path


def _gzipped_json(name: str) -> Any:
    return json.loads(gzip.decompress(_require(name).read_bytes()))


def _proof_cases(name: str) -> list[dict[str, Any]]:
    lines = gzip.decompress(_require(f"tlog_merkle/{name}.jsonl.gz").read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def _hashes(case: dict[str, Any]) -> list[bytes]:
    return [b64decode(node) for node in case["proof"] or []]


def _holds_inclusion(case: dict[str, Any], size: int) -> bool:
    try:
        verify_inclusion(b64decode(case["leafHash"]), case["leafIdx"], size, _hashes(case), b64decode(case["root"]))
    except MerkleError:
        return False
    return True


def _holds_consistency(case: dict[str, Any], size1: int, size2: int) -> bool:
    try:
        verify_consistency(size1, b64decode(case["root1"]), size2, b64decode(case["root2"]), _hashes(case))
    except MerkleError:
        return False
    return True


def test_inclusion_proofs() -> None:
    cases = _proof_cases("inclusion")
    assert [case["path"] for case in cases if _holds_inclusion(case, case["treeSize"]) == case["wantErr"]] == []
    assert len(cases) == 59


def test_consistency_proofs() -> None:
    cases = _proof_cases("consistency")
    wrong = [
        case["path"] for case in cases if _holds_consistency(case, case["size1"], case["size2"]) == case["wantErr"]
    ]
    assert wrong == []
    assert len(cases) == 59


def test_subtrees_that_start_a_tree_are_trees() -> None:
    inclusions = [case for case in _proof_cases("subtreeinclusion") if case["start"] == 0]
    assert [case["path"] for case in inclusions if _holds_inclusion(case, case["end"]) == case["wantErr"]] == []
    # One case compares two roots of 12 bytes, which are none here.
    consistencies = [
        case
        for case in _proof_cases("subtreeconsistency")
        if case["start"] == 0 and (case["wantErr"] or len(b64decode(case["root1"])) == 32)
    ]
    wrong = [case for case in consistencies if _holds_consistency(case, case["end"], case["size"]) == case["wantErr"]]
    assert [case["path"] for case in wrong] == []
    assert min(len(inclusions), len(consistencies)) > 10


def _tessera_log() -> tuple[list[bytes], list[bytes], Verifier]:
    """Return the leaves, the checkpoints in order and the key of a small tlog-tiles log."""
    vkey = _require("tlog_checkpoints/tessera_testdata_log.vkey").read_text().strip()
    with tarfile.open(_require("tlog_checkpoints/tessera_testdata_log.tar.gz")) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    notes = [contents[f"log/checkpoint.{size}"] for size in range(16)]
    bundle, leaves = contents["log/tile/entries/000.p/15"], []
    while bundle:
        # An entry bundle is entries with their length in two bytes before each (C2SP tlog-tiles).
        end = 2 + int.from_bytes(bundle[:2], "big")
        leaves.append(bundle[2:end])
        bundle = bundle[end:]
    return leaves, [*notes, contents["log/checkpoint"]], Verifier.parse(vkey)


def test_a_real_log_verifies() -> None:
    leaves, notes, key = _tessera_log()
    for size, note in enumerate(notes[:-1]):
        checkpoint = verify_checkpoint(note, [key])
        assert (checkpoint.origin, checkpoint.size) == ("example.com/log/testdata", size)
        assert checkpoint.encode() == note.partition(b"\n\n")[0] + b"\n"
    report = verify_log(leaves, notes, [key], origin="example.com/log/testdata")
    assert (report.leaves, report.checkpoints, report.problems) == (15, 17, ())


def test_a_real_log_with_one_change_does_not() -> None:
    leaves, notes, key = _tessera_log()
    for index in range(len(leaves)):
        changed = [*leaves[:index], leaves[index] + b"x", *leaves[index + 1 :]]
        (problem,) = verify_log(changed, notes, [key]).problems
        assert (problem.kind, problem.first_leaf, problem.end_leaf) == (ProblemKind.CHANGED, index, index + 1)


def test_a_note_of_go_s_own() -> None:
    case = json.loads(_require("tlog_checkpoints/signed_note_one_sig.json").read_text())
    keys = [Verifier.parse(vkey) for vkey in case["vkeys"]]
    note = verify_note(case["note"].encode(), keys)
    assert note.text.decode() == case["note"].rpartition("\n\n")[0] + "\n"
    assert [key.vkey for key in keys] == case["vkeys"]


def _accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Verifier("log.example", key).verify(message, signature)
    except (NoteError, BadSignatureError):
        return False
    return True


def test_wycheproof_ed25519() -> None:
    groups = _gzipped_json("crypto_wycheproof/ed25519_test.json.gz")["testGroups"]
    cases = [(bytes.fromhex(group["publicKey"]["pk"]), case) for group in groups for case in group["tests"]]
    wrong = [
        case["tcId"]
        for key, case in cases
        if _accepts(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])) != (case["result"] == "valid")
    ]
    assert wrong == []
    assert len(cases) == 91


def test_ed25519_edge_cases_have_one_policy() -> None:
    # Keys of low order or of a second spelling are no keys, R has one spelling, no low-order part is multiplied away.
    refused = {"low_order_A", "non_canonical_A", "non_canonical_R", "low_order_residue"}
    cases = _gzipped_json("crypto_cctv_ed25519/ed25519vectors.json.gz")
    wrong = [
        case["number"]
        for case in cases
        if _accepts(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        != refused.isdisjoint(case["flags"] or [])
    ]
    assert wrong == []
    assert len(cases) == 548
