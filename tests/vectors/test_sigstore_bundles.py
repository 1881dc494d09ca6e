"""Inclusion proofs of a public transparency log, as sigstore's clients keep them, under our own tree and note.

Only the log entry applies here: bundles' certificates and timestamps are of other kinds than a bot's.
"""

from __future__ import annotations

import json
import tarfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from streams.audit.checkpoint import Checkpoint
from streams.core.errors import PortcullisError
from streams.core.merkle import hash_leaf, verify_inclusion

FILE = Path(__file__).parents[3] / "shared" / "data" / "audit_sigstore_bundles" / "bundle_verify.tar.gz"
# Where the fault is in the proof or in the checkpoint's text; the others' are in certificates, keys and timestamps.
WRONG_ENTRIES = {
    "inclusion-proof-corrupted-hash_fail",
    "invalid-inclusion-proof_fail",
    "rekor2-checkpoint-missing-origin_fail",
    "rekor2-checkpoint-missing-size_fail",
}


def entries() -> dict[str, dict[str, Any]]:
    if not FILE.is_file():
        pytest.skip("no shared data: audit_sigstore_bundles")
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(FILE) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".json") else None
            if file is None:
                continue
            try:
                material = json.loads(file.read()).get("verificationMaterial", {})
            except ValueError:
                continue
            for entry in material.get("tlogEntries", ()):
                if "inclusionProof" in entry and "canonicalizedBody" in entry:
                    found[member.name] = entry
    return found


def holds(entry: dict[str, Any]) -> bool:
    proof = entry["inclusionProof"]
    try:
        leaf, root = hash_leaf(b64decode(entry["canonicalizedBody"])), b64decode(proof["rootHash"])
        path = [b64decode(node) for node in proof["hashes"]]
        verify_inclusion(leaf, int(proof["logIndex"]), int(proof["treeSize"]), path, root)
        note = proof["checkpoint"]["envelope"].encode()
        checkpoint = Checkpoint.parse(note.rpartition(b"\n\n")[0] + b"\n")
    except (PortcullisError, KeyError, ValueError):
        return False
    return (checkpoint.size, checkpoint.root) == (int(proof["treeSize"]), root)


def test_good_entries_hold_and_what_is_wrong_with_a_log_entry_is_found() -> None:
    found = {name.partition("/")[0]: holds(entry) for name, entry in entries().items()}
    assert {name for name, held in found.items() if not held and not name.endswith("_fail")} == set()
    assert found.keys() >= WRONG_ENTRIES
    assert {name for name in WRONG_ENTRIES if found[name]} == set()
