"""Commands: who may order what, and that nothing unsigned, misnamed or malformed is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.core.orders import Side
from streams.core.override import Terms
from streams.wire.avro import Schema, body_of, decode, encode, to_decimal
from streams.wire.commands import (
    COMMAND_BYTES_MAX,
    DOCUMENT_BYTES_MAX,
    Action,
    Command,
    CommandRefusedError,
    Scope,
    check_command,
    encode_command,
    sign_command,
)
from streams.wire.keys import SigningKey
from streams.wire.signatures import COMMAND_TYPE, ORDER_TYPE, sign
from streams.wire.trust import Role, TrustStore
from tests.gate_world import NOON, price, qty, us
from tests.wire_world import new_key, person_of

ALL_ROLES = frozenset(Role)
CEO_KEY, CFO_KEY = new_key(), new_key()
CEO_DIGEST, CEO = person_of("ceo@acme", CEO_KEY, ALL_ROLES)
CFO_DIGEST, CFO = person_of("cfo@acme", CFO_KEY, frozenset({Role.KILL}))
SIGNER = SigningKey("ceo@acme", CEO_KEY, CEO_DIGEST)
TRUST = TrustStore({}, {}, (), (), {CEO_DIGEST: CEO, CFO_DIGEST: CFO})
KILL = Command("c-1", Action.KILL, Scope.BOT, "bot-1", "runaway orders", "ceo@acme", NOON)
TERMS = Terms("BTC_USDT", Side.SELL, qty("2.5"), price("60000"))
# What an action takes beside the fields of all, and the scopes that it can have; all where it is not named.
MORE: dict[Action, dict[str, Any]] = {
    Action.OVERRIDE: {"cl_ord_id": "order-7", "terms": TERMS},
    Action.CLASSIFY: {"incident_id": "0-7", "stage": "MAJOR"},
    Action.REPORT: {"incident_id": "0-7", "stage": "INITIAL_REPORT"},
    Action.COMPLETE: {"incident_id": "0-7", "document": b"{}"},
}
SCOPES = {
    Action.OVERRIDE: (Scope.BOT,),
    Action.REVOKE: (Scope.BOT,),
    Action.HALT: (Scope.BOT, Scope.MARKET),
    Action.REDUCE: (Scope.BOT, Scope.MARKET),
}
ROLES = {
    Action.HALT: Role.KILL,
    Action.REDUCE: Role.KILL,
    Action.CLASSIFY: Role.INCIDENT,
    Action.REPORT: Role.INCIDENT,
    Action.COMPLETE: Role.INCIDENT,
}
OVERRIDE = replace(KILL, action=Action.OVERRIDE, cl_ord_id="order-7", terms=TERMS)


def override(**changes: Any) -> dict[str, Any]:
    return {"action": Action.OVERRIDE, "cl_ord_id": "order-7", "terms": TERMS} | changes


def check(command: Command, signer: SigningKey = SIGNER, trust: TrustStore = TRUST) -> Command:
    value, ((_, signature), (_, thumbprint)) = sign_command(command, signer)
    checked, person = check_command(value, signature, thumbprint, trust)
    assert person == trust.people[signer.thumbprint]
    return checked


def problem(command: Command, signer: SigningKey = SIGNER) -> str:
    with pytest.raises(CommandRefusedError) as caught:
        check(command, signer)
    return str(caught.value)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize(
    ("scope", "target"),
    [(Scope.BOT, "bot-1"), (Scope.MARKET, "BTC_USDT"), (Scope.OPERATOR, "acme_trading_ltd"), (Scope.ALL, "")],
)
def test_a_signed_command_of_who_has_the_role_holds(action: Action, scope: Scope, target: str) -> None:
    command = replace(KILL, action=action, scope=scope, target=target, **MORE.get(action, {}))
    allowed = SCOPES.get(action, tuple(Scope))
    if scope in allowed:
        assert check(command) == command
    else:
        assert problem(command) == f"scope: {' or '.join(allowed)} required for {action}, is {scope}"


@pytest.mark.parametrize("role", Role)
def test_each_action_takes_its_own_role(role: Role) -> None:
    key = new_key()
    digest, person = person_of("desk@acme", key, frozenset({role}))
    signer, trust = SigningKey("desk@acme", key, digest), TrustStore({}, {}, (), (), {digest: person})
    for action in Action:
        command = replace(KILL, action=action, issued_by="desk@acme", **MORE.get(action, {}))
        needed = ROLES.get(action) or Role(action)
        if needed is role:
            assert check(command, signer, trust) == command
        else:
            with pytest.raises(CommandRefusedError) as caught:
                check(command, signer, trust)
            assert str(caught.value) == f"action: role {needed} required for {action}, desk@acme has {role}"


def test_a_command_of_an_unknown_person_is_refused() -> None:
    value, ((_, signature), _) = sign_command(KILL, SIGNER)
    with pytest.raises(CommandRefusedError) as caught:
        check_command(value, signature, bytes(32), TRUST)
    assert str(caught.value) == f"x5t#S256: certificate of a known person required, is '{'00' * 32}'"


def test_a_command_is_refused_without_its_signature() -> None:
    value, ((_, signature), _) = sign_command(KILL, SIGNER)
    other, _ = sign_command(replace(KILL, target="bot-2"), SIGNER)
    wrong = {
        "none": (value, b""),
        "another person's": (value, sign(CFO_KEY, COMMAND_TYPE, body_of(value))),
        "another type's": (value, sign(CEO_KEY, ORDER_TYPE, body_of(value))),
        "over the framed value": (value, sign(CEO_KEY, COMMAND_TYPE, value)),
        "of another command": (other, signature),
        "cut short": (value, signature[:-1]),
    }
    for name, (signed, given) in wrong.items():
        with pytest.raises(CommandRefusedError) as caught:
            check_command(signed, given, CEO_DIGEST, TRUST)
        assert str(caught.value) == "signature: of ceo@acme over this command required", name


def test_a_command_in_somebody_elses_name_is_refused() -> None:
    cfo = SigningKey("cfo@acme", CFO_KEY, CFO_DIGEST)
    assert problem(KILL, cfo) == "issued_by: cfo@acme required, is 'ceo@acme'"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"command_id": ""}, "command_id: "),
        ({"command_id": "c/1"}, "command_id: "),
        ({"command_id": "c" * 65}, "command_id: "),
        ({"target": ""}, "target: [A-Za-z0-9._-]{1,64} required for BOT, is ''"),
        ({"scope": Scope.MARKET, "target": "btc"}, "target: [A-Z0-9][A-Z0-9_./-]{0,31} required for MARKET, is 'btc'"),
        ({"scope": Scope.OPERATOR, "target": "a b"}, "target: [A-Za-z0-9._-]{1,64} required for OPERATOR, is 'a b'"),
        ({"scope": Scope.ALL, "target": "bot-1"}, "target: nothing required for ALL, is 'bot-1'"),
        ({"reason": ""}, "reason: printable text of 1 to 500 characters required, has 0"),
        ({"reason": "  "}, "reason: printable text of 1 to 500 characters required, has 2"),
        ({"reason": "a\nb"}, "reason: printable text of 1 to 500 characters required, has 3"),
        ({"reason": "x" * 501}, "reason: printable text of 1 to 500 characters required, has 501"),
        ({"cl_ord_id": "order-7"}, "cl_ord_id: none required for KILL, is 'order-7'"),
        ({"action": Action.OVERRIDE, "terms": TERMS}, "cl_ord_id: one required for OVERRIDE, is None"),
        ({"action": Action.OVERRIDE, "cl_ord_id": "order-7"}, "terms: one required for OVERRIDE, is None"),
        ({"terms": TERMS}, "terms: none required for KILL, is "),
        (override(cl_ord_id=""), "cl_ord_id: 1 to 50 of A-Z a-z 0-9 . _ - required, is ''"),
        (override(cl_ord_id="x" * 51), "cl_ord_id: 1 to 50 of A-Z a-z 0-9 . _ - required, is 'xxx"),
        (override(terms=replace(TERMS, symbol="btc")), "terms.symbol: "),
        (override(terms=replace(TERMS, order_qty_e17=0)), "terms.order_qty: above 0 required, is 0 e-17"),
        (override(terms=replace(TERMS, price_e13=-1)), "terms.price: above 0 required, is -1 e-13"),
        ({"incident_id": "0-7"}, "incident_id: none required for KILL, is '0-7'"),
        ({"action": Action.COMPLETE, "document": b"{}"}, "incident_id: one required for COMPLETE, is None"),
        (
            {"action": Action.COMPLETE, "incident_id": "0-7", "document": b"x" * (DOCUMENT_BYTES_MAX + 1)},
            "document: 1 to 32768 bytes required, has 32769",
        ),
        (
            {"action": Action.CLASSIFY, "incident_id": "0-7", "stage": "HUGE"},
            "stage: MAJOR or NOT_MAJOR required for CLASSIFY, is 'HUGE'",
        ),
        (
            {"action": Action.REPORT, "incident_id": "0 7", "stage": "FINAL_REPORT"},
            "incident_id: [A-Za-z0-9._-]{1,64} required, is '0 7'",
        ),
        ({"issued_at_us": us("2019-12-31T23:59:59+00:00")}, "issued_at: "),
        ({"issued_at_us": us("2050-01-01T00:00:01+00:00")}, "issued_at: "),
        ({"issued_at_us": -(2**63)}, "issued_at: "),
    ],
)
def test_a_malformed_command_is_refused(changes: dict[str, Any], expected: str) -> None:
    text = problem(replace(KILL, **changes))
    assert text.startswith(expected)
    assert "; " not in text


def test_all_problems_are_named_at_once() -> None:
    command = replace(KILL, command_id="", target="", reason="", issued_by="nobody", cl_ord_id="x")
    fields = [part.split(":")[0] for part in problem(command).split("; ")]
    assert fields == ["issued_by", "command_id", "target", "reason", "cl_ord_id"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00",
        encode_command(KILL)[:-1],
        encode_command(KILL) + b"\x00",
        b"\x00\x00\x00\x00\x01" + encode_command(KILL)[5:],
        encode_command(replace(KILL, reason="x" * COMMAND_BYTES_MAX)),
    ],
)
def test_signed_bytes_that_are_no_command_are_refused(value: bytes) -> None:
    with pytest.raises(CommandRefusedError) as caught:
        check_command(value, sign(CEO_KEY, COMMAND_TYPE, body_of(value)), CEO_DIGEST, TRUST)
    assert str(caught.value).startswith("command: ")


def test_a_command_is_what_its_schema_says() -> None:
    record = decode(Schema.COMMAND, encode_command(OVERRIDE))
    assert record == {
        "command_id": "c-1",
        "action": "OVERRIDE",
        "scope": "BOT",
        "target": "bot-1",
        "reason": "runaway orders",
        "issued_by": "ceo@acme",
        "issued_at": NOON,
        "cl_ord_id": "order-7",
        "terms": {
            "symbol": "BTC_USDT",
            "side": "SELL",
            "order_qty": to_decimal(TERMS.order_qty_e17),
            "price": to_decimal(price("60000")),
        },
        "incident_id": None,
        "stage": None,
        "document": None,
    }
    assert encode(Schema.COMMAND, record) == encode_command(OVERRIDE)
