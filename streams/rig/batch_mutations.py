"""Single changes of a report batch: by somebody who can write its files, and by somebody who can sign it as well."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.reports.layout import (
    KEY_NAME,
    MANIFEST,
    RECORD_FILES,
    SIGNATURE,
    checkpoints_file,
    file_digest,
    leaves_file,
    lines_file,
    manifest_text,
    pack_items,
    read_items,
)
from streams.rig.mutations import (
    LIST_CHANGES,
    Mutation,
    Target,
    first_wrong,
    flipped,
    forked,
    place_for,
    resigned,
)
from streams.wire.note import Signer, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from streams.rig.evidence import Evidence

_THIEF: Final = Signer.from_seed(KEY_NAME, bytes(range(32)))
_INSIDER: Final = "insider "
_LINE: Final = " record"
_LEAF: Final = " leaf"
KINDS: Final = (
    "flip file",
    "flip manifest",
    "re-sign",
    *(f"{kind}{_LINE}" for kind in ("flip", *LIST_CHANGES)),
    *(f"{_INSIDER}{kind}{_LINE}" for kind in ("flip", *LIST_CHANGES)),
    *(f"{_INSIDER}{kind}{_LEAF}" for kind in ("flip", *LIST_CHANGES)),
    *(f"{_INSIDER}{kind} checkpoint" for kind in ("flip", "re-sign", "fork")),
)


@contextmanager
def change_batch(evidence: Evidence, rng: Random, kind: str) -> Iterator[Mutation]:
    """Change one file of the batch; an insider then brings manifest and signature in line with it."""
    folder = evidence.batch
    what = kind.removeprefix(_INSIDER)
    if what.endswith(_LINE):
        path, changed, mutation = _change_lines(evidence, rng, kind, what.removesuffix(_LINE))
    elif what.endswith(_LEAF):
        path, changed, mutation = _change_leaves(evidence, rng, kind, what.removesuffix(_LEAF))
    elif what.endswith(" checkpoint"):
        path, changed, mutation = _change_checkpoint(evidence, rng, kind, what.split()[0])
    else:
        path, changed, mutation = _change_file(evidence, rng, kind)
    kept = {each: each.read_bytes() for each in (path, folder / MANIFEST, folder / SIGNATURE)}
    path.write_bytes(changed)
    if kind.startswith(_INSIDER):
        sign_again(folder, path, evidence.report_signer)
    try:
        yield mutation
    finally:
        for each, data in kept.items():
            each.write_bytes(data)


def _change_file(evidence: Evidence, rng: Random, kind: str) -> tuple[Path, bytes, Mutation]:
    folder = evidence.batch
    if kind == "re-sign":
        path = folder / SIGNATURE
        changed = sign_note(manifest_text((folder / MANIFEST).read_bytes()), _THIEF)
    elif kind == "flip manifest":
        path = folder / MANIFEST
        changed = flipped(path.read_bytes(), rng)
    else:
        path = rng.choice([each for each in sorted(folder.rglob("*")) if each.is_file() and each.stat().st_size])
        changed = flipped(path.read_bytes(), rng)
    name = path.relative_to(folder).as_posix()
    texts = (MANIFEST, SIGNATURE) if name in (MANIFEST, SIGNATURE) else (name,)
    return path, changed, _mutation(evidence, kind, name, texts=texts)


def _change_lines(evidence: Evidence, rng: Random, kind: str, how: str) -> tuple[Path, bytes, Mutation]:
    files = [evidence.batch / lines_file(name) for name in RECORD_FILES]
    path = rng.choice([each for each in files if each.read_bytes().count(b"\n") > 1])
    lines = path.read_bytes().splitlines(keepends=True)
    place = place_for(how, lines, rng)
    if how == "flip":
        # Any bit but those of the line's end, which would make two records one: that is "drop".
        changed = [*lines[:place], flipped(lines[place][:-1], rng) + b"\n", *lines[place + 1 :]]
    else:
        changed = LIST_CHANGES[how](lines, place)
    wrong = first_wrong(how, place)
    if wrong < len(lines):
        leaf = _leaf_of(lines[wrong])
        return path, b"".join(changed), _mutation(evidence, kind, f"{path.name} line {place + 1}", leaf=leaf)
    return path, b"".join(changed), _mutation(evidence, kind, f"{path.name} line {place + 1}", texts=(path.name,))


def _change_leaves(evidence: Evidence, rng: Random, kind: str, how: str) -> tuple[Path, bytes, Mutation]:
    numbers = [number for number, log in evidence.logs.items() if len(log.leaves) > 1]
    number = rng.choice(numbers)
    path = evidence.batch / leaves_file(number)
    leaves = list(read_items(path))
    place = place_for(how, leaves, rng)
    if how == "flip":
        changed = [*leaves[:place], flipped(leaves[place], rng), *leaves[place + 1 :]]
    else:
        changed = LIST_CHANGES[how](leaves, place)
    data = pack_items(changed)
    return path, data, _mutation(evidence, kind, f"{path.name} leaf {place}", leaf=(number, first_wrong(how, place)))


def _change_checkpoint(evidence: Evidence, rng: Random, kind: str, how: str) -> tuple[Path, bytes, Mutation]:
    number = rng.choice([number for number, log in evidence.logs.items() if log.notes])
    path = evidence.batch / checkpoints_file(number)
    notes = list(read_items(path))
    place = rng.randrange(len(notes))
    made = {
        "flip": lambda: flipped(notes[place], rng),
        "re-sign": lambda: resigned(notes[place]),
        "fork": lambda: forked(notes[place], evidence.signers[number], rng),
    }[how]()
    data = pack_items([*notes[:place], made, *notes[place + 1 :]])
    size = evidence.sizes_of(number)[place]
    texts = (f"log {number} checkpoint {place}", f"log {number}: two roots signed for size {size}", f"up to {size}")
    return path, data, _mutation(evidence, kind, f"log {number} checkpoint {place}", texts=texts)


def _mutation(
    evidence: Evidence, kind: str, what: str, *, leaf: tuple[int, int] | None = None, texts: tuple[str, ...] = ()
) -> Mutation:
    return Mutation(Target.BATCH, kind, what, partial(_check, evidence), leaf, texts)


def _check(evidence: Evidence) -> list[str]:
    return evidence.check_batch()


def _leaf_of(line: bytes) -> tuple[int, int]:
    record: dict[str, Any] = orjson.loads(line)
    evidence = record.get("SplmtryData", record)
    return evidence["log"], evidence["leaf"]


def sign_again(folder: Path, path: Path, signer: Signer) -> None:
    """Bring the manifest in line with a changed file and sign it."""
    document = orjson.loads((folder / MANIFEST).read_bytes())
    digest, size = file_digest(path)
    document["files"][path.relative_to(folder).as_posix()] = {"sha256": digest, "bytes": size}
    manifest = orjson.dumps(document)
    (folder / MANIFEST).write_bytes(manifest)
    (folder / SIGNATURE).write_bytes(sign_note(manifest_text(manifest), signer))
