"""Our own vectors: fixed keys and leaves, so that no change of a byte on the wire goes unseen."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from streams.audit.checkpoint import verify_checkpoint
from streams.audit.proof import verify_proof
from streams.audit.verify import verify_log
from streams.core.errors import PortcullisError
from streams.core.merkle import hash_leaf, verify_consistency, verify_inclusion
from streams.wire.note import Verifier, verify_note
from tests.vectors import make_tlog

VECTORS: dict[str, Any] = json.loads(make_tlog.FILE.read_text(encoding="utf-8"))
LOG, OTHER_LOG, WITNESS = (Verifier.parse(VECTORS[key]) for key in ("log_vkey", "other_vkey", "witness_vkey"))
KEYS = [LOG, OTHER_LOG, WITNESS]


def _cases(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", VECTORS[group], ids=lambda case: case["name"])


def _path(case: dict[str, Any]) -> list[bytes]:
    return [b64decode(node) for node in case["path"]]


def test_the_file_is_what_its_generator_writes() -> None:
    assert make_tlog.FILE.read_text(encoding="utf-8") == make_tlog.encoded()


@_cases("checkpoints")
def test_checkpoints(case: dict[str, Any]) -> None:
    note = case["note"].encode()
    if case["want_error"]:
        with pytest.raises(PortcullisError):
            verify_checkpoint(note, KEYS)
        return
    checkpoint = verify_checkpoint(note, KEYS)
    assert checkpoint.origin == VECTORS["origin"]
    assert (checkpoint.size, checkpoint.root) == (case["size"], b64decode(case["root"]))
    times_s = [signature.time_s for signature in verify_note(note, KEYS).signatures if signature.verifier == WITNESS]
    assert times_s == [case[key] for key in case if key == "cosigned_at_s"]


@_cases("proofs")
def test_proofs(case: dict[str, Any]) -> None:
    leaf, proof = b64decode(case["leaf"]), case["proof"].encode()
    if case["want_error"]:
        with pytest.raises(PortcullisError):
            verify_proof(leaf, proof, KEYS)
        return
    assert f"proof {verify_proof(leaf, proof, KEYS).index}" == case["name"]


@_cases("inclusions")
def test_inclusions(case: dict[str, Any]) -> None:
    leaf_hash, root = hash_leaf(b64decode(case["leaf"])), b64decode(case["root"])
    verify_inclusion(leaf_hash, case["index"], case["size"], _path(case), root)


@_cases("consistency")
def test_consistency(case: dict[str, Any]) -> None:
    claim = (case["size1"], b64decode(case["root1"]), case["size2"], b64decode(case["root2"]), _path(case))
    if case["want_error"]:
        with pytest.raises(PortcullisError):
            verify_consistency(*claim)
    else:
        verify_consistency(*claim)


def test_the_whole_log() -> None:
    leaves = [b64decode(leaf) for leaf in VECTORS["leaves"]]
    notes = [case["note"].encode() for case in VECTORS["checkpoints"] if not case["want_error"]]
    report = verify_log(leaves, notes, KEYS, origin=VECTORS["origin"])
    assert (report.problems, report.leaves, report.checkpoints) == ((), len(leaves), len(notes))
