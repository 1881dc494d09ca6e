"""The witness on the real broker: it cosigns, is killed and goes on, and refuses a fork without holding other logs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.epochs import Epoch, EpochError, save_closed
from streams.audit.keys import key_source
from streams.audit.policy import TlogPolicy
from streams.core.merkle import MerkleError
from streams.names import Topic
from streams.rig.auditing import AuditReport, current_epoch, verify_audit
from streams.rig.closing import ClosingError, beginning_leaf, close_logs
from streams.rig.consistency import NoCheckpointError, prove_consistency
from streams.rig.log_folder import export_logs, verify_folder
from streams.settings import Settings
from streams.wire.avro import Schema, decode
from streams.wire.log_keys import log_keys, log_signers
from streams.witness.running import load_cosigner, run_witness
from tests.integration.engine_rig import wait_until
from tests.integration.log_rig import LANES, LogWriter, log_topics, read_values, rig_settings, running
from tests.made_log import START_US

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NAME = "witness.example/w"


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Settings]:
    with log_topics(kafka, topic_prefix, LANES):
        yield rig_settings(kafka, topic_prefix, tmp_path)


def witness(settings: Settings) -> "partial[None]":
    folder = settings.home / "witness"
    keys = key_source(settings.pki, None)
    cosigner = load_cosigner(folder, NAME)
    run = (settings.cluster(), settings.topic_prefix, settings.log_origin, keys, cosigner, folder)
    return partial(run_witness, *run)


def policy(settings: Settings) -> TlogPolicy:
    logs = [key.verifier for n in range(LANES) for key in log_keys(settings.pki, f"{settings.log_origin}/{n}")]
    return TlogPolicy(tuple(logs), {"W": load_cosigner(settings.home / "witness", NAME).verifier}, {}, "W")


def cosigned(settings: Settings, lane: int) -> int:
    wanted = policy(settings)
    return max((wanted.check(note).size for note in read_values(settings, Topic.AUDIT_COSIGNATURES, lane)), default=0)


def audit(settings: Settings, *, with_policy: bool = True) -> AuditReport:
    keys = key_source(settings.pki, None)
    return verify_audit(settings, keys, None, policy(settings) if with_policy else None)


def alerts(settings: Settings) -> list[str]:
    return [decode(Schema.ALERT, value)["message"] for value in read_values(settings, Topic.RISK_ALERTS)]


def test_it_cosigns_what_grows_and_refuses_a_fork(settings: Settings) -> None:
    writer = LogWriter(settings, 60)
    with running(witness(settings)):
        for lane in range(LANES):
            writer.write(lane, 10)
        assert wait_until(lambda: [cosigned(settings, lane) for lane in range(LANES)] == [10, 10], 30)
    report = audit(settings)
    assert (report.verified, report.leaves, report.cosigned) == (True, 20, 20), report.problems
    folder = settings.home / "taken"
    assert export_logs(settings, folder) == 20
    taken = verify_folder(folder, key_source(settings.pki, None), (), policy(settings))
    assert (taken.verified, taken.leaves, taken.cosigned) == (True, 20, 20), taken.problems
    # While it is away the log grows; one log is then given a second history, signed by its own key.
    writer.write(0, 5)
    writer.write(1, 5)
    origin = writer.origin(0)
    writer.write(
        0, 5, note=sign_checkpoint(Checkpoint(origin, 12, bytes(32)), *log_signers(settings.pki, origin).at(1))
    )
    with running(witness(settings)):
        assert wait_until(lambda: [cosigned(settings, lane) for lane in range(LANES)] == [15, 15], 30)
        assert wait_until(lambda: len(alerts(settings)) == 1, 30)
        writer.write(1, 20)
        assert wait_until(lambda: cosigned(settings, 1) == 35, 30)
    (message,) = alerts(settings)
    assert message.startswith(f"witness {NAME} cosigns nothing of {origin} past 15 leaves: log {origin}: shrunk")
    assert cosigned(settings, 0) == 15
    assert not audit(settings).verified


def test_any_two_checkpoints_are_proven_consistent(settings: Settings) -> None:
    writer = LogWriter(settings, 60)
    for count in (1, 6, 13, 20):
        writer.write(0, count)
    keys = key_source(settings.pki, None)
    for sizes in ((1, 7), (40, 20)):
        proven = prove_consistency(settings, keys, 0, sizes)
        assert (proven["old"]["size"], proven["new"]["size"], proven["verified"]) == (*sorted(sizes), True)
    with pytest.raises(NoCheckpointError, match="size 8"):
        prove_consistency(settings, keys, 0, (8, 40))
    origin = writer.origin(0)
    forged = sign_checkpoint(Checkpoint(origin, 45, bytes(32)), *log_signers(settings.pki, origin).at(1))
    writer.write(0, 5, note=forged)
    with pytest.raises(MerkleError):
        prove_consistency(settings, keys, 0, (20, 45))


def test_logs_are_closed_and_others_begin(settings: Settings) -> None:
    writer = LogWriter(settings, 20)
    writer.write(0, 9)
    following = Epoch(f"{settings.log_origin}/2", LANES, f"{settings.topic_prefix}next.")
    with log_topics(settings.kafka_bootstrap_servers, following.prefix, following.lanes):
        check_closing(settings, writer, following)


def check_closing(settings: Settings, writer: LogWriter, following: Epoch) -> None:
    epoch = current_epoch(settings)
    finals = close_logs(settings, following, by="cfo@acme", now_us=1)
    assert [final.size for final in finals] == [10, 1]
    assert close_logs(settings, following, by="cfo@acme", now_us=2) == finals
    with pytest.raises(ClosingError, match="closed already"):
        close_logs(settings, replace(following, origin="elsewhere", prefix="e."), by="cfo@acme", now_us=2)
    save_closed(settings.pki, epoch, finals, following)
    with pytest.raises(EpochError, match="last and open required"):
        close_logs(settings, following, by="cfo@acme", now_us=2)
    moved = replace(settings, topic_prefix=following.prefix, log_origin=following.origin)
    with pytest.raises(ClosingError, match="that no logs have had"):
        close_logs(moved, replace(following, origin=settings.log_origin), by="cfo@acme", now_us=2)
    unlinked = [f"log {following.log(lane)}: the first leaf of a log that follows others" for lane in range(LANES)]
    problems = audit(moved, with_policy=False).problems
    assert [problem.rpartition(" must")[0] for problem in problems] == unlinked
    writer_after = LogWriter(moved, 20)
    for lane, leaves in enumerate(writer_after.leaves):
        first = beginning_leaf(lane, START_US, "cfo@acme", replace(epoch, finals=finals), {})
        writer_after.leaves[lane] = (first, *leaves)
        writer_after.write(lane, 3)
    report = audit(moved, with_policy=False)
    assert (report.verified, report.logs, report.leaves) == (True, 2 * LANES, 17), report.problems
    folder = settings.home / "taken"
    assert export_logs(moved, folder) == 17
    assert verify_folder(folder, key_source(moved.pki, None), ()).verified
    # Appended to after it was closed: nobody may.
    writer.write(1, 3)
    problems = audit(moved, with_policy=False).problems
    assert any(problem.startswith(f"log {writer.origin(1)}: ") for problem in problems)
    (settings.pki / "trust" / "logs.json").write_text("[{}]")
    with pytest.raises(EpochError):
        audit(moved, with_policy=False)


def test_a_checkpoint_that_covers_what_nobody_can_read_is_found(settings: Settings) -> None:
    writer = LogWriter(settings, 20)
    writer.write(0, 5)
    origin = writer.origin(0)
    ahead = sign_checkpoint(Checkpoint(origin, 9, bytes(32)), *log_signers(settings.pki, origin).at(1))
    writer.write(0, 2, note=ahead)
    (problem,) = audit(settings, with_policy=False).problems
    assert problem == f"log {origin}: missing tail: 7 leaves, 9 signed; nothing from leaf 5 on is proven"


def test_a_witness_is_asked_to_stop_while_nothing_happens(settings: Settings) -> None:
    stop = Event()
    stop.set()
    witness(settings)(stop)
