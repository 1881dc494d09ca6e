"""Reading a policy: what it holds, and that nothing is missing, wrong, unknown or guessed."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.policy import POLICY_BYTES_MAX, Policy, PolicyError, parse_policy, policy_id, scope_sha256
from streams.core.testing import Exercise
from tests.gate_world import DOCUMENT, document, eur, make_policy, qty, us

if TYPE_CHECKING:
    from collections.abc import Iterator


def paths(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of every object, inner and outer, inside a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            inside = f"{path}.{key}" if path else key
            yield inside
            yield from paths(inner, inside)


def without(path: str) -> dict[str, Any]:
    result = document()
    *parents, last = path.split(".")
    target = result
    for part in parents:
        target = target[part]
    del target[last]
    return result


def problems(body: object) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as refused:
        parse_policy(json.dumps(body).encode())
    return refused.value.problems


def test_a_policy_holds_what_its_document_says() -> None:
    raw = json.dumps(DOCUMENT).encode()
    policy = parse_policy(raw)
    assert policy.policy_id == policy_id(raw) == sha256(raw).digest()
    assert (policy.agent_id, policy.operator) == ("trading_bot_eu_v2", "acme_trading_ltd")
    assert policy.operator_regulator_id == "ESMA-001234"
    assert policy.valid_from_us == us("2026-05-01T00:00:00+00:00")
    assert policy.valid_until_us == us("2027-05-01T00:00:00+00:00")
    assert (policy.max_order_value_e5, policy.max_daily_value_e5) == (eur("50000"), eur("1000000"))
    assert policy.max_order_qty_e17 == {"BTC_USDT": qty("2"), "ETH_USDT": qty("40")}
    assert policy.allowed_markets == {"BTC_USDT", "ETH_USDT"}
    assert (policy.restricted_markets, policy.allowed_regions) == (frozenset(), frozenset({"eu-west-1"}))
    assert policy.allowed_venues == {"XOFF"}
    hours = policy.trading_hours
    assert (hours.start, hours.end, hours.zone.key) == (time(8), time(17), "UTC")
    assert (hours.exclude_weekends, hours.holidays) == (True, frozenset({date(2026, 12, 25)}))
    assert (policy.kill_switch_manual, policy.kill_threshold, policy.breaker_threshold) == (True, 0.85, 0.75)
    assert (policy.breaker_cooldown_s, policy.max_consecutive_failures, policy.price_collar_bps) == (60, 3, 500)
    assert (policy.message_rate_max_per_s, policy.execution_max, policy.execution_window_s) == (50, 1000, 60)
    assert (policy.max_order_age_ms, policy.reference_max_age_ms, policy.duplicate_window_s) == (10000, 10000, 600)
    assert policy.manual_kill_by == {"ceo@acme", "cfo@acme", "compliance_lead@acme"}


def test_a_policy_holds_its_testing_schedule_and_governance_documents() -> None:
    policy = make_policy()
    plan = policy.testing
    assert (plan.fitness_test_due, plan.scenario_testing, plan.penetration_testing) == (
        date(2027, 6, 1),
        "quarterly",
        "annual",
    )
    assert {exercise.value: passed.day for exercise, passed in plan.last_passed.items()} == dict.fromkeys(
        ("fitness", "scenario", "penetration"), date(2026, 6, 1)
    )
    assert plan.last_passed[Exercise.PENETRATION].record_sha256.hex() == "03" * 32
    governance = policy.governance
    assert (governance.documented_by, governance.approved_by) == ("compliance_team@acme", "ceo@acme")
    assert (governance.last_review, governance.next_review) == (date(2026, 5, 1), date(2027, 5, 1))
    (paper,) = governance.documents
    assert (paper.title, paper.author, paper.approver) == ("Algorithm description", "quant_lead@acme", "ceo@acme")
    assert (paper.sha256, paper.last_review, paper.next_review) == (
        b"\xab" * 32,
        date(2026, 5, 1),
        date(2027, 5, 1),
    )
    assert governance.resolution.startswith("Authorise deployment")
    assert governance.resolution_passed == date(2026, 5, 1)
    assert governance.resolution_approved_by == {"ceo@acme", "cfo@acme", "compliance_lead@acme"}


def test_no_field_of_a_policy_has_a_default() -> None:
    assert all(field.default is field.default_factory for field in fields(Policy))


@pytest.mark.parametrize("path", list(paths(DOCUMENT)))
def test_every_field_is_required(path: str) -> None:
    if path.startswith("scope.max_order_qty."):
        assert any("scope.max_order_qty" in problem for problem in problems(without(path)))
        return
    found = problems(without(path))
    assert any(problem.startswith(f"{path}: ") and "is missing" in problem for problem in found), found


@pytest.mark.parametrize("field", ["title", "author", "approver", "sha256", "last_review", "next_review"])
def test_every_field_of_a_governance_document_is_required(field: str) -> None:
    body = document()
    del body["governance"]["documents"][0][field]
    found = problems(body)
    assert any(problem.startswith(f"governance.documents[0].{field}: ") for problem in found), found


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "scope",
        "scope.trading_hours",
        "risk_controls",
        "testing",
        "testing.last_passed",
        "governance",
        "governance.board_resolution",
    ],
)
def test_an_unknown_field_is_refused_wherever_it_is(parent: str) -> None:
    path = f"{parent}.max_leverage" if parent else "max_leverage"
    assert problems(document((path, "3"))) == (f"{path}: no such field, has '3'",)


def test_an_unknown_field_of_a_governance_document_is_refused() -> None:
    body = document()
    body["governance"]["documents"][0]["note"] = "x"
    assert problems(body) == ("governance.documents[0].note: no such field, has 'x'",)


MONEY = ["0", "-1", "50000.000001", "1e3", "", " 1", "0x10", "10000000000001", 50000, 50000.5, True, None, ["1"]]
WRONG: list[tuple[str, list[Any]]] = [
    ("agent_id", ["", "a b", "x" * 65, "bot\n", "bøt", 7, None]),
    ("operator", ["", "a/b"]),
    ("operator_regulator_id", [""]),
    ("valid_from", ["2026-05-01", "2026-05-01T00:00:00", "2026-05-01T00:00:00+02:00", "2026-13-01T00:00:00Z", 1]),
    ("valid_until", ["2026-05-01T00:00:00Z", "2025-05-01T00:00:00Z", "never"]),
    ("scope", [None, [], "x"]),
    ("scope.max_order_value_eur", MONEY),
    ("scope.max_daily_value_eur", MONEY),
    ("scope.max_order_qty", [{}, None, [], {"BTC_USDT": "2"}, {"BTC_USDT": "2", "ETH_USDT": "4", "X": "1"}]),
    ("scope.max_order_qty.BTC_USDT", ["0", "-1", 2, 0.5, "0.000000000000000001", "1" * 21]),
    ("scope.allowed_markets", [[], ["BTC_USDT"], ["btc"], ["BTC_USDT", "BTC_USDT"], "BTC_USDT", [7]]),
    ("scope.restricted_markets", [None, ["x" * 40], {"a": 1}]),
    ("scope.allowed_regions", [[], ["EU"], ["a"] * 257]),
    ("scope.allowed_venues", [[], ["BIN"], ["XOFFN"], ["bina"]]),
    ("scope.trading_hours.start", ["8:00", "24:00", "08:60", "08:00:00", 8, None]),
    ("scope.trading_hours.end", ["", "noon", "\uff11\uff17:00"]),
    ("scope.trading_hours.tz", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "localtime", "right/UTC", 1]),
    ("scope.trading_hours.tz", ["America", "x" * 65, "posix/UTC", "Europe/Berlin\n"]),
    ("scope.trading_hours.exclude_weekends", [1, "true", None]),
    ("scope.trading_hours.holidays", [["25.12.2026"], ["2026-02-30"], None, [20261225], ["2026-12-25"] * 367]),
    ("risk_controls.kill_switch_manual", [False, 1, None]),
    ("risk_controls.kill_switch_automatic", ["0", "1", "0.85001", 0.85, "anomaly_0.85", None]),
    ("risk_controls.circuit_breaker_threshold", ["0", "1", "0.86", 0.75]),
    ("risk_controls.circuit_breaker_cooldown_s", [0, -1, 86_401, 1.5, "60", True]),
    ("risk_controls.max_consecutive_failures", [0, 1_001, None]),
    ("risk_controls.price_collar_bps", [0, 10_001]),
    ("risk_controls.message_rate_max_per_s", [0, 100_001]),
    ("risk_controls.execution_max", [0, 100_000_001]),
    ("risk_controls.execution_window_s", [0, 86_401]),
    ("risk_controls.max_order_age_ms", [0, 86_400_001]),
    ("risk_controls.reference_max_age_ms", [0, 86_400_001]),
    ("risk_controls.duplicate_window_s", [0, 86_401]),
    ("risk_controls.manual_kill_by", [[], ["ceo@acme"], ["a", "a"], ["a b", "c"], "ceo@acme"]),
    ("testing.fitness_test_due", ["soon", "2027-6-1", None, "2027-06-03"]),
    ("testing.scenario_testing", ["annual", "never", None, 4]),
    ("testing.penetration_testing", ["", "sometimes"]),
    ("testing.last_passed", [None, [], "2026-06-01"]),
    ("testing.last_passed.scenario", [None, "2026-06-01", {}]),
    ("testing.last_passed.scenario.day", ["yesterday", None, 20260601, "2026-06-31"]),
    ("testing.last_passed.penetration.record_sha256", ["", "0" * 63, None]),
    ("governance.documented_by", ["ceo@acme "]),
    ("governance.approved_by", ["compliance_team@acme", ""]),
    ("governance.next_review", ["2026-05-01", "2020-01-01"]),
    ("governance.documents", [[], None, {}, ["x"] * 65]),
    ("governance.board_resolution.passed", ["2026-5-1"]),
    ("governance.board_resolution.approved_by", [[], "ceo@acme"]),
    ("governance.board_resolution.resolution", ["", " ", "x" * 501, "two\nlines", "\ud800", 3]),
]


@pytest.mark.parametrize(
    ("path", "value"),
    [pytest.param(path, value, id=f"{path}={value!r:.24}") for path, values in WRONG for value in values],
)
def test_a_wrong_value_is_named_with_its_path(path: str, value: object) -> None:
    found = problems(document((path, value)))
    where = {path, "scope.max_order_qty", "governance.approved_by", "risk_controls.circuit_breaker_threshold"}
    assert found
    assert all(any(problem.startswith(place) for place in where) for problem in found), found


@pytest.mark.parametrize("field", ["sha256", "author", "title", "next_review"])
@pytest.mark.parametrize("value", ["", "ceo@acme", "AB" * 32, "2026-05-01", 5, None])
def test_a_wrong_value_in_a_governance_document_is_named(field: str, value: object) -> None:
    body = document()
    body["governance"]["documents"][0][field] = value
    fine = (field == "title" and value and isinstance(value, str)) or (
        field == "author" and value in {"AB" * 32, "2026-05-01"}
    )
    if fine:
        parse_policy(json.dumps(body).encode())
    else:
        assert all(problem.startswith("governance.documents[0].") for problem in problems(body))


def test_nobody_approves_what_they_wrote() -> None:
    body = document()
    body["governance"]["documents"][0]["author"] = "ceo@acme"
    assert problems(body) == ("governance.documents[0].approver: somebody else than author, has 'ceo@acme'",)
    assert problems(document(("governance.documented_by", "ceo@acme"))) == (
        "governance.approved_by: somebody else than documented_by, has 'ceo@acme'",
    )


def test_all_problems_are_named_at_once() -> None:
    body = document(("agent_id", ""), ("scope.max_order_value_eur", "0"), ("risk_controls.price_collar_bps", 0))
    del body["testing"]
    named = {problem.split(": ")[0] for problem in problems(body)}
    assert {"agent_id", "scope.max_order_value_eur", "risk_controls.price_collar_bps", "testing"} <= named


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("scope.max_order_value_eur", "0.00001", "max_order_value_e5", 1),
        ("scope.max_daily_value_eur", "10000000000000", "max_daily_value_e5", 10**18),
        ("risk_controls.kill_switch_automatic", "0.9999", "kill_threshold", 0.9999),
        ("risk_controls.circuit_breaker_threshold", "0.85", "breaker_threshold", 0.85),
        ("risk_controls.price_collar_bps", 10_000, "price_collar_bps", 10_000),
        ("risk_controls.max_consecutive_failures", 1, "max_consecutive_failures", 1),
        ("valid_from", "2026-05-01T00:00:00.000001Z", "valid_from_us", us("2026-05-01T00:00:00.000001+00:00")),
    ],
)
def test_values_at_their_bounds_are_taken(path: str, value: object, field: str, expected: object) -> None:
    assert getattr(make_policy((path, value)), field) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"policy"',
        b"7",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"[" * 60_000,
        b'{"agent_id": "a", "agent_id": "b"}',
        b'{"risk": NaN}',
        b"9" * 60_000,
        b"\xef\xbb\xbf{}",
        json.dumps(DOCUMENT).encode("utf-16"),
    ],
    ids=range(13),
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(paths(DOCUMENT))), JSON)
def test_any_value_anywhere_gives_a_policy_or_named_problems(path: str, value: object) -> None:
    raw = json.dumps(document((path, value))).encode()
    problems_found: tuple[str, ...] = ()
    try:
        policy = parse_policy(raw)
    except PolicyError as refused:
        problems_found = refused.problems
    else:
        assert policy.policy_id == sha256(raw).digest()
        return
    assert problems_found
    assert all(problem.isascii() and problem.isprintable() for problem in problems_found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_policy(raw: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(raw)


def test_a_key_that_is_there_twice_is_refused() -> None:
    raw = json.dumps(DOCUMENT).encode().replace(b'"operator": ', b'"operator": "other", "operator": ', 1)
    with pytest.raises(PolicyError, match="twice"):
        parse_policy(raw)


def test_a_document_may_have_64_kilobytes_and_no_more() -> None:
    raw = json.dumps(DOCUMENT).encode()
    assert parse_policy(raw.ljust(POLICY_BYTES_MAX))
    with pytest.raises(PolicyError, match="at most 65536 bytes"):
        parse_policy(raw.ljust(POLICY_BYTES_MAX + 1))


def test_the_scope_digest_depends_on_what_the_scope_says_and_not_on_how_it_is_written() -> None:
    compact = parse_policy(json.dumps(DOCUMENT, separators=(",", ":")).encode())
    reordered = parse_policy(json.dumps(DOCUMENT, sort_keys=True, indent=3).encode())
    assert compact.scope_sha256 == reordered.scope_sha256 == scope_sha256(DOCUMENT["scope"])
    assert compact.policy_id != reordered.policy_id
    assert make_policy(("scope.max_order_value_eur", "50001")).scope_sha256 != compact.scope_sha256
    assert make_policy(("operator", "other")).scope_sha256 == compact.scope_sha256


def test_the_canonical_form_is_sorted_compact_utf8() -> None:
    assert scope_sha256({"b": ["ä", 1], "a": True}) == sha256('{"a":true,"b":["ä",1]}'.encode()).digest()
