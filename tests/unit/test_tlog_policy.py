"""Policies: whose signatures make a checkpoint count."""

from __future__ import annotations

import pytest

from streams.audit.checkpoint import Checkpoint, sign_checkpoint
from streams.audit.policy import TlogPolicy, TlogPolicyError
from streams.wire.note import NoteError, SignatureType, Signer, cosign_note

LOG = Signer.from_seed("log.example/0", bytes(range(32)))
OTHER = Signer.from_seed("log.example/1", bytes(range(1, 33)))
WITNESSES = [
    Signer.from_seed(f"witness.example/{n}", bytes([n + 7]) * 32, SignatureType.COSIGNATURE_V1) for n in range(4)
]
NOTE = sign_checkpoint(Checkpoint(LOG.verifier.name, 3, bytes(32)), LOG)
HEAD = "\n".join(
    [
        "# whose word counts",
        "",
        f" log {LOG.verifier.vkey}",
        f"log\t{OTHER.verifier.vkey} https://log.example/",
        *(f"witness W{n} {witness.verifier.vkey}" for n, witness in enumerate(WITNESSES)),
        "",
    ]
)


def policy(*lines: str) -> TlogPolicy:
    return TlogPolicy.parse((HEAD + "\n".join(lines) + "\n").encode())


def cosigned(*numbers: int) -> bytes:
    note = NOTE
    for number in numbers:
        note = cosign_note(note, WITNESSES[number], time_s=1_760_000_000)
    return note


def test_without_a_quorum_the_logs_signature_is_enough() -> None:
    assert policy("quorum none").check(NOTE).size == 3
    assert TlogPolicy.of_logs([LOG.verifier]).check(NOTE).size == 3


@pytest.mark.parametrize(
    ("lines", "enough", "lacking"),
    [
        (["quorum W2"], [(2,), (0, 2)], [(), (0, 1)]),
        (["group G any W0 W1", "quorum G"], [(0,), (1,), (0, 1)], [(), (2, 3)]),
        (["group G all W0 W1", "quorum G"], [(0, 1), (1, 0, 3)], [(0,), (0, 2)]),
        (["group G 2 W0 W1 W2", "quorum G"], [(0, 1), (2, 0), (0, 1, 2)], [(0,), (0, 3)]),
        (
            ["group A any W0 W1", "group B all W2 W3", "group G all A B", "quorum G"],
            [(0, 2, 3), (1, 2, 3)],
            [(0, 1), (2, 3), (0, 1, 2)],
        ),
    ],
)
def test_quorums(lines: list[str], enough: list[tuple[int, ...]], lacking: list[tuple[int, ...]]) -> None:
    wanted = policy(*lines)
    for numbers in enough:
        assert wanted.check(cosigned(*numbers)).size == 3
    for numbers in lacking:
        with pytest.raises(TlogPolicyError, match="quorum"):
            wanted.check(cosigned(*numbers))


def test_one_witness_counts_once() -> None:
    with pytest.raises(TlogPolicyError, match="cosigned by W0"):
        policy("group G 2 W0 W1", "quorum G").check(cosigned(0, 0))


def test_a_log_must_sign_for_itself() -> None:
    with pytest.raises(TlogPolicyError, match=r"a log of the policy"):
        TlogPolicy(
            (OTHER.verifier, WITNESSES[0].verifier), {"W": WITNESSES[0].verifier, "L": LOG.verifier}, {}, None
        ).check(NOTE)
    with pytest.raises(NoteError):
        policy("quorum none").check(NOTE.replace(b"\n3\n", b"\n4\n"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "1 quorum line required"),
        ("quorum X", "X: a witness or group of a line before required"),
        ("quorum W0\nquorum W1", "1 line with 1 name"),
        ("quorum W0 W1", "1 line with 1 name"),
        ("witness W0 x", "a name of its own"),
        ("witness none x", "a name of its own"),
        (f"witness W9 {WITNESSES[0].verifier.vkey}", "stands in another line"),
        (f"log {LOG.verifier.vkey}", "stands in another line"),
        (f"witness W9 {OTHER.verifier.vkey}", "type 4 required"),
        (f"log {WITNESSES[0].verifier.vkey}", "type 1 required"),
        ("log", "base64|verifier key"),
        ("group G", "a name, a threshold and members"),
        ("group G 0 W0", "1 to 1 required"),
        ("group G 2 W0", "1 to 1 required"),
        ("group G some W0", "1 to 1 required"),
        ("group G any W0 W0", "a member already"),
        ("group G any W0\ngroup H any W0", "a member already"),
        ("group G any none", "none: a witness or group"),
        ("group G any H\ngroup H any W1", "H: a witness or group"),
        ("server x", "one of log, witness, group, quorum required"),
        ("quorum none\r", "no control character"),
    ],
)
def test_what_is_no_policy_is_refused_by_line(line: str, problem: str) -> None:
    with pytest.raises(TlogPolicyError, match=problem):
        policy(line)
