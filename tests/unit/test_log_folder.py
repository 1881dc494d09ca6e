"""Logs in a folder, checked with public keys alone."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import orjson
import pytest

from streams.audit.epochs import LOG_BEGUN, LOG_CLOSED, Epoch, TreeHead
from streams.audit.keys import NoKeyError
from streams.audit.policy import TlogPolicy
from streams.core.merkle import Frontier, hash_leaf
from streams.reports.layout import BatchError, pack_items
from streams.rig.audit_page import audit_page
from streams.rig.log_folder import verify_folder
from streams.wire.decisions import decode_audit_event, encode_audit_head
from streams.wire.log_keys import Generation, LogKey
from streams.wire.note import SignatureType, Signer, cosign_note
from tests.made_log import MadeLog, make_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.rig.auditing import AuditReport

LOGS = (make_log(0, 30), make_log(1, 16))
NAMES = tuple(log.origin for log in LOGS)
WITNESS = Signer.from_seed("witness.example", bytes([9]) * 32, SignatureType.COSIGNATURE_V1)
POLICY = TlogPolicy(tuple(log.signer.verifier for log in LOGS), {"witness": WITNESS.verifier}, {}, "witness")


def keys(origin: str) -> Sequence[LogKey]:
    found = [log.signer.verifier for log in LOGS if log.origin == origin]
    if not found:
        raise NoKeyError(f"a key of {origin} required, has none")
    return [LogKey(key, Generation(1, 0, None)) for key in found]


def write(folder: Path, logs: Sequence[MadeLog] = LOGS) -> Path:
    folder.mkdir()
    for number, log in enumerate(logs):
        cosigned = [cosign_note(note, WITNESS, time_s=1) for note in log.notes]
        for kind, items in (("leaves", log.leaves), ("checkpoints", log.notes), ("cosigned", cosigned)):
            (folder / f"{number}.{kind}").write_bytes(pack_items(items))
    write_list(folder, [log.origin for log in logs])
    return folder


def write_list(folder: Path, origins: Sequence[str]) -> None:
    (folder / "logs.json").write_bytes(orjson.dumps({"format": "portcullis-logs-1", "logs": origins}))


def verify(folder: Path, policy: TlogPolicy | None = None) -> AuditReport:
    return verify_folder(folder, keys, NAMES, policy)


def test_sound_logs(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "logs"))
    assert (report.verified, report.logs, report.leaves, report.checkpoints) == (True, 2, 46, 8)
    assert report.keys == tuple(sorted(log.signer.verifier.vkey for log in LOGS))
    assert len(report.gaps) == 1
    report = verify(write(tmp_path / "again"), POLICY)
    assert (report.verified, report.cosigned, report.gaps) == (True, 46, ())


@pytest.mark.parametrize("place", range(0, 30, 3))
def test_a_changed_leaf_is_found(tmp_path: Path, place: int) -> None:
    folder = write(tmp_path / "logs")
    leaves = list(LOGS[0].leaves)
    leaves[place] = leaves[place][:-1] + bytes([leaves[place][-1] ^ 1])
    (folder / "0.leaves").write_bytes(pack_items(leaves))
    (problem,) = verify(folder).problems
    assert problem.startswith(f"log {NAMES[0]}: changed: ")


def test_a_log_cut_back_with_its_checkpoints_takes_a_policy(tmp_path: Path) -> None:
    folder = write(tmp_path / "logs")
    (folder / "0.leaves").write_bytes(pack_items(LOGS[0].leaves[:14]))
    (folder / "0.checkpoints").write_bytes(pack_items(LOGS[0].notes[:2]))
    assert verify(folder).verified
    assert any("21 leaves cosigned, 14 to read" in problem for problem in verify(folder, POLICY).problems)


def test_a_log_may_not_be_left_out_or_stand_for_another(tmp_path: Path) -> None:
    folder = write(tmp_path / "logs")
    write_list(folder, NAMES[:1])
    assert verify(folder).problems == (f"log {NAMES[1]}: its key is known, but the folder leaves it out",)
    write_list(folder, (NAMES[0], NAMES[0]))
    assert not verify(folder).verified
    write_list(folder, (*NAMES, "log.example/other"))
    assert any("log.example/other: a key of" in problem for problem in verify(folder).problems)


def test_files_that_are_missing_or_cut_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "logs")
    (folder / "1.checkpoints").unlink()
    assert any("1.checkpoints: cannot be read" in problem for problem in verify(folder).problems)
    folder = write(tmp_path / "again")
    whole = (folder / "0.leaves").read_bytes()
    (folder / "0.leaves").write_bytes(whole[:-3])
    assert any("0.leaves: ends within an item" in problem for problem in verify(folder).problems)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"format":"other","logs":[]}', b'{"format":"portcullis-logs-1"}']
)
def test_what_is_no_list_of_logs_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = write(tmp_path / "logs")
    (folder / "logs.json").write_bytes(text)
    with pytest.raises(BatchError, match=r"logs\.json"):
        verify(folder)


def test_a_closed_log_names_the_logs_that_must_follow(tmp_path: Path) -> None:
    event, _ = decode_audit_event(LOGS[1].leaves[0])
    details = {"next_origin": "log.example/next", "next_lanes": "2", "next_prefix": "n."}
    last = encode_audit_head(event._replace(event_type=LOG_CLOSED, log_index=16, details=details), None)
    closed = MadeLog(1, (*LOGS[1].leaves, last))
    assert Frontier().extend(map(hash_leaf, closed.leaves)).size == 17
    report = verify(write(tmp_path / "logs", (LOGS[0], closed)))
    assert report.problems == tuple(
        f"log log.example/next/{lane}: another log names it, but the folder leaves it out" for lane in range(2)
    )


def test_a_log_that_follows_others_names_their_final_checkpoints(tmp_path: Path) -> None:
    event, _ = decode_audit_event(LOGS[1].leaves[0])
    origin = NAMES[0].rpartition("/")[0]

    def after(origin: str, leaves: Sequence[bytes]) -> MadeLog:
        final = TreeHead(len(leaves), Frontier().extend(map(hash_leaf, leaves)).root())
        said = Epoch(origin, 1, "", (final,)).recollection()
        first = event._replace(event_type=LOG_BEGUN, log_index=0, details=said)
        return MadeLog(1, (encode_audit_head(first, None), *LOGS[1].leaves))

    assert verify(write(tmp_path / "logs", (LOGS[0], after(origin, LOGS[0].leaves)))).problems == ()
    (wrong,) = verify(write(tmp_path / "cut", (LOGS[0], after(origin, LOGS[0].leaves[:-1])))).problems
    assert wrong == f"log {NAMES[1]}: its first leaf names other final checkpoints than the logs before it have"
    (left_out,) = verify(write(tmp_path / "other", (LOGS[0], after("gone.example", LOGS[0].leaves)))).problems
    assert left_out == "log gone.example/0: another log names it, but the folder leaves it out"


def test_the_summary_says_what_was_found_and_escapes_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "logs")
    write_list(folder, (*NAMES, "<script>"))
    page = audit_page(verify(folder), str(folder))
    assert "Not verified: 1 problems" in page
    assert "<script>" not in page
    HTMLParser().feed(page)
    assert "Verified: 2 logs, 46 leaves" in audit_page(verify(write(tmp_path / "again")), "x")
