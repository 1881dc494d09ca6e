"""Registrations: one that holds, and each way in which three parties do not agree, by name."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from streams.core.reasons import Reason
from streams.wire.avro import DecodeError, Schema, decode, encode
from streams.wire.certificate_fields import to_time
from streams.wire.issuing import Validity, pinned_certificate, subject_name
from streams.wire.registration import (
    CLOCK_TOLERANCE_US,
    RECORD_BYTES_MAX,
    STATEMENT_BYTES_MAX,
    Registration,
    RegistrationRefusedError,
    check_registration,
)
from streams.wire.signatures import COMMAND_TYPE, POLICY_TYPE, REGISTRATION_TYPE, sign, thumbprint
from streams.wire.trust import Role, TrustStore
from tests.gate_world import DOCUMENT, NOON, POLICY, document, make_policy, us
from tests.wire_world import (
    APPROVER_NAME,
    DAY_US,
    LEAF_FIRST_US,
    LEAF_LAST_US,
    LONG,
    OPERATOR_NAME,
    Authority,
    Parties,
    der,
    new_key,
    person_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PARTIES = Parties.make()


def accepted(parties: Parties = PARTIES, *, at_us: int = NOON, **changes: Any) -> Registration:
    return check_registration(parties.record(**changes), parties.trust, at_us)


def refused(
    parties: Parties = PARTIES, *, trust: TrustStore | None = None, at_us: int = NOON, **changes: Any
) -> RegistrationRefusedError:
    with pytest.raises(RegistrationRefusedError) as caught:
        check_registration(parties.record(**changes), trust or parties.trust, at_us)
    return caught.value


def only_problem(parties: Parties = PARTIES, **arguments: Any) -> str:
    """Return the one problem of a registration that is refused for no other."""
    error = refused(parties, **arguments)
    assert len(error.problems) == 1, error.problems
    assert error.reason is Reason.ALGO_NOT_AUTHORISED
    return error.problems[0]


def with_policy(*changes: tuple[str, Any], parties: Parties = PARTIES) -> Parties:
    """Return the parties with another policy, signed, and a certificate for its scope."""
    leaf = parties.authority.leaf(parties.bot_key, scope_sha256=make_policy(*changes).scope_sha256)
    changed = replace(parties, policy=json.dumps(document(*changes)).encode())
    return changed.with_chain(leaf, parties.authority.issuing.certificate)


def test_a_registration_holds_what_the_three_parties_signed() -> None:
    registration = accepted()
    assert registration.agent_id == POLICY.agent_id
    assert registration.policy == make_policy()
    assert registration.public_key == PARTIES.bot_key.public_key()
    assert registration.thumbprint == thumbprint(PARTIES.chain[0])
    assert (registration.not_before_us, registration.not_after_us) == (LEAF_FIRST_US, LEAF_LAST_US)
    assert (registration.operator, registration.approver) == ("acme_trading_ltd", "ceo@acme")
    assert registration.registered_at_us == us("2026-06-03T11:59:00+00:00")


# The board's approver and the operator.


def test_an_approver_that_is_not_trusted_is_refused_whatever_the_name() -> None:
    key = new_key()
    usurper = replace(PARTIES, approver_key=key, approver=pinned_certificate(key, APPROVER_NAME, LONG))
    assert only_problem(usurper, trust=PARTIES.trust).startswith(
        "approver_certificate: one of 1 trusted required, is 'ceo@acme' ("
    )


def test_an_operator_that_is_not_trusted_is_refused_whatever_the_name() -> None:
    key = new_key()
    usurper = replace(PARTIES, operator_key=key, operator=pinned_certificate(key, OPERATOR_NAME, LONG))
    assert only_problem(usurper, trust=PARTIES.trust).startswith(
        "operator_certificate: one of 1 trusted required, is 'acme_trading_ltd' ("
    )


def test_a_trusted_operator_is_no_approver() -> None:
    signature = sign(PARTIES.operator_key, POLICY_TYPE, PARTIES.policy)
    problems = refused(approver_certificate=der(PARTIES.operator), approver_signature=signature).problems
    assert problems[0].startswith("approver_certificate: one of 1 trusted required, is 'acme_trading_ltd'")
    assert "approver and operator: two different keys required, have one" in problems


APPROVER_SIGNATURES: dict[str, Callable[[], bytes]] = {
    "none": lambda: b"",
    "of the operator": lambda: sign(PARTIES.operator_key, POLICY_TYPE, PARTIES.policy),
    "over another policy": lambda: sign(PARTIES.approver_key, POLICY_TYPE, PARTIES.policy + b" "),
    "over another type": lambda: sign(PARTIES.approver_key, REGISTRATION_TYPE, PARTIES.policy),
    "too long": lambda: bytes(1000),
}
OPERATOR_SIGNATURES: dict[str, Callable[[], bytes]] = {
    "none": lambda: b"",
    "of the approver": lambda: sign(PARTIES.approver_key, REGISTRATION_TYPE, PARTIES.statement()),
    "over another statement": lambda: sign(PARTIES.operator_key, REGISTRATION_TYPE, PARTIES.statement() + b" "),
    "over another type": lambda: sign(PARTIES.operator_key, COMMAND_TYPE, PARTIES.statement()),
}


@pytest.mark.parametrize("name", APPROVER_SIGNATURES)
def test_a_wrong_signature_of_the_approver_is_refused(name: str) -> None:
    assert only_problem(approver_signature=APPROVER_SIGNATURES[name]()) == (
        "approver_signature: of 'ceo@acme' over application/vnd.portcullis.policy.v1+json required"
    )


@pytest.mark.parametrize("name", OPERATOR_SIGNATURES)
def test_a_wrong_signature_of_the_operator_is_refused(name: str) -> None:
    assert only_problem(operator_signature=OPERATOR_SIGNATURES[name]()) == (
        "operator_signature: of 'acme_trading_ltd' over application/vnd.portcullis.registration.v1+json required"
    )


@pytest.mark.parametrize("role", ["approver", "operator"])
def test_a_party_whose_certificate_is_out_of_date_is_refused(role: str) -> None:
    key = getattr(PARTIES, f"{role}_key")
    name = APPROVER_NAME if role == "approver" else OPERATOR_NAME
    short = Validity(to_time(NOON - DAY_US), to_time(NOON))
    changes: dict[str, Any] = {role: pinned_certificate(key, name, short)}
    parties = replace(PARTIES, **changes)
    assert accepted(parties).agent_id == POLICY.agent_id
    last_us = NOON + 1
    assert only_problem(parties, at_us=last_us) == (
        f"{role}_certificate: valid from {NOON - DAY_US} to {NOON} us, is {last_us} us"
    )


@pytest.mark.parametrize("role", ["approver", "operator"])
def test_a_party_without_a_readable_certificate_is_refused(role: str) -> None:
    field = f"{role}_certificate"
    changes: dict[str, Any] = {field: b"\x30\x00"}
    assert only_problem(**changes).startswith(f"{field}: certificate: DER of X.509 version 3 required")


def test_the_policy_must_name_its_approver() -> None:
    parties = with_policy(("governance.approved_by", "cfo@acme"))
    assert only_problem(parties) == "approver_certificate: common name: 'cfo@acme' required, is 'ceo@acme'"


def test_the_policy_must_name_its_operator() -> None:
    parties = with_policy(("operator", "other_ltd"))
    assert only_problem(parties) == "operator_certificate: common name: 'other_ltd' required, is 'acme_trading_ltd'"


# The policy.


def test_every_problem_of_the_policy_is_named() -> None:
    body = document(("scope.max_order_value_eur", "0"))
    del body["risk_controls"]["price_collar_bps"]
    problems = refused(replace(PARTIES, policy=json.dumps(body).encode())).problems
    assert [problem.split(":")[0] for problem in problems] == [
        "policy.scope.max_order_value_eur",
        "policy.risk_controls.price_collar_bps",
    ]


def test_a_policy_that_is_over_is_refused() -> None:
    until_us = POLICY.valid_until_us
    always = tuple(
        PARTIES.authority.list_of(issuer, validity=LONG)
        for issuer in (PARTIES.authority.root, PARTIES.authority.issuing)
    )
    leaf = PARTIES.authority.leaf(PARTIES.bot_key, validity=LONG)
    parties = PARTIES.with_chain(leaf, PARTIES.authority.issuing.certificate)
    trust = replace(PARTIES.trust, crls=always)
    assert check_registration(parties.record(), trust, until_us - 1).policy.valid_until_us == until_us
    assert only_problem(parties, trust=trust, at_us=until_us) == (
        f"policy.valid_until: after {until_us} us required, is {until_us} us"
    )


def test_a_policy_that_is_not_in_force_yet_may_be_registered() -> None:
    parties = with_policy(("valid_from", "2026-12-01T00:00:00Z"))
    assert accepted(parties).policy.valid_from_us > NOON


# The operator's statement.


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"agent_id": "other_bot"}, "registration.agent_id: 'trading_bot_eu_v2' required, is 'other_bot'"),
        (
            {"policy_sha256": "ab" * 32},
            f"registration.policy_sha256: '{POLICY.policy_id.hex()}' required, is '{'ab' * 32}'",
        ),
        (
            {"certificate_sha256": "cd" * 32},
            f"registration.certificate_sha256: '{thumbprint(PARTIES.chain[0]).hex()}' required, is '{'cd' * 32}'",
        ),
        ({"agent_id": None}, "registration.agent_id: a text of the form [A-Za-z0-9._-]{1,64}, is missing"),
        ({"policy_sha256": "AB" * 32}, "registration.policy_sha256: a text of the form [0-9a-f]{64}, has 'ABAB"),
        (
            {"registered_at": "yesterday"},
            "registration.registered_at: a moment YYYY-MM-DDThh:mm:ssZ in UTC, has 'yester",
        ),
        ({"registered_at": 5}, "registration.registered_at: a moment YYYY-MM-DDThh:mm:ssZ in UTC, has 5"),
        ({"note": "x"}, "registration.note: no such field, has 'x'"),
    ],
)
def test_a_statement_about_something_else_is_refused(changes: dict[str, object], problem: str) -> None:
    assert only_problem(statement=PARTIES.statement(**changes)).startswith(problem)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (b"", "registration: JSON required ("),
        (b"[]", "registration: an object, has []"),
        (b'{"agent_id": "a", "agent_id": "b"}', "registration: JSON required ('a key is there twice')"),
        (b"\xff", "registration: JSON required ("),
        (b"[" * 3000, "registration: JSON required ("),
        (bytes(STATEMENT_BYTES_MAX + 1), f"registration: at most {STATEMENT_BYTES_MAX} bytes, has"),
    ],
)
def test_a_statement_that_is_none_is_refused(statement: bytes, problem: str) -> None:
    assert refused(statement=statement).problems[0].startswith(problem)


def test_a_statement_from_the_future_is_refused_beyond_what_clocks_differ() -> None:
    registered_us = us("2026-06-03T11:59:00+00:00")
    assert accepted(at_us=registered_us - CLOCK_TOLERANCE_US).registered_at_us == registered_us
    latest_us = registered_us - 1
    assert only_problem(at_us=latest_us - CLOCK_TOLERANCE_US) == (
        f"registration.registered_at: at most {latest_us} us, is {registered_us} us"
    )


# The bot and its certificate.


def test_a_record_of_another_bot_is_refused() -> None:
    statement = PARTIES.statement(agent_id="other_bot")
    assert refused(agent_id="other_bot", statement=statement).problems == (
        "policy.agent_id: 'other_bot' required, is 'trading_bot_eu_v2'",
        "certificate: agent_id: 'other_bot' required, is 'trading_bot_eu_v2'",
    )


def test_a_certificate_of_another_bot_is_refused() -> None:
    leaf = PARTIES.authority.leaf(PARTIES.bot_key, name=subject_name("other_bot", "Acme"))
    parties = PARTIES.with_chain(leaf, PARTIES.authority.issuing.certificate)
    assert only_problem(parties) == "certificate: agent_id: 'trading_bot_eu_v2' required, is 'other_bot'"


@pytest.mark.parametrize(
    "change",
    [
        ("scope.max_order_value_eur", "50000.01"),
        ("scope.max_daily_value_eur", "2000000"),
        ("scope.allowed_regions", ["eu-west-1", "us-east-1"]),
        ("scope.trading_hours.end", "23:00"),
        ("scope.max_order_value_eur", "49999"),
    ],
)
def test_a_policy_of_another_scope_than_the_certificates_is_refused(change: tuple[str, Any]) -> None:
    parties = replace(PARTIES, policy=json.dumps(document(change)).encode())
    assert only_problem(parties) == (
        f"certificate: scope digest: '{make_policy(change).scope_sha256.hex()}' required, is "
        f"'{POLICY.scope_sha256.hex()}'"
    )


def test_what_is_not_scope_may_change_under_the_same_certificate() -> None:
    parties = replace(PARTIES, policy=json.dumps(document(("risk_controls.price_collar_bps", 300))).encode())
    assert accepted(parties).policy.price_collar_bps == 300


def only_chain_problem(parties: Parties, reason: Reason, **arguments: Any) -> str:
    error = refused(parties, **arguments)
    assert (error.reason, len(error.problems)) == (reason, 1), error.problems
    return error.problems[0]


def test_a_self_signed_certificate_is_refused() -> None:
    leaf = pinned_certificate(PARTIES.bot_key, subject_name(POLICY.agent_id, "Acme"), LONG)
    error = refused(PARTIES.with_chain(leaf))
    assert error.reason is Reason.CERTIFICATE_INVALID
    assert "a third party required, is self-signed" in error.problems[0]


def test_a_certificate_of_an_untrusted_ca_is_refused() -> None:
    other = Authority.make()
    parties = PARTIES.with_chain(other.leaf(PARTIES.bot_key), other.issuing.certificate)
    problem = only_chain_problem(parties, Reason.CERTIFICATE_INVALID)
    assert problem.startswith("certificate_chain: a path to a trusted CA required")


def test_an_expired_certificate_is_refused() -> None:
    short = Validity(to_time(NOON - 2 * DAY_US), to_time(NOON - DAY_US))
    leaf = PARTIES.authority.leaf(PARTIES.bot_key, validity=short)
    parties = PARTIES.with_chain(leaf, PARTIES.authority.issuing.certificate)
    assert only_chain_problem(parties, Reason.CERTIFICATE_EXPIRED).startswith("validity of 'CN=trading_bot_eu_v2")


def test_a_revoked_certificate_is_refused() -> None:
    serial = accepted().serial
    crls = (PARTIES.authority.crls[0], PARTIES.authority.list_of(PARTIES.authority.issuing, serial))
    trust = replace(PARTIES.trust, crls=crls)
    assert f"serial {serial:x} revoked" in only_chain_problem(PARTIES, Reason.CERTIFICATE_REVOKED, trust=trust)


def test_no_certificate_is_refused() -> None:
    empty = replace(PARTIES, chain=())
    problems = refused(empty).problems
    assert "certificate_chain: 1 to 8 certificates, has 0" in problems


def test_a_moment_that_no_record_has_is_refused_and_raises_nothing_else() -> None:
    for at_us in (-1_000, -(2**63), (2**63 - 1) * 1_000):
        error = refused(at_us=at_us)
        assert any(problem.startswith("moment: 0 to") for problem in error.problems)


# One key in two roles.


KEY = new_key()
CA_KEY = new_key()
TWO_ROLES: dict[str, Callable[[], Parties]] = {
    "approver and operator": lambda: Parties.make(approver_key=KEY, operator_key=KEY),
    "approver and bot": lambda: Parties.make(approver_key=KEY, bot_key=KEY),
    "operator and bot": lambda: Parties.make(operator_key=KEY, bot_key=KEY),
    "approver and CA": lambda: Parties.make(approver_key=CA_KEY, authority=Authority(CA_KEY, new_key())),
    "operator and CA": lambda: Parties.make(operator_key=CA_KEY, authority=Authority(new_key(), CA_KEY)),
    "CA and bot": lambda: Parties.make(bot_key=CA_KEY, authority=Authority(new_key(), CA_KEY)),
}


@pytest.mark.parametrize("roles", TWO_ROLES)
def test_one_key_in_two_roles_is_refused(roles: str) -> None:
    assert only_problem(TWO_ROLES[roles]()) == f"{roles}: two different keys required, have one"


def test_the_key_of_a_trusted_ca_that_did_not_issue_counts_too() -> None:
    idle = Authority(KEY, new_key())
    parties = Parties.make(approver_key=KEY)
    trust = replace(parties.trust, ca_roots=(*parties.trust.ca_roots, idle.root.certificate))
    assert only_problem(parties, trust=trust) == "approver and CA: two different keys required, have one"


def test_the_key_of_a_ca_that_was_only_sent_along_counts_too() -> None:
    idle = Authority(new_key(), KEY)
    parties = Parties.make(operator_key=KEY)
    chain = (*parties.chain, der(idle.issuing.certificate))
    assert only_problem(replace(parties, chain=chain)) == "operator and CA: two different keys required, have one"


def test_a_bot_may_not_have_the_key_of_a_person() -> None:
    digest, person = person_of("cfo@acme", PARTIES.bot_key, frozenset({Role.RELEASE}))
    assert only_problem(trust=replace(PARTIES.trust, people={digest: person})) == (
        "bot: another key than that of cfo@acme required"
    )


# The whole.


def test_all_problems_are_named_at_once() -> None:
    stranger = Authority.make()
    parties = replace(PARTIES, policy=json.dumps(document(("operator", "other_ltd"))).encode())
    parties = parties.with_chain(stranger.leaf(PARTIES.bot_key), stranger.issuing.certificate)
    error = refused(
        parties,
        statement=parties.statement(agent_id="other_bot"),
        approver_signature=b"",
        operator_certificate=b"",
    )
    assert [problem.split(":")[0] for problem in error.problems] == [
        "approver_signature",
        "operator_certificate",
        "registration.agent_id",
        "certificate_chain",
    ]
    assert error.reason is Reason.ALGO_NOT_AUTHORISED
    assert all(problem in str(error) for problem in error.problems)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "record: no bytes"),
        (b"\x00\x00\x00\x00\x05", "record: prefix 0000000004 (agent-record.v1) expected"),
        (PARTIES.record()[:-1], "record: agent-record.v1: "),
        (PARTIES.record() + b"\x00", "record: agent-record.v1: 1 bytes left after the record"),
        (bytes(RECORD_BYTES_MAX + 1), f"record: at most {RECORD_BYTES_MAX} bytes, has"),
    ],
)
def test_a_record_that_is_none_is_refused(value: bytes, problem: str) -> None:
    with pytest.raises(RegistrationRefusedError) as caught:
        check_registration(value, PARTIES.trust, NOON)
    assert caught.value.problems[0].startswith(problem)
    assert caught.value.reason is Reason.ALGO_NOT_AUTHORISED


def test_no_changed_byte_registers_anything_else() -> None:
    good, trust = PARTIES.record(), PARTIES.trust
    expected = check_registration(good, trust, NOON)
    source = random.Random(7)
    outcomes: set[bool] = set()
    for place in range(0, len(good), 11):
        changed = bytearray(good)
        changed[place] ^= 1 << source.randrange(8)
        try:
            outcomes.add(check_registration(bytes(changed), trust, NOON) == expected)
        except RegistrationRefusedError:
            continue
    assert outcomes <= {True}


def test_a_record_is_what_its_schema_says() -> None:
    record = decode(Schema.AGENT_RECORD, PARTIES.record())
    assert encode(Schema.AGENT_RECORD, record) == PARTIES.record(
        approver_signature=record["approver_signature"], operator_signature=record["operator_signature"]
    )
    assert json.loads(record["policy"]) == DOCUMENT
    with pytest.raises(DecodeError):
        decode(Schema.COMMAND, PARTIES.record())
