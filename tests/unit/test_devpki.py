"""The development PKI: made once, readable by its owner only, and good for a registration, a kill and a log."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from streams.core.policy import PolicyError
from streams.core.reasons import Reason
from streams.wire.commands import Action, Command, Scope, check_command, sign_command
from streams.wire.devpki import (
    APPROVER,
    OPERATOR,
    PEOPLE,
    issue_agent,
    log_signer,
    make_dev_pki,
    make_registration,
    person_key,
    report_signer,
    revoke,
)
from streams.wire.keys import KeyFileError
from streams.wire.note import sign_note, verify_note
from streams.wire.registration import RegistrationRefusedError, check_registration
from streams.wire.trust import Role, load_trust, load_verifier
from tests.gate_world import NOON, document
from tests.wire_world import DAY_US, POLICY_BYTES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_dev_pki(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def now_us() -> int:
    return time.time_ns() // 1000


def test_made_twice_it_is_the_same(pki: Path) -> None:
    before = contents(pki)
    make_dev_pki(pki)
    assert contents(pki) == before


def test_what_is_missing_is_made_again_from_the_same_key(tmp_path: Path) -> None:
    make_dev_pki(tmp_path)
    before = contents(tmp_path)
    lost = ["trust/people/cfo@acme.pem", "trust/crl/issuing-ca.pem", "trust/keys/report.pub", "chain/issuing-ca.pem"]
    for name in lost:
        (tmp_path / name).unlink()
    make_dev_pki(tmp_path)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == set(lost) - {"trust/keys/report.pub"}
    assert load_trust(tmp_path).people.keys() != set()
    credentials = issue_agent(tmp_path, POLICY_BYTES)
    record = make_registration(tmp_path, POLICY_BYTES, credentials)
    assert check_registration(record, load_trust(tmp_path), now_us()).thumbprint == credentials.thumbprint


def test_two_processes_make_one(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from streams.wire.devpki import *; make_dev_pki(Path(sys.argv[1]))"
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    record = make_registration(tmp_path, POLICY_BYTES, issue_agent(tmp_path, POLICY_BYTES))
    assert check_registration(record, load_trust(tmp_path), now_us()).operator == OPERATOR


def test_only_the_owner_reads_private_keys(pki: Path) -> None:
    private = pki / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    names = {path.name for path in private.iterdir()}
    assert {"log.seed", "report.seed", "root-ca.pem", "issuing-ca.pem", "approvers.pem", "operators.pem"} < names
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}
    assert (private / "log.seed").stat().st_size == (private / "report.seed").stat().st_size == 32
    for path in (pki / "trust").rglob("*"):
        assert b"PRIVATE" not in (path.read_bytes() if path.is_file() else b"")


def test_a_bot_is_registered_under_its_policy(pki: Path) -> None:
    credentials = issue_agent(pki, POLICY_BYTES)
    registration = check_registration(make_registration(pki, POLICY_BYTES, credentials), load_trust(pki), now_us())
    assert (registration.agent_id, registration.operator, registration.approver) == (
        credentials.agent_id,
        OPERATOR,
        APPROVER,
    )
    assert registration.public_key == credentials.private_key.public_key()
    assert registration.thumbprint == credentials.thumbprint
    assert abs(registration.registered_at_us - now_us()) < 60_000_000


def test_a_bot_may_be_issued_and_registered_for_any_time(pki: Path) -> None:
    credentials = issue_agent(pki, POLICY_BYTES, not_before_us=NOON - DAY_US, not_after_us=NOON + DAY_US)
    record = make_registration(pki, POLICY_BYTES, credentials, at_us=NOON)
    registration = check_registration(record, load_trust(pki), NOON)
    assert (registration.not_before_us, registration.not_after_us) == (NOON - DAY_US, NOON + DAY_US)
    assert registration.registered_at_us == NOON


def test_revoked_bots_are_refused_and_stay_so(tmp_path: Path) -> None:
    make_dev_pki(tmp_path)
    records = [make_registration(tmp_path, POLICY_BYTES, issue_agent(tmp_path, POLICY_BYTES)) for _ in range(3)]
    serials = [check_registration(record, load_trust(tmp_path), now_us()).serial for record in records]
    for revoked, serial in enumerate(serials[:2], start=1):
        revoke(tmp_path, serial)
        revoke(tmp_path, serial)
        make_dev_pki(tmp_path)
        for record in records[:revoked]:
            with pytest.raises(RegistrationRefusedError) as caught:
                check_registration(record, load_trust(tmp_path), now_us())
            assert caught.value.reason is Reason.CERTIFICATE_REVOKED
        assert check_registration(records[2], load_trust(tmp_path), now_us()).serial == serials[2]


def test_a_policy_that_does_not_hold_gets_no_certificate(pki: Path) -> None:
    with pytest.raises(PolicyError):
        issue_agent(pki, json.dumps(document(("scope.max_order_value_eur", "-1"))).encode())


def test_people_sign_commands(pki: Path) -> None:
    trust = load_trust(pki)
    for name, roles in PEOPLE.items():
        command = Command("c-1", Action.KILL, Scope.ALL, "", "drill", name, now_us())
        value, ((_, signature), (_, thumbprint)) = sign_command(command, person_key(pki, name))
        checked, person = check_command(value, signature, thumbprint, trust)
        assert (checked, person.name, person.roles) == (command, name, frozenset(roles))
    assert Role.REVOKE not in PEOPLE["cfo@acme"]
    with pytest.raises(KeyFileError, match="person: one of ceo@acme"):
        person_key(pki, "../private/root-ca")


def test_the_log_and_the_reports_have_keys_of_their_own(pki: Path) -> None:
    log, report = log_signer(pki, "example/log"), report_signer(pki, "example/log")
    assert log.verifier != log_signer(pki, "example/other").verifier
    assert report.verifier == load_verifier(pki, "report", "example/log")
    assert log.verifier != report.verifier
    assert verify_note(sign_note(b"a\n", log), [log.verifier]).text == b"a\n"


def test_all_parties_have_different_keys(pki: Path) -> None:
    keys = [path.read_bytes() for path in (pki / "private").glob("*.pem")]
    assert len(keys) == len(set(keys)) == 4 + len(PEOPLE)


def test_without_a_pki_nothing_is_issued(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        issue_agent(tmp_path, POLICY_BYTES)
    with pytest.raises(KeyFileError, match="No such file"):
        log_signer(tmp_path, "example/log")


def test_a_thousand_bots_take_less_than_five_seconds(pki: Path) -> None:
    documents = [json.dumps(document(("agent_id", f"bot-{number}"))).encode() for number in range(1000)]
    start = time.process_time()
    issued = [issue_agent(pki, policy) for policy in documents]
    assert time.process_time() - start < 5
    assert len({credentials.thumbprint for credentials in issued}) == 1000
