"""Keys of logs: one each, replaced without a break."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.audit.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from streams.audit.keys import NoKeyError, key_source
from streams.audit.verify import ProblemKind, event_time_us, verify_timed_log
from streams.core.merkle import Frontier, hash_leaf
from streams.wire.keys import KeyFileError
from streams.wire.log_keys import (
    Generation,
    LogSigners,
    NoLogKeyError,
    encode_keys,
    generations,
    log_keys,
    log_signers,
    parse_keys,
    rotate,
)
from tests.made_log import START_US, STEP_US, make_log

LOG = make_log(0, 40)
ROTATED_US = START_US + 15 * STEP_US
OVERLAP_US = 10 * STEP_US


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "log.seed").write_bytes(bytes(range(32)))
    return tmp_path


@pytest.fixture
def rotated(folder: Path) -> Path:
    rotate(folder, now_us=ROTATED_US, overlap_us=OVERLAP_US)
    return folder


def notes(signers: LogSigners) -> list[bytes]:
    """Return one checkpoint a leaf, each signed with the keys that count at its leaf's time."""
    found, tree = [], Frontier()
    for leaf in LOG.leaves:
        tree = tree.append(hash_leaf(leaf))
        found.append(sign_checkpoint(Checkpoint(LOG.origin, tree.size, tree.root()), *signers.at(event_time_us(leaf))))
    return found


def test_no_two_logs_share_a_key(folder: Path) -> None:
    keys = {log_keys(folder, f"log.example/{number}")[0].verifier.public_key for number in range(8)}
    assert len(keys) == 8
    assert log_keys(folder, "log.example/1") == log_keys(folder, "log.example/1")


def test_both_keys_sign_during_the_overlap_and_one_before_and_after(rotated: Path) -> None:
    signers = log_signers(rotated, LOG.origin)
    counts = [len(signers.at(event_time_us(leaf))) for leaf in LOG.leaves]
    assert counts == [1] * 15 + [2] * 11 + [1] * 14
    first, second = (key.verifier for key in log_keys(rotated, LOG.origin))
    assert signers.at(START_US)[0].verifier == first
    assert signers.at(ROTATED_US + OVERLAP_US + 1)[0].verifier == second


def test_who_knows_one_key_reads_on_until_the_other_counts_alone(rotated: Path) -> None:
    signed = notes(log_signers(rotated, LOG.origin))
    old, new = log_keys(rotated, LOG.origin)
    for note in signed[:26]:
        assert verify_checkpoint(note, [old.verifier])
    for note in signed[15:]:
        assert verify_checkpoint(note, [new.verifier])


def test_a_log_verifies_across_a_rotation(rotated: Path) -> None:
    signed = notes(log_signers(rotated, LOG.origin))
    report = verify_timed_log(LOG.leaves, signed, log_keys(rotated, LOG.origin), origin=LOG.origin)
    assert (report.leaves, report.problems) == (40, ())


def test_a_retired_key_signs_nothing_new(rotated: Path) -> None:
    keys = log_keys(rotated, LOG.origin)
    stolen = log_signers(rotated, LOG.origin).at(START_US)[0]
    tree = Frontier().extend(map(hash_leaf, LOG.leaves))
    note = sign_checkpoint(Checkpoint(LOG.origin, 40, tree.root()), stolen)
    (problem,) = verify_timed_log(LOG.leaves, [note], keys, origin=LOG.origin).problems
    assert problem.kind is ProblemKind.KEY_OUT_OF_TIME


def test_one_replacement_at_a_time(rotated: Path) -> None:
    with pytest.raises(KeyFileError, match="generation 1 still counts"):
        rotate(rotated, now_us=ROTATED_US + OVERLAP_US, overlap_us=1)
    third = rotate(rotated, now_us=ROTATED_US + OVERLAP_US + 1, overlap_us=5)
    assert third.number == 3
    assert [g.not_after_us for g in generations(rotated)] == [
        ROTATED_US + OVERLAP_US,
        ROTATED_US + OVERLAP_US + 6,
        None,
    ]
    assert (rotated / "private" / "log-3.seed").stat().st_mode & 0o777 == 0o600


def test_without_a_key_nothing_is_signed(rotated: Path, tmp_path: Path) -> None:
    signers = LogSigners(LOG.origin, log_signers(rotated, LOG.origin).signers[1:])
    with pytest.raises(NoLogKeyError, match="a key that counts at"):
        signers.at(START_US)
    with pytest.raises(KeyFileError):
        rotate(tmp_path / "empty", now_us=0, overlap_us=0)


def test_keys_are_written_and_read(rotated: Path, tmp_path: Path) -> None:
    keys = log_keys(rotated, LOG.origin)
    found = list(parse_keys(encode_keys(keys)))
    assert [(key.verifier, key.generation.not_before_us, key.generation.not_after_us) for key in found] == [
        (keys[0].verifier, 0, ROTATED_US + OVERLAP_US),
        (keys[1].verifier, ROTATED_US, None),
    ]
    (always,) = parse_keys(f"# by hand\n\n{keys[0].verifier.vkey}\n")
    assert always.generation == Generation(3, 0, None)
    with pytest.raises(ValueError, match="line 1"):
        list(parse_keys("a b\n"))
    file = tmp_path / "logs.keys"
    file.write_text(encode_keys(keys))
    assert len(key_source(rotated, file)(LOG.origin)) == 2
    # Who has no seeds reads what was published.
    (tmp_path / "v" / "trust" / "keys").mkdir(parents=True)
    (tmp_path / "v" / "trust" / "keys" / "logs.keys").write_text(encode_keys(keys))
    assert [key.verifier for key in log_keys(tmp_path / "v", LOG.origin)] == [key.verifier for key in keys]
    with pytest.raises(KeyFileError, match="a key of log"):
        log_keys(tmp_path / "v", "log.example/9")
    with pytest.raises(NoKeyError, match="log\\.example/9"):
        key_source(rotated, file)("log.example/9")
    with pytest.raises(NoKeyError):
        key_source(rotated, tmp_path / "none")
