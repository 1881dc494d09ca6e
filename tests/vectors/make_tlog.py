"""Write tlog_own.json: ``python -m tests.vectors.make_tlog``. The keys are fixed, so it always writes the same bytes.

The Go program beside it judges every case with other people's libraries; test_go_verifier.py runs it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.proof import TlogProof, encode_proofs
from streams.core.merkle import BatchProver, Frontier, consistency_proof, hash_leaf
from streams.wire.note import SignatureType, Signer, cosign_note, sign_note

FILE = Path(__file__).with_name("tlog_own.json")
ORIGIN = "portcullis.example/audit/3"
BATCHES = (1, 1, 5, 1, 12)
TIME_S = 1_760_000_000

_LOG = Signer.from_seed(ORIGIN, bytes(range(32)))
_OTHER_LOG = Signer.from_seed("portcullis.example/audit/4", bytes(range(1, 33)))
_WITNESS = Signer.from_seed("witness.example/w1", bytes(range(2, 34)), SignatureType.COSIGNATURE_V1)


def document(batches: tuple[int, ...] = BATCHES) -> dict[str, Any]:
    """Return a log written in these batches: its leaves, checkpoints and proofs, and what must be refused."""
    log = _Log(batches)
    return {
        "origin": ORIGIN,
        "log_vkey": _LOG.verifier.vkey,
        "other_vkey": _OTHER_LOG.verifier.vkey,
        "witness_vkey": _WITNESS.verifier.vkey,
        "leaves": [_base64(leaf) for leaf in log.leaves],
        "checkpoints": log.checkpoints() + log.bad_checkpoints(),
        "proofs": log.proofs() + log.bad_proofs(),
        "inclusions": log.inclusions(),
        "consistency": log.consistency(),
    }


class _Log:
    """The log while it is written."""

    def __init__(self, batches: tuple[int, ...]) -> None:
        self.leaves = [b"event %d" % number for number in range(sum(batches))]
        self.trees = [Frontier()]
        for count in batches:
            size = self.trees[-1].size
            self.prover = BatchProver(self.trees[-1], [hash_leaf(leaf) for leaf in self.leaves[size : size + count]])
            self.trees.append(self.prover.frontier)
        self.first = self.trees[-2].size
        self.last = Checkpoint(ORIGIN, self.prover.frontier.size, self.prover.root)
        self.note = cosign_note(sign_checkpoint(self.last, _LOG), _WITNESS, time_s=TIME_S)

    def checkpoints(self) -> list[dict[str, Any]]:
        signed = [sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), _LOG) for tree in self.trees]
        cases = [
            _case(f"checkpoint {tree.size}", note=note.decode(), size=tree.size, root=_base64(tree.root()))
            for tree, note in zip(self.trees, signed, strict=True)
        ]
        root = _base64(self.last.root)
        cosigned = _case("cosigned", note=self.note.decode(), size=self.last.size, root=root, cosigned_at_s=TIME_S)
        stranger = Signer.from_seed("stranger.example", bytes(32)).sign(self.last.encode())
        skipped = _case("unknown key", note=(signed[-1] + stranger).decode(), size=self.last.size, root=root)
        return [*cases, cosigned, skipped]

    def bad_checkpoints(self) -> list[dict[str, Any]]:
        text, note = self.last.encode(), sign_checkpoint(self.last, _LOG)
        cosignature = _WITNESS.sign(text, time_s=TIME_S)
        bad = {
            "changed size": note.replace(b"\n%d\n" % self.last.size, b"\n%d\n" % (self.last.size + 1)),
            "added line": note.replace(b"=\n\n", b"=\nextension\n\n"),
            "another log's key": sign_note(text, _OTHER_LOG),
            "another log's name": sign_note(replace(self.last, origin="other").encode(), _LOG),
            "witness alone": text + b"\n" + cosignature,
            "bad cosignature": note + _WITNESS.sign(text + b"extension\n", time_s=TIME_S),
            "leading zero": sign_note(text.replace(b"\n%d\n" % self.last.size, b"\n0%d\n" % self.last.size), _LOG),
            "no root": sign_note(text.rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n", _LOG),
            "empty extension": sign_note(text + b"\n", _LOG),
            "no signature": text,
            "no last newline": note[:-1],
        }
        return [_case(name, note=bad_note.decode(), want_error=True) for name, bad_note in bad.items()]

    def proofs(self) -> list[dict[str, Any]]:
        return [
            _case(f"proof {index}", leaf=_base64(self.leaves[index]), proof=proof.decode())
            for index, proof in enumerate(encode_proofs(self.prover, self.note), self.first)
        ]

    def bad_proofs(self) -> list[dict[str, Any]]:
        good = TlogProof(self.first, tuple(self.prover.proof(self.first)), self.note)
        earlier = self.trees[-2]
        old_note = sign_checkpoint(Checkpoint(ORIGIN, earlier.size, earlier.root()), _LOG)
        bad = {
            "next index": replace(good, index=self.first + 1),
            "index past the end": replace(good, index=self.last.size),
            "long path": replace(good, path=(*good.path, bytes(32))),
            "changed path": replace(good, path=(bytes(32), *good.path[1:])),
            "older checkpoint": replace(good, checkpoint_note=old_note),
            "checkpoint of another log": replace(good, checkpoint_note=sign_note(self.last.encode(), _OTHER_LOG)),
        }
        if good.path:
            bad["short path"] = replace(good, path=good.path[:-1])
        leaf = _base64(self.leaves[self.first])
        cases = [_case(name, leaf=leaf, proof=proof.encode().decode(), want_error=True) for name, proof in bad.items()]
        wrong_leaf = _case("another leaf", leaf=_base64(b"other"), proof=good.encode().decode(), want_error=True)
        return [*cases, wrong_leaf]

    def inclusions(self) -> list[dict[str, Any]]:
        tree: dict[str, Any] = {"size": self.last.size, "root": _base64(self.last.root)}
        return [
            _case(f"inclusion {i}", leaf=_base64(self.leaves[i]), index=i, path=_hashes(self.prover.proof(i)), **tree)
            for i in range(self.first, self.last.size)
        ]

    def consistency(self) -> list[dict[str, Any]]:
        def read(level: int, index: int) -> bytes:
            return Frontier().extend(map(hash_leaf, self.leaves[index << level : (index + 1) << level])).root()

        cases = []
        for place, old in enumerate(self.trees[1:], 1):
            for new in self.trees[place:]:
                path = _hashes(consistency_proof(old.size, new.size, read))
                sizes: dict[str, Any] = {
                    "size1": old.size,
                    "size2": new.size,
                    "root2": _base64(new.root()),
                    "path": path,
                }
                name = f"consistency {old.size} {new.size}"
                cases += [
                    _case(name, root1=_base64(old.root()), **sizes),
                    _case(f"{name} of another root", root1=_base64(bytes(32)), want_error=True, **sizes),
                ]
        return cases


def _case(name: str, *, want_error: bool = False, **fields: object) -> dict[str, Any]:
    return {"name": name, "want_error": want_error, **fields}


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _hashes(hashes: list[bytes]) -> list[str]:
    return [_base64(node) for node in hashes]


def encoded() -> str:
    """Return the file's text."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(encoded(), encoding="utf-8")
