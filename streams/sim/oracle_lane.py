"""The oracle's walk along one partition's log: every decision made again, every change of state followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streams.sim.oracle_book import Book
from streams.sim.oracle_case import Asked, Case, Finding, Past, Quote
from streams.sim.oracle_history import (
    Fields,
    Findings,
    History,
    Leaf,
    Place,
    Stored,
    decimal,
    read_asked,
    read_registration,
)
from streams.sim.oracle_people import People
from streams.sim.oracle_rules import decide_again, remember
from streams.wire.avro import Schema, body_of, decode
from streams.wire.headers import SIGNATURE, THUMBPRINT, find_headers
from streams.wire.signatures import ORDER_TYPE, is_valid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Markets = dict[str, list[tuple[int, str, str]]]
"""Each market's breaker events: when, by which writer (a lane's number, or nobody's), and the state after it."""

_DECISIONS: Final = ("ORDER_APPROVED", "ORDER_REJECTED")
_NOT_CAUGHT_UP: Final = "reader not caught up"
_UNREGISTERED: Final = (Finding("ALGO_NOT_AUTHORISED", "registered"),)
_DISTRUST: Final = ("CERTIFICATE_INVALID", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED")
_STRICTNESS: Final = ("ACTIVE", "REDUCING", "HALTED")
# How long a worker may take to see a market's breaker, which its reader gets from another partition.
_READER_US: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class World:
    """What all logs are held against."""

    history: History
    findings: Findings
    quotes: dict[Place, tuple[str, Quote]]
    requests: dict[Place, Stored]
    markets: Markets


@dataclass(frozen=True, slots=True)
class Known:
    """What all lanes before knew together; nothing where there were none. Each bot was in one of them."""

    bots: dict[str, Past] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    people: tuple[People, ...] = ()
    markets: dict[str, tuple[str, int]] = field(default_factory=dict)
    now_us: int = 0

    @classmethod
    def of(cls, lanes: Sequence[Lane]) -> Known:
        """Return what these lanes know, of a market's breakers the strictest."""
        markets: dict[str, tuple[str, int]] = {}
        for lane in lanes:
            for symbol, (state, open_until_us) in lane.markets.items():
                before, until_us = markets.get(symbol, (state, open_until_us))
                strictest = max(before, state, key=_STRICTNESS.index)
                markets[symbol] = strictest, max(until_us, open_until_us)
        return cls(
            bots={name: past for lane in lanes for name, past in lane.bots.items()},
            books={name: book for lane in lanes for name, book in lane.books.items()},
            people=tuple(lane.people for lane in lanes),
            markets=markets,
            now_us=max((lane.now_us for lane in lanes), default=0),
        )


class Lane:
    """One partition's log, walked from its first leaf."""

    def __init__(self, partition: int, world: World, known: Known) -> None:
        self.orders = self.approved = 0
        self._partition = partition
        self._world = world
        self._findings = world.findings
        self.bots = dict(known.bots)
        self.people = People(world.findings, self.bots, known.people)
        self._owed: tuple[str, str] | None = None  # a change of state that must be logged next: bot, state
        # What this lane said last: state, open until. What lanes before said is its own word where it said it first.
        self.markets = {
            symbol: said
            for symbol, said in known.markets.items()
            if self.people.has_stopped(symbol) or world.markets.get(symbol, ((0, "", ""),))[0][1] == str(partition)
        }
        self.books = dict(known.books)
        self._events: dict[str, Callable[[Fields, str], None]] = {
            "AGENT_REGISTERED": self._register,
            "COMMAND_APPLIED": self.people.take,
            "BREAKER_CHANGED": self._breaker,
            "CERTIFICATE_SUSPENDED": self._suspend,
            "DEADLINE_PASSED": self._deadline,
            "TRADE_EXECUTED": lambda event, _place: self._execute(event),
        }
        self._last_request = -1
        self.now_us = known.now_us

    def take(self, leaf: Leaf) -> None:
        """Take the log's next leaf."""
        event = leaf.event
        place = f"log {self._partition} leaf {event['log_index']}"
        kind = event["event_type"]
        self._check_owed(event, place)
        if event["event_time"] < self.now_us:
            self._findings.note("time", place, f"at least {self.now_us}", event["event_time"])
        self.now_us = max(self.now_us, event["event_time"])
        if kind in (*_DECISIONS, "ORDER_DEAD_LETTERED"):
            self._check_order_of_requests(event, place)
        if kind in _DECISIONS:
            self._decision(leaf, place)
        elif (take := self._events.get(kind)) is not None:
            take(event, place)

    def _check_order_of_requests(self, event: Fields, place: str) -> None:
        offset = event["source_offset"]
        if offset <= self._last_request:
            self._findings.note("order", place, f"a request after offset {self._last_request}", offset)
        self._last_request = max(self._last_request, offset)

    def _decision(self, leaf: Leaf, place: str) -> None:
        self.orders += 1
        event, verdict, order = leaf.event, leaf.verdict, leaf.order
        request = self._world.requests.get((self._partition, event["source_offset"]))
        if request is None or verdict is None or order is None:
            self._findings.note("1 one verdict", place, "a verdict on a request", "one without")
            return
        place = (
            f"{place}, request {self._partition}/{request.offset} ({verdict['agent_id']} {verdict['cl_ord_id']!r:.60})"
        )
        approved = verdict["decision"] == "APPROVED"
        self.approved += approved
        self._findings.check("verdict", place, ("ORDER_REJECTED", "ORDER_APPROVED")[approved], event["event_type"])
        self._check_copies(event, verdict, request, order, place)
        past = self.bots.get(order["agent_id"])
        codes = tuple(failure["reason"] for failure in verdict["failures"])
        if past is None:
            self._compare(verdict, _UNREGISTERED, place)
        elif order["agent_id"] in self._world.history.distrusted and len(codes) == 1 and codes[0] in _DISTRUST:
            self._findings.check("verdict", place, "REJECTED", verdict["decision"])
        else:
            self._decide_again(event, verdict, self._cases(order, verdict, request, past, place), place)

    def _check_copies(self, event: Fields, verdict: Fields, request: Stored, order: Fields, place: str) -> None:
        """Check what a verdict repeats of its request, and of itself in its event."""
        signature, digest = find_headers(request.headers, SIGNATURE, THUMBPRINT)
        expected = {
            "agent_id": order["agent_id"],
            "cl_ord_id": order["cl_ord_id"],
            "request_partition": self._partition,
            "request_offset": request.offset,
            "request_time": request.timestamp_us,
            "decision_time": event["event_time"],
            "log_index": event["log_index"],
            "order": body_of(request.value or b""),
            "signature": signature or None,
            "certificate_sha256": digest or None,
        }
        for name, value in expected.items():
            if verdict[name] != value:
                self._findings.note(f"verdict.{name}", place, value, verdict[name])
        self._findings.check("event.outcome", place, verdict["reason"], event["outcome"])
        self._findings.check("event.agent_id", place, order["agent_id"], event["agent_id"])

    def _cases(self, order: Fields, verdict: Fields, request: Stored, past: Past, place: str) -> list[Case]:
        """Return the decision to be made again, once for each state of the market that the worker may have known."""
        asked = read_asked(order, verdict, request)
        quote = self._quote(verdict, asked.symbol, place)
        states = self._market_states(asked.symbol, asked.now_us)
        return [self._case(asked, verdict, request, past, (quote, state)) for state in states]

    def _case(
        self, asked: Asked, verdict: Fields, request: Stored, past: Past, market: tuple[Quote | None, str]
    ) -> Case:
        quote, market_state = market
        scopes = ("ALL", f"OPERATOR {past.rules.operator}", f"MARKET {asked.symbol}")
        return Case(
            asked=asked,
            past=past,
            quote=quote,
            identity=_identity(request, past),
            killed=self.people.is_killed(scopes),
            market_state=market_state,
            lowers=asked.entering and self._book(asked.agent_id).lowers(asked),
            # Only the worker knows whether its reader had caught up; refusing for it is safe, so it is believed.
            reader_behind=any(failure["observed"] == _NOT_CAUGHT_UP for failure in verdict["failures"]),
        )

    def _market_states(self, symbol: str, now_us: int) -> list[str]:
        """Return the states of a market's breakers that the worker may have known: other lanes' come by a reader."""
        known: dict[str, set[str]] = {}
        for appended_us, writer, state in self._world.markets.get(symbol, ()):
            if writer == str(self._partition):
                continue
            if appended_us <= now_us - _READER_US:
                known[writer] = {state}
            elif appended_us <= now_us + _READER_US:
                known.setdefault(writer, {"ACTIVE"}).add(state)
        own, open_until_us = self.markets.get(symbol, ("ACTIVE", 0))
        possible = {"ACTIVE" if own == "REDUCING" and now_us >= open_until_us else own}
        for states in known.values():
            possible = {max(one, other, key=_STRICTNESS.index) for one in possible for other in states}
        return sorted(possible, key=_STRICTNESS.index)

    def _quote(self, verdict: Fields, symbol: str, place: str) -> Quote | None:
        used = verdict["reference"]
        if used is None:
            return None
        market, quote = self._world.quotes.get((used["partition"], used["offset"]), ("", None))
        if quote is None or market != symbol:
            self._findings.note("reference", place, f"a price of {symbol}", f"{market or 'none'} at {used['offset']}")
            return None
        self._findings.check("reference.price", place, quote.price, decimal(used["price"], 13))
        self._findings.check("reference.price_time", place, quote.time_us, used["price_time"])
        return quote

    def _decide_again(self, event: Fields, verdict: Fields, cases: list[Case], place: str) -> None:
        said = [failure["reason"] for failure in verdict["failures"]]
        tried = [(one, decide_again(one)) for one in cases]
        case, expected = next((pair for pair in tried if [f.code for f in pair[1]] == said), tried[0])
        findings, past, asked = self._findings, case.past, case.asked
        signed = self.people.lifted_by(asked, expected)
        self._compare(verdict, expected, place, lifted=signed is not None)
        findings.check("override", place, None if signed is None else " ".join(signed.people), event["approved_by"])
        findings.check("policy", place, past.rules.digest.hex(), (verdict["policy_sha256"] or b"").hex())
        findings.check("order_value", place, case.shown_value, decimal(verdict["order_value"], 5))
        if (asked.score is not None) is not (case.genuine and asked.entering):
            findings.note("score", place, "one for each authenticated order and for no other message", asked.score)
        before = past.state
        findings.check("state_before", place, before, event["state_before"])
        refused = bool(expected) and signed is None
        remember(case, expected[0].code if refused else "NONE")
        if not refused:
            self._book(asked.agent_id).approve(asked)
        findings.check("state_after", place, past.state, event["state_after"])
        received_us = max(case.received_us, past.received_us)
        findings.check("daily_value", place, past.daily_value(received_us), decimal(verdict["daily_value"], 5))
        if past.state != before:
            self._owed = asked.agent_id, past.state

    def _compare(self, verdict: Fields, expected: tuple[Finding, ...], place: str, *, lifted: bool = False) -> None:
        """Compare a verdict with the checks that must fail; `lifted`: and that an override lets pass all the same."""
        findings, failures = self._findings, verdict["failures"]
        codes, found = [f.code for f in expected], [failure["reason"] for failure in failures]
        refused = bool(codes) and not lifted
        findings.check("verdict", place, "REJECTED" if refused else "APPROVED", verdict["decision"])
        findings.check("reason", place, codes[0] if refused else "NONE", verdict["reason"])
        if codes != found:
            findings.note("failures", place, codes, found)
            return
        for finding, failure in zip(expected, failures, strict=True):
            for name, value in (("limit", finding.limit), ("observed", finding.observed)):
                if value not in (None, failure[name]):
                    findings.note(f"failure.{name}", place, f"{finding.code} {value}", failure[name])

    def _check_owed(self, event: Fields, place: str) -> None:
        """Check that a breaker that opened, or a bot that was halted, is the log's very next event."""
        owed, self._owed = self._owed, None
        if owed is not None:
            found = event["agent_id"], event["state_after"]
            if event["event_type"] != "BREAKER_CHANGED" or found != owed:
                self._findings.note("breaker", place, f"BREAKER_CHANGED {owed}", f"{event['event_type']} {found}")

    def _breaker(self, event: Fields, place: str) -> None:
        """Take a breaker event: one that others made, or the log's own word on what an order did."""
        if "market" in event["details"]:
            self.markets[event["details"]["market"]] = (
                event["details"]["state"],
                int(event["details"]["open_until_us"]),
            )
        past = self.bots.get(event["agent_id"])
        if past is None:
            return
        if event["subject"] is not None:
            state = decode(Schema.BREAKER_EVENT, event["subject"])["state"]
            past.halted = past.halted or state == "HALTED"
            if state == "REDUCING":
                past.hold()
        self._findings.check("breaker", place, past.state, event["state_after"])

    def _suspend(self, event: Fields, place: str) -> None:
        """Take the beginning of a grace period."""
        past = self.bots.get(event["agent_id"])
        if past is None or not past.suspended:
            self._findings.note("suspension", place, "after a score above the kill threshold", "without one")
        else:
            past.grace_us = event["event_time"] + past.rules.grace_s * 1_000_000

    def _deadline(self, event: Fields, place: str) -> None:
        """Take what the clock has decided: it must have been due, and nothing may have stopped it."""
        if event["details"]["deadline"] == "OVERRIDE":
            self.people.over(event, place)
        past, kind = self.bots.get(event["agent_id"]), event["details"]["deadline"]
        if past is None:
            return
        now_us = event["event_time"]
        if kind == "GRACE":
            if past.grace_us is None or now_us < past.grace_us:
                self._findings.note("deadline", place, f"a grace period that is over ({past.grace_us})", now_us)
            past.grace_us, past.revoked = None, True
        elif kind == "HEARTBEAT":
            silent_us, limit_us = now_us - past.received_us, 2_000 * past.rules.heartbeat_ms
            if not past.rules.heartbeat_ms or silent_us < limit_us:
                self._findings.note("deadline", place, f"a silence of {limit_us} us at least", silent_us)
            past.halted = True
        self._findings.check("breaker", place, past.state, event["state_after"])

    def _execute(self, event: Fields) -> None:
        """Take a venue's report."""
        report = decode(Schema.EXECUTION_REPORT, event["subject"])
        self._book(report["agent_id"]).execute(report)

    def _book(self, agent_id: str) -> Book:
        return self.books.setdefault(agent_id, Book())

    def _register(self, event: Fields, place: str) -> None:
        """Take a bot on the books; commands that came before it hold."""
        agent_id = event["agent_id"]
        known = self.bots.get(agent_id)
        self.bots[agent_id] = read_registration(event["subject"], known)
        if known is None:
            self.people.met(agent_id, place)


def _identity(request: Stored, past: Past) -> str:
    """Return why a message is not the bot's own; empty where it is."""
    signature, digest = find_headers(request.headers, SIGNATURE, THUMBPRINT)
    if not signature or not digest:
        return "missing"
    if digest != past.certificate_sha256:
        return "unknown certificate"
    valid = is_valid(past.public_key, ORDER_TYPE, body_of(request.value or b""), signature)
    return "" if valid else "invalid"
