"""Others' implementations read what a rotation and a witness leave behind: two signatures of a log, cosignatures."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streams.archive.objects import archived
from streams.audit.segments import Leaf, LogFollower, Position
from streams.wire.log_keys import Generation, LogKey
from streams.wire.note import SignatureType, Signer, cosign_note
from tests.made_log import make_log
from tests.vectors.test_go_verifier import pytestmark, verifier

__all__ = ["pytestmark", "verifier"]

LOG = make_log(0, 28)
NEW = Signer.from_seed(LOG.origin, bytes(range(32)))
WITNESS = Signer.from_seed("witness.example/w1", bytes(range(2, 34)), SignatureType.COSIGNATURE_V1)
TIME_S = 1_760_000_000


@dataclass(frozen=True)
class Judged:
    document: dict[str, Any]

    def by(self, verifier: Path) -> list[dict[str, Any]]:
        run = subprocess.run(
            [str(verifier)], input=json.dumps(self.document), capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in run.stdout.splitlines()]


def document(log_key: str, **cases: list[dict[str, Any]]) -> Judged:
    empty: dict[str, Any] = {"checkpoints": [], "proofs": [], "inclusions": [], "consistency": []}
    keys = {"origin": LOG.origin, "log_vkey": log_key, "witness_vkey": WITNESS.verifier.vkey}
    return Judged(keys | empty | cases)


def both_signatures(note: bytes) -> bytes:
    return note + NEW.sign(note.partition(b"\n\n")[0] + b"\n")


@pytest.mark.parametrize("key", [LOG.signer.verifier, NEW.verifier])
def test_during_a_rotation_either_key_opens_a_cosigned_checkpoint(verifier: Path, key: Any) -> None:
    notes = [cosign_note(both_signatures(note), WITNESS, time_s=TIME_S) for note in LOG.notes]
    cases = [{"name": f"note {n}", "note": note.decode()} for n, note in enumerate(notes)]
    results = document(key.vkey, checkpoints=cases).by(verifier)
    assert [(r.get("error"), r["size"], r["cosigned_at_s"]) for r in results] == [
        (None, size, TIME_S) for size in (7, 14, 21, 28)
    ]


def test_an_archived_event_is_a_proof_that_others_read(verifier: Path) -> None:
    following = LogFollower(LOG.origin, [LogKey(LOG.signer.verifier, Generation(1, 0, None))], Position())
    for offset, leaf in enumerate(LOG.leaves):
        following.take_leaf(Leaf(offset, leaf))
    for offset, note in enumerate(LOG.notes):
        following.take_note(offset, note)
    objects = [item for segment in following.segments() for item in archived(0, segment)]
    cases = [
        {"name": name, "leaf": _base64(leaf), "proof": data.decode()}
        for leaf, (_, name, data) in zip(LOG.leaves, objects, strict=True)
    ]
    moved = [{**cases[0], "name": "moved", "leaf": cases[1]["leaf"]}]
    results = document(LOG.signer.verifier.vkey, proofs=cases + moved).by(verifier)
    assert [result["name"] for result in results if "error" in result] == ["moved"]


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
