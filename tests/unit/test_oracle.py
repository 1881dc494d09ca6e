"""The oracle agrees with the gate on what is right, and finds every fault that is planted."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.core.reasons import Reason
from streams.names import Topic
from streams.sim import oracle
from streams.sim.oracle import OracleReport, judge
from streams.sim.oracle_history import History
from streams.sim.oracle_policy import read_rules
from streams.wire.avro import Schema, body_of, decode, decode_body, encode, encode_body, from_decimal, to_decimal
from streams.wire.commands import Action, Scope
from streams.wire.decisions import decode_verdict
from tests.sim_scenario import Scenario
from tests.sim_world import Kept, World

Verdict = dict[str, Any]
Change = Callable[[Verdict], None]
FORBIDDEN = ("gate", "windows", "state", "policy", "anomaly", "limits", "permissions", "situation", "breaker", "hours")
OUTPUTS = (Topic.ORDERS_APPROVED, Topic.ORDERS_REJECTED)
SOURCES = sorted(Path(oracle.__file__).parent.glob("oracle*.py"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return played(tmp_path_factory.mktemp("world"), 700, 160)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a shorter run, for faults that need no more than an order or two."""
    return played(tmp_path_factory.mktemp("short"), 160, 40)


def played(folder: Path, before: int, after: int) -> World:
    made = World(folder)
    made.prices()
    made.register_all()
    made.run(before, seed=5)
    made.command(Action.KILL, Scope.BOT, "maker-01", "ceo@acme")
    made.command(Action.KILL, Scope.OPERATOR, "acme_trading_ltd", "ceo@acme")
    made.run(40, seed=6)
    made.command(Action.RELEASE, Scope.OPERATOR, "acme_trading_ltd", "cfo@acme")
    made.command(Action.RELEASE, Scope.BOT, "maker-01", "cfo@acme")
    made.run(after, seed=7)
    return made


def report_of(records: list[Kept], **options: Any) -> OracleReport:
    return judge(History.of(records, **options))


def rules(records: list[Kept], **options: Any) -> set[str]:
    return set(report_of(records, **options).counts)


def verdicts(records: list[Kept]) -> list[tuple[Kept, Verdict]]:
    return [(r, decode(Schema.VERDICT, r.value or b"")) for r in records if r.topic in OUTPUTS]


def leaves(records: list[Kept]) -> list[tuple[Kept, dict[str, Any]]]:
    return [(r, decode(Schema.AUDIT_EVENT, r.value or b"")) for r in records if r.topic == Topic.AUDIT_EVENTS]


def swap(records: list[Kept], old: Kept, *new: Kept) -> list[Kept]:
    place = records.index(old)
    return records[:place] + list(new) + records[place + 1 :]


def renumber(records: list[Kept]) -> list[Kept]:
    """Number offsets, leaves and sequences anew, as a product would that never had what was taken away."""
    offsets: Counter[tuple[str, int]] = Counter()
    sequences: Counter[str] = Counter()
    index_of: dict[tuple[int, int], int] = {}
    done = []
    for old in records:
        record = old
        if record.topic == Topic.AUDIT_EVENTS:
            event = decode(Schema.AUDIT_EVENT, record.value or b"")
            event["log_index"] = offsets[record.topic, record.partition]
            if event["agent_seq"] is not None:
                sequences[event["agent_id"]] += 1
                event["agent_seq"] = sequences[event["agent_id"]]
            if event["verdict"] is not None:
                verdict = decode_body(Schema.VERDICT, event["verdict"])
                verdict["log_index"] = event["log_index"]
                index_of[record.partition, verdict["request_offset"]] = event["log_index"]
                event["verdict"] = encode_body(Schema.VERDICT, verdict)
            record = replace(record, value=encode(Schema.AUDIT_EVENT, event))
        if record.topic in (*OUTPUTS, Topic.AUDIT_EVENTS, Topic.ORDERS_DEAD_LETTER):
            place = record.topic, record.partition
            record = replace(record, offset=offsets[place])
            offsets[place] += 1
        done.append(record)
    for number, record in enumerate(done):
        if record.topic in OUTPUTS:
            verdict = decode(Schema.VERDICT, record.value or b"")
            at = record.partition, verdict["request_offset"]
            verdict["log_index"] = index_of.get(at, verdict["log_index"])
            done[number] = replace(record, value=encode(Schema.VERDICT, verdict))
    return done


Lie = tuple[Callable[[Verdict], bool], Change]


def tell(records: list[Kept], *lies: Lie) -> tuple[list[Kept], list[Kept]]:
    """Change a verdict per lie in both its records, as a product would that decided wrongly and logged it faithfully.

    Returns the records, and the changed audit event of each lie.
    """
    told, changed = list(records), []
    place_of = {id(record): place for place, record in enumerate(records)}
    outputs, leaf_of = verdicts(records), {e["verdict"]: (r, e) for r, e in leaves(records)}
    used: set[int] = set()
    for number, (pick, change) in enumerate(lies):
        output, verdict = next((r, v) for r, v in outputs if id(r) not in used and pick(v))
        used.add(id(output))
        leaf, event = leaf_of[body_of(output.value or b"")]
        change(verdict)
        approved = verdict["decision"] == "APPROVED"
        kind = "ORDER_APPROVED" if approved else "ORDER_REJECTED"
        event |= {"verdict": encode_body(Schema.VERDICT, verdict), "outcome": verdict["reason"], "event_type": kind}
        changed.append(replace(leaf, value=encode(Schema.AUDIT_EVENT, event)))
        told[place_of[id(leaf)]] = changed[-1]
        topic = Topic.ORDERS_APPROVED if approved else Topic.ORDERS_REJECTED
        moved: dict[str, Any] = (
            {} if topic == output.topic else {"offset": 10**9 + number, "headers": (("tlog-proof", b"proof"),)}
        )
        value = encode(Schema.VERDICT, verdict)
        told[place_of[id(output)]] = replace(output, topic=topic, value=value, **moved)
    return told, changed


def at(leaf: Kept) -> str:
    return f"log {leaf.partition} leaf {leaf.offset}"


def first_reason(reason: str) -> Callable[[Verdict], bool]:
    return lambda verdict: verdict["reason"] == reason


def approve(verdict: Verdict) -> None:
    verdict |= {"decision": "APPROVED", "reason": "NONE", "failures": []}


def refuse(verdict: Verdict) -> None:
    failure = {"reason": "STALE_ORDER", "limit": "60000", "observed": "60001", "unit": "MS"}
    verdict |= {"decision": "REJECTED", "reason": "STALE_ORDER", "failures": [failure]}


def test_a_correct_run_has_no_mismatch(world: World) -> None:
    report = report_of(world.records)
    assert str(report).endswith("0 mismatches")
    assert report.mismatches == ()
    assert report.orders == 900 - sum(r.topic == Topic.ORDERS_DEAD_LETTER for r in world.records)
    assert report.approved > 450


def test_a_correct_run_shows_the_reasons_that_bots_can_cause(world: World) -> None:
    seen = {failure["reason"] for _, verdict in verdicts(world.records) for failure in verdict["failures"]}
    never = {
        Reason.NONE,
        Reason.CERTIFICATE_INVALID,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_SUSPENDED,
        Reason.POLICY_NOT_IN_FORCE,
        Reason.TESTING_OVERDUE,
        Reason.CONSECUTIVE_FAILURES_EXCEEDED,
    }
    assert seen >= set(Reason) - never


def test_good_bots_are_never_refused_but_for_kills(world: World) -> None:
    refused = {
        failure["reason"]
        for _, verdict in verdicts(world.records)
        if verdict["agent_id"].startswith(("maker", "taker", "momentum", "mean", "slicer"))
        for failure in verdict["failures"]
    }
    assert refused == {"KILL_SWITCH_ENGAGED", "TRADING_HALTED"}


@pytest.mark.parametrize("seed", range(6))
def test_gate_and_oracle_agree_whatever_happens(tmp_path: Path, seed: int) -> None:
    world = Scenario(tmp_path, seed).run(500)
    report = report_of(world.records)
    assert not report.mismatches, str(report)[:4000]
    assert report.orders > 450


def test_every_approval_of_what_must_be_refused_is_found(world: World) -> None:
    first = {verdict["reason"] for _, verdict in verdicts(world.records)} - {"NONE"}
    assert len(first) > 18
    told, changed = tell(world.records, *((first_reason(reason), approve) for reason in first))
    found = {(m.place.partition(",")[0], m.rule, m.expected, m.found) for m in report_of(told).mismatches}
    for reason, leaf in zip(first, changed, strict=True):
        assert (at(leaf), "verdict", "REJECTED", "APPROVED") in found
        assert (at(leaf), "reason", reason, "NONE") in found
    places = {m.place.partition(",")[0] for m in report_of(told).mismatches if m.rule == "reason"}
    assert places == {at(leaf) for leaf in changed}  # and nothing else: one fault does not spread


def set_value(name: str, change: Callable[[Any], Any]) -> Change:
    def change_verdict(verdict: Verdict) -> None:
        verdict[name] = change(verdict[name])

    return change_verdict


def add_one(scale: str) -> Callable[[bytes], bytes]:
    return lambda data: to_decimal(from_decimal(scale, data) + 1)


def is_approved(verdict: Verdict) -> bool:
    return bool(verdict["decision"] == "APPROVED") and verdict["order_value"] is not None


def has_failures(count: int) -> Callable[[Verdict], bool]:
    return lambda verdict: len(verdict["failures"]) >= count


def reorder(verdict: Verdict) -> None:
    verdict["failures"] = verdict["failures"][::-1]
    verdict["reason"] = verdict["failures"][0]["reason"]


def drop_failure(verdict: Verdict) -> None:
    del verdict["failures"][1]


def change_failure(name: str) -> Change:
    def change_verdict(verdict: Verdict) -> None:
        verdict["failures"][0][name] = "7"

    return change_verdict


def change_reference(name: str, by: Callable[[Any], Any]) -> Change:
    def change_verdict(verdict: Verdict) -> None:
        verdict["reference"][name] = by(verdict["reference"][name])

    return change_verdict


FAULTS: list[tuple[Callable[[Verdict], bool], Change, str]] = [
    (is_approved, refuse, "verdict"),
    (has_failures(2), reorder, "failures"),
    (has_failures(2), drop_failure, "failures"),
    (first_reason("MAX_ORDER_VALUE_EXCEEDED"), change_failure("limit"), "failure.limit"),
    (first_reason("MAX_ORDER_VALUE_EXCEEDED"), change_failure("observed"), "failure.observed"),
    (first_reason("REGION_NOT_ALLOWED"), change_failure("observed"), "failure.observed"),
    (is_approved, set_value("order_value", add_one("order_value")), "order_value"),
    (is_approved, set_value("order_value", lambda _: None), "order_value"),
    (is_approved, set_value("daily_value", add_one("daily_value")), "daily_value"),
    (is_approved, set_value("policy_sha256", lambda _: bytes(32)), "policy"),
    (is_approved, set_value("score", lambda _: None), "score"),
    (is_approved, set_value("score", lambda _: 0.7501), "verdict"),
    (first_reason("SIGNATURE_INVALID"), set_value("score", lambda _: 0.1), "score"),
    (is_approved, change_reference("offset", lambda offset: offset + 10**6), "reference"),
    (is_approved, change_reference("price_time", lambda time: time + 1), "reference.price_time"),
    (is_approved, change_reference("price", add_one("price")), "reference.price"),
    (is_approved, set_value("reference", lambda _: None), "verdict"),
    (is_approved, set_value("cl_ord_id", lambda text: text + "x"), "verdict.cl_ord_id"),
    (is_approved, set_value("request_time", lambda time: time + 1), "verdict.request_time"),
    (is_approved, set_value("decision_time", lambda time: time + 1), "verdict.decision_time"),
    (is_approved, set_value("decision_time", lambda time: time + 10**9), "verdict"),
    (is_approved, set_value("signature", lambda _: None), "verdict.signature"),
    (is_approved, set_value("certificate_sha256", lambda _: bytes(32)), "verdict.certificate_sha256"),
    (is_approved, set_value("order", lambda body: body[:-2] + bytes([body[-2] ^ 1, body[-1]])), "verdict.order"),
    (is_approved, set_value("log_index", lambda index: index + 1), "verdict.log_index"),
]


def test_every_changed_verdict_is_found(world: World) -> None:
    told, changed = tell(world.records, *((pick, change) for pick, change, _ in FAULTS))
    found: dict[str, set[str]] = {}
    for mismatch in report_of(told).mismatches:
        found.setdefault(mismatch.place.partition(",")[0], set()).add(mismatch.rule)
    for (_, _, rule), leaf in zip(FAULTS, changed, strict=True):
        assert rule in found.get(at(leaf), ()), rule


def test_what_is_there_twice_or_not_at_all_is_found(short: World) -> None:
    records = short.records
    output = next(r for r, v in verdicts(records) if v["reason"] == "OUTSIDE_TRADING_HOURS")
    leaf = next(r for r, e in leaves(records) if e["verdict"] == body_of(output.value or b""))
    assert rules(renumber(swap(records, output))) == {"1 one verdict"}
    assert "1 one verdict" in rules(renumber(swap(records, output, output, output)))
    assert "1 one event" in rules(renumber(swap(records, leaf)))
    assert {"1 one event", "order"} <= rules(renumber(swap(records, leaf, leaf, leaf)))
    assert "1 one event" in rules(renumber(swap(swap(records, leaf), output)))
    assert {"log index", "bot sequence"} <= rules(swap(records, leaf))
    request = next(r for r in records if r.topic == Topic.ORDERS_REQUESTED)
    assert "1 one event" in rules(swap(records, request))
    extra = replace(request, offset=10**6)
    assert "1 one event" in rules([*records, extra])
    for topic in (Topic.AGENTS_REGISTRY, Topic.AGENTS_COMMANDS, Topic.TRADES_EXECUTED):
        unlogged = next(r for r in records if r.topic == topic)
        assert "1 one event" in rules([*records, replace(unlogged, offset=10**6)])


def test_verdicts_out_of_turn_are_found(short: World) -> None:
    log = [r for r, e in leaves(short.records) if r.partition == 0 and e["source_topic"] == Topic.ORDERS_REQUESTED]
    first, second = log[10], log[11]
    records = swap(swap(short.records, first, replace(second, offset=first.offset)), second)
    place = records.index(replace(second, offset=first.offset))
    records = [*records[: place + 1], replace(first, offset=second.offset), *records[place + 1 :]]
    assert {"order", "log index"} <= rules(records)


def test_a_verdict_without_its_event_is_found(short: World) -> None:
    output, verdict = next((r, v) for r, v in verdicts(short.records) if is_approved(v))
    verdict["order_value"] = to_decimal(1)
    told = swap(short.records, output, replace(output, value=encode(Schema.VERDICT, verdict)))
    assert "3 logged verdict" in rules(told)
    bare = swap(short.records, output, replace(output, headers=()))
    assert rules(bare) == {"3 logged verdict"}
    elsewhere = swap(short.records, output, replace(output, topic=Topic.ORDERS_REJECTED, offset=10**6))
    assert "verdict topic" in rules(elsewhere)
    assert "key" in rules(swap(short.records, output, replace(output, key=b"x")))


def test_dead_letters_are_held_against_what_was_sent(short: World) -> None:
    records = short.records
    letter = next(r for r in records if r.topic == Topic.ORDERS_DEAD_LETTER)
    assert rules(renumber(swap(records, letter))) == {"7 verdict or dead letter"}
    assert rules(swap(records, letter, replace(letter, value=b"x"))) == {"dead letter value"}
    headers = tuple((name, b"EMPTY" if name == "dead-letter-reason" else value) for name, value in letter.headers)
    assert rules(swap(records, letter, replace(letter, headers=headers))) == {"dead letter reason"}
    assert "7 verdict or dead letter" in rules([*records, replace(letter, offset=10**6)])
    request, verdict = next((r, v) for r, v in verdicts(records) if is_approved(v))
    source = next(
        r
        for r in records
        if (r.topic, r.partition, r.offset) == (Topic.ORDERS_REQUESTED, request.partition, verdict["request_offset"])
    )
    assert "7 verdict or dead letter" in rules(swap(records, source, replace(source, value=b"\0junk")))
    assert "7 verdict or dead letter" in rules(swap(records, source, replace(source, key=b"other")))


def test_an_order_approved_after_a_kill_is_found(world: World) -> None:
    """Invariant 4: the kill's event is moved before an approval that it did not stop."""
    log = leaves(world.records)
    kill = next(r for r, e in log if e["event_type"] == "COMMAND_APPLIED" and e["agent_id"] == "maker-01")
    approval = next(r for r, e in log if e["event_type"] == "ORDER_APPROVED" and e["agent_id"] == "maker-01")
    records = swap(world.records, kill)
    records = renumber(swap(records, approval, kill, approval))
    report = report_of(records)
    assert any("expected KILL_SWITCH_ENGAGED, found NONE" in str(m) for m in report.mismatches)


def test_a_release_by_whoever_killed_is_found(short: World) -> None:
    for agent_id in ("maker-01", ""):
        leaf, event = next(
            (r, e)
            for r, e in leaves(short.records)
            if e["details"].get("action") == "RELEASE" and e["agent_id"] == agent_id
        )
        command = decode(Schema.COMMAND, event["subject"]) | {"issued_by": "ceo@acme"}
        event["subject"] = encode(Schema.COMMAND, command)
        told = swap(short.records, leaf, replace(leaf, value=encode(Schema.AUDIT_EVENT, event)))
        assert rules(told) == {"8 two people"}


def test_a_breaker_that_is_not_logged_or_not_told_is_found(world: World) -> None:
    leaf = next(r for r, e in leaves(world.records) if e["event_type"] == "BREAKER_CHANGED")
    assert rules(renumber(swap(world.records, leaf))) == {"breaker"}
    quiet = [r for r in world.records if r.topic != Topic.RISK_CIRCUIT_BREAKERS]
    assert rules(quiet) == {"breaker"}


def test_a_state_that_does_not_follow_is_found(short: World) -> None:
    for name in ("state_before", "state_after"):
        leaf, event = next((r, e) for r, e in leaves(short.records) if e["event_type"] == "ORDER_APPROVED")
        event[name] = "HALTED"
        told = swap(short.records, leaf, replace(leaf, value=encode(Schema.AUDIT_EVENT, event)))
        assert rules(told) == {name}


def test_time_that_goes_back_is_found(short: World) -> None:
    leaf, event = next((r, e) for r, e in reversed(leaves(short.records)) if e["event_type"] == "ORDER_DEAD_LETTERED")
    event["event_time"] -= 10**9
    told = swap(short.records, leaf, replace(leaf, value=encode(Schema.AUDIT_EVENT, event)))
    assert rules(told) == {"time"}


def test_trades_beyond_approvals_are_found(short: World) -> None:
    trade, report = next(
        (r, report)
        for r in short.records
        if r.topic == Topic.TRADES_EXECUTED
        and (report := decode(Schema.EXECUTION_REPORT, r.value or b""))["exec_type"] == "FILL"
    )
    for change in ({"cl_ord_id": "never"}, {"last_qty": to_decimal(10**30)}):
        value = encode(Schema.EXECUTION_REPORT, report | change)
        assert "trade" in rules(swap(short.records, trade, replace(trade, value=value)))
    assert "trade" in rules([*short.records, replace(trade, offset=10**6)])


def test_sums_above_a_days_limit_are_found(world: World) -> None:
    """The plain sums see what the walk sees, by another way."""
    report = report_of(tell(world.records, (first_reason("DAILY_VALUE_LIMIT_EXCEEDED"), approve))[0])
    assert "2 daily limit" in report.counts


def rows_of(records: list[Kept]) -> list[dict[str, Any]]:
    return [
        {"kafka_partition": r.partition, "leaf": r.value}
        | {name: e[name] for name in ("log_index", "event_type", "agent_id", "outcome", "event_time")}
        | ({"reason": v["reason"]} if (v := verdict_of(e)) else {})
        for r, e in leaves(records)
    ]


def verdict_of(event: dict[str, Any]) -> Verdict | None:
    return decode_body(Schema.VERDICT, event["verdict"]) if event["verdict"] else None


def test_rows_that_are_not_the_log_are_found(short: World) -> None:
    rows = rows_of(short.records)
    assert rules(short.records, rows=rows) == set()
    decided = next(place for place, row in enumerate(rows) if row.get("reason") not in (None, "NONE"))
    wrong: dict[int, dict[str, Any]] = {
        1: {"leaf": b"x"},
        2: {"agent_id": "x"},
        3: {"outcome": "X"},
        4: {"event_time": 1},
    }
    wrong[decided] = {"reason": "NONE"}
    spoiled = [row | wrong.get(place, {}) for place, row in enumerate(rows)][1:]  # the first is missing
    spoiled += [rows[5], rows[6] | {"log_index": 10**6}]
    report = report_of(short.records, rows=spoiled)
    assert set(report.counts) == {"6 warehouse"}
    assert report.mismatches_total == 1 + 5 + 2


def test_a_distrusted_registration_may_only_refuse(short: World) -> None:
    failure = {"reason": "CERTIFICATE_REVOKED", "limit": "x", "observed": "y", "unit": "TIME"}

    def revoked(verdict: Verdict) -> None:
        verdict |= {"decision": "REJECTED", "reason": failure["reason"], "failures": [failure]}
        verdict |= {"score": None, "order_value": None, "daily_value": None, "policy_sha256": None, "reference": None}

    last = [v for _, v in verdicts(short.records) if v["agent_id"] == "maker-01" and v["order_value"] is None][-1]
    records, _ = tell(short.records, (lambda verdict: verdict == last, revoked))
    assert "failures" in rules(records)
    assert rules(records, distrusted=frozenset({"maker-01"})) == set()


def test_mismatches_are_listed_up_to_a_limit_and_counted_beyond(short: World) -> None:
    quiet = [r for r in short.records if r.topic not in OUTPUTS]
    report = judge(History.of(quiet), mismatches_max=5)
    assert len(report.mismatches) == 5
    assert report.mismatches_total == report.orders
    assert "1 one verdict: orders.requested 0/0: expected 1 verdicts" in str(report)


def test_topics_may_have_a_prefix(short: World) -> None:
    renamed = [replace(r, topic=f"run-7.{r.topic}") for r in short.records]
    assert judge(History.of(renamed, prefix="run-7.")).counts == {}


def test_hours_are_read_by_the_page(world: World) -> None:
    document = world.documents["off-hours-01"].replace(b'"exclude_weekends": false', b'"exclude_weekends": true')
    hours = read_rules(document)
    start = hours.start.hour
    friday = 1_773_360_000_000_000  # 2026-03-13, midnight UTC
    hour_us = 3_600_000_000
    assert hours.is_open(friday + start * hour_us)
    assert not hours.is_open(friday + (start + 2) * hour_us)
    assert not hours.is_open(friday + 86_400_000_000 + start * hour_us)


def test_the_oracle_imports_nothing_of_the_gate() -> None:
    forbidden = {f"streams.core.{name}" for name in FORBIDDEN}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in forbidden, path
                assert node.module != "streams.core", path
            elif isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & forbidden, path
    assert len(SOURCES) >= 4
    code = "import sys, streams.sim.oracle; print(*(name for name in sys.modules if name.startswith('streams.core.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded
    assert not set(loaded) & forbidden


def test_what_cannot_be_read_is_found(short: World) -> None:
    told = list(short.records)
    for topic in (Topic.AUDIT_EVENTS, Topic.ORDERS_APPROVED):
        place = next(n for n, r in enumerate(told) if r.topic == topic and r.offset > 20)
        told[place] = replace(told[place], value=b"\0junk")
    assert report_of(told).counts["unreadable"] == 2


def test_decoding_is_the_wires(world: World) -> None:
    """The reasons in the history are those of the product's own decoder: the lies above were well formed."""
    assert {decode_verdict(r.value or b"").reason for r, _ in verdicts(world.records)} <= set(Reason)
